import math

import numpy as np
import pytest
import soundfile

from infra.shards import KEY, decode_flac
from pipelines.testsets.items import Item, Sound, TestSet, paired
from pipelines.testsets.packing import Packing, Refused, key_of, pack
from simulation.signals.levels import from_int16, power


def tried(made, item: Item, task: str = "sr"):
    packing = Packing(made.tree().store, "set", 16000, "CC0")
    return pack(packing, TestSet("Set", "all", task, "CC0", 0, [item]), item, 0)


def refusal(made, item: Item) -> str:
    with pytest.raises(Refused) as caught:
        tried(made, item)
    return caught.value.reason


def test_audio_at_the_asked_rate_is_kept_to_a_bit_and_another_rate_is_resampled(made):
    wave = made.sound("a.wav", 0.5)
    made.sound("b.wav", 0.5, rate_hz=48000)
    found = tried(made, paired("a", {"input": "b.wav", "target": "a.wav"}))
    target, rate_hz = decode_flac(found.members["target.flac"])
    assert rate_hz == 16000
    assert np.abs(from_int16(target)[0] - wave).max() < 2 / 32768
    assert found.row["role_num_samples"] == [8000, 8000]
    assert found.row["roles"] == ["input", "target"]


def test_members_of_unequal_length_are_refused_but_for_tasks_that_have_no_common_time(made):
    made.sound("a.wav", 0.5)
    made.sound("b.wav", 0.6)
    item = paired("a", {"input": "a.wav", "target": "b.wav"})
    assert refusal(made, item) == "lengths"
    assert tried(made, item, "vc").row["num_samples"] == 9600


def test_bad_files_are_refused_with_the_reason(made):
    made.sound("low.wav", 0.5, rate_hz=8000)
    made.sound("silent.wav", level=0.0)
    made.sound("whole.wav")
    (made.folder / "cut.wav").write_bytes((made.folder / "whole.wav").read_bytes()[:5000])
    soundfile.write(made.folder / "nan.wav", np.full(800, np.nan, np.float32), 16000, subtype="FLOAT")
    (made.folder / "text.wav").write_text("no audio")
    reasons = {name: refusal(made, paired(name, {"target": f"{name}.wav"})) for name in ("low", "silent", "cut", "nan", "text")}
    expected = {"low": "rate", "silent": "silent", "cut": "truncated", "nan": "not_finite", "text": "undecodable"}
    assert reasons == expected
    assert refusal(made, paired("gone", {"target": "gone.wav"})) == "missing"


def test_a_mixture_has_the_snr_that_was_asked_for_and_is_target_plus_noise(made):
    made.sound("a.wav", 0.5)
    made.sound("b.wav", 0.3)
    found = tried(made, Item("x", {"target": Sound("a.wav"), "noise": Sound("b.wav")}, snr_db=5.0), "lass")
    assert set(found.members) == {"input.flac", "target.flac", "json"}
    mixture, target = (from_int16(decode_flac(found.members[f"{role}.flac"])[0]) for role in ("input", "target"))
    assert 10 * math.log10(power(target) / power(mixture - target)) == pytest.approx(5.0, abs=0.05)


def test_an_excerpt_is_from_the_middle(made):
    wave = made.sound("a.wav", 1.0)
    found = tried(made, Item("x", {"target": Sound("a.wav", -1.0, 0.5)}), "codec")
    assert np.abs(from_int16(decode_flac(found.members["target.flac"])[0])[0] - wave[4000:12000]).max() < 2 / 32768


def test_keys_are_allowed_and_differ_where_names_differ():
    keys = [key_of("musdb18", name) for name in ("plain", "A - B", "A   B", "x" * 200, "x" * 201, "é")]
    assert all(KEY.fullmatch(key) and len(f"{key}.reference.flac") <= 100 for key in keys)
    assert len(set(keys)) == len(keys)
