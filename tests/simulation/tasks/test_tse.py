from dataclasses import replace

import msgspec
import numpy as np
import pyarrow.compute as pc
import pytest

from simulation.acoustics.rooms import MeasuredRoom
from simulation.bank import Bank
from simulation.degradation import Degradations
from simulation.labels import disagreements
from simulation.seeds import Rng
from simulation.talkers.enrolment import EnrolmentRange
from simulation.talkers.voices import rarely
from simulation.tasks import tse
from simulation.tasks.tse import PRESETS, Config, Scene

CHANNEL_NEVER = Degradations(
    **{name: replace(getattr(rarely(), name), probability=0.0) for name in rarely().names()},
)
CLEAN = Config(degradations=CHANNEL_NEVER)
ABSENT = replace(CLEAN, absent_probability=1.0)


def scene_of(bank, index: int, config: Config = CLEAN) -> Scene:
    return tse.draw(config, bank, Rng(0, "tse", index))


def bank_of(bank: Bank, speakers: list[str], clips: int = 99) -> Bank:
    """The corpus with only these speakers, and only so many clips of each."""
    table = bank.table
    rows = [
        row
        for speaker in speakers
        for row in np.flatnonzero(pc.equal(table["speaker"], speaker).to_numpy(zero_copy_only=False))[:clips]
    ]
    noise = np.flatnonzero(pc.equal(table["role"], "noise").to_numpy(zero_copy_only=False))
    return Bank(table.take([*rows, *noise]), bank.sample_rate_hz)


def test_labels_requested_are_labels_measured_on_fifty_scenes(some_bank):
    bank, load = some_bank
    for index in range(50):
        scene = scene_of(bank, index, Config())
        example = tse.render(scene, load)
        assert not disagreements(example.requested, example.measured)
        for name, wanted in example.requested.items():
            if name.startswith(("sir", "snr", "enrolment_snr")):
                assert example.measured[name] == pytest.approx(wanted, abs=0.1)
        assert example.requested["target_absent"] == example.measured["target_absent"] == float(scene.absent)
        assert {"active_share", "target_level_db", "overlap_share", "lag_samples"} <= example.measured.keys()


def test_the_input_is_the_sum_of_its_parts_to_the_last_bit(some_bank):
    bank, load = some_bank
    for index in range(20):
        example = tse.render(scene_of(bank, index), load)
        audio = example.signals | example.stems
        whole = np.sum([audio[part].astype(int) for part in example.mixture_parts], axis=0)
        assert np.array_equal(whole, example.signals["input"])
        assert example.measured["stem_residual_db"] < -60


def test_a_damaged_channel_has_stems_and_claims_no_sum(some_bank):
    bank, load = some_bank
    config = replace(PRESETS["published"], noise_probability=0.0)
    scene = next(scene for scene in (scene_of(bank, index, config) for index in range(30)) if scene.mix.effects)
    example = tse.render(scene, load)
    assert example.mixture_parts == ()
    assert "interference1" in example.stems
    assert "stem_residual_db" not in example.measured


def test_an_absent_speaker_is_silence(some_bank):
    bank, load = some_bank
    for index in range(15):
        scene = scene_of(bank, index, ABSENT)
        example = tse.render(scene, load)
        assert not example.signals["target"].any()
        assert example.signals["input"].any()
        assert example.measured["target_absent"] == 1.0
        assert example.measured["active_share"] == 0.0
        assert "transcript" not in example.texts
        assert scene.enrolment.clip.speaker not in {voice.clip.speaker for voice in scene.voices}
        assert not disagreements(example.requested, example.measured)


def test_speakers_are_absent_as_often_as_asked(tiny_bank):
    bank, _ = tiny_bank
    config = replace(CLEAN, absent_probability=0.3, third_voice_probability=0.5)
    scenes = [scene_of(bank, index, config) for index in range(300)]
    assert 60 < sum(scene.absent for scene in scenes) < 120
    assert 110 < sum(len(scene.voices) == 3 for scene in scenes) < 190


def test_nobody_else_has_the_enrolled_voice(tiny_bank):
    bank, _ = tiny_bank  # of so few speakers that a chance meeting would show
    for index in range(100):
        scene = scene_of(bank, index, replace(CLEAN, absent_probability=0.3))
        others = scene.voices if scene.absent else scene.voices[1:]
        assert scene.enrolment.clip.speaker not in {voice.clip.speaker for voice in others}


def test_the_reference_is_another_clip_of_the_target_speaker(some_bank):
    bank, _ = some_bank
    for index in range(200):
        scene = scene_of(bank, index, replace(CLEAN, absent_probability=0.0))
        heard, enrolled = scene.voices[0].clip, scene.enrolment.clip
        assert enrolled.speaker == heard.speaker != ""
        assert enrolled.path != heard.path
        assert enrolled.sha256 != heard.sha256


def test_every_voice_is_somebody_else_at_a_place_of_their_own(some_bank):
    bank, _ = some_bank
    config = replace(CLEAN, third_voice_probability=0.5, reverberation_probability=1.0)
    for index in range(60):
        scene = scene_of(bank, index, config)
        assert len({voice.clip.speaker for voice in scene.voices}) == len(scene.voices)
        room = scene.mix.room
        places = [clip.id for clip in room.clips] if isinstance(room, MeasuredRoom) else room.sources_m
        assert len(set(places)) == len(scene.voices)


def test_drawing_and_rendering_twice_is_the_same(some_bank):
    bank, load = some_bank
    for index in range(10):
        scene = scene_of(bank, index, Config())
        assert scene_of(bank, index, Config()) == scene
        same(tse.render(scene, load), tse.render(scene, load))


def test_a_scene_from_json_renders_the_same_samples(some_bank):
    bank, load = some_bank
    config = Config(reverberation_probability=0.6, absent_probability=0.2)
    for index in range(10):
        scene = scene_of(bank, index, config)
        again = msgspec.json.decode(msgspec.json.encode(scene), type=Scene)
        assert again == scene
        same(tse.render(scene, load), tse.render(again, load))


def same(one, other) -> None:
    for before, after in ((one.signals, other.signals), (one.stems, other.stems)):
        assert before.keys() == after.keys()
        assert all(np.array_equal(before[role], after[role]) for role in before)
    assert (one.requested, one.measured, one.texts) == (other.requested, other.measured, other.texts)


def test_all_signals_of_an_example_are_int16_and_as_long_as_its_input(some_bank):
    bank, load = some_bank
    for index in range(10):
        example = tse.render(scene_of(bank, index, Config(reverberation_probability=1.0)), load)
        for role, audio in (example.signals | example.stems).items():
            assert audio.dtype == np.int16
            assert audio.shape == (1, 80000) or role == "reference"
        assert example.signals["reference"].shape[1] <= 80000


@pytest.mark.parametrize("target", ["early", "direct", "reverberant"])
def test_the_target_is_aligned_with_its_voice_and_whole_only_where_asked(some_bank, target):
    bank, load = some_bank
    config = replace(CLEAN, target=target, reverberation_probability=1.0, absent_probability=0.0)
    for index in range(8):
        example = tse.render(scene_of(bank, index, config), load)
        assert example.measured["lag_samples"] == 0
        assert ("speech" in example.stems) == (target != "reverberant")


def test_a_known_transcript_comes_along(tiny_bank):
    bank, load = tiny_bank
    config = replace(CLEAN, absent_probability=0.0, duration_s=7.0)
    scene = scene_of(bank, 0, config)
    assert tse.render(scene, load).texts == {"transcript": scene.voices[0].clip.text}
    assert scene.voices[0].clip.text.startswith("Sentence")


def test_a_corpus_of_one_speaker_is_refused_with_a_remedy(tiny_bank):
    bank, _ = tiny_bank
    with pytest.raises(ValueError, match=r"tse with 3 voices and an absent speaker needs speech of at least 4 speaker.* add"):
        scene_of(bank_of(bank, ["s0"]), 0)
    two = replace(CLEAN, third_voice_probability=0.0, absent_probability=0.0)
    assert scene_of(bank_of(bank, ["s0", "s1"]), 0, two)


def test_speakers_of_one_clip_each_are_refused_with_a_remedy(tiny_bank):
    bank, _ = tiny_bank
    with pytest.raises(ValueError, match=r"at least 2 speech files.* add files"):
        scene_of(bank_of(bank, ["s0", "s1", "s2", "s3", "s4"], clips=1), 0)


def test_full_band(wide_bank):
    bank, load = wide_bank
    for index in range(5):
        example = tse.render(scene_of(bank, index), load)
        assert example.signals["input"].shape == (1, 240000)
        assert not disagreements(example.requested, example.measured)


def test_the_published_recipe_has_clean_enrolments_and_two_voices(some_bank):
    bank, _ = some_bank
    for index in range(40):
        scene = scene_of(bank, index, PRESETS["published"])
        assert len(scene.voices) == 2
        assert not scene.absent
        assert scene.enrolment.noise is scene.enrolment.room is None
        assert -5 <= scene.mix.sir_db[0] <= 5
        assert scene.mix.target == ("direct" if scene.mix.room else "reverberant")
    assert PRESETS["published"].enrolment == EnrolmentRange(damaged_probability=0.0)
