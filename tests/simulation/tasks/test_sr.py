from dataclasses import replace

import msgspec
import numpy as np
import pytest

from simulation.acoustics.rooms import MeasuredRoom, Room
from simulation.bank import Bank
from simulation.degradation import Degradations
from simulation.labels import disagreements
from simulation.seeds import Rng
from simulation.signals.levels import from_int16
from simulation.signals.mixing import activity
from simulation.tasks import sr
from simulation.tasks.sr import PRESETS, Config, Scene

NEVER = Degradations(**{name: replace(getattr(Degradations(), name), probability=0.0) for name in Degradations().names()})
CLEAN = Config(degradations=NEVER)
FULL = replace(CLEAN, interferer_probability=1.0, noise_probability=1.0, reverberation_probability=1.0)


def scene_of(bank, index: int, config: Config = CLEAN) -> Scene:
    return sr.draw(config, bank, Rng(0, "sr", index))


@pytest.mark.parametrize("config", [Config(), PRESETS["published"]], ids=["ours", "published"])
def test_labels_requested_are_labels_measured_on_fifty_scenes(some_bank, config):
    bank, load = some_bank
    for index in range(50):
        example = sr.render(scene_of(bank, index, config), load)
        assert disagreements(example.requested, example.measured) == []
        for name in ("sir_db", "snr_db"):
            if name in example.requested:
                assert example.measured[name] == pytest.approx(example.requested[name], abs=0.1)


def test_the_input_is_the_sum_of_its_parts_to_the_last_bit(some_bank):
    bank, load = some_bank
    for index in range(30):
        example = sr.render(scene_of(bank, index, replace(CLEAN, interferer_probability=0.5)), load)
        audio = example.signals | example.stems
        whole = np.sum([audio[part].astype(int) for part in example.mixture_parts], axis=0)
        assert np.array_equal(whole, example.signals["input"])
        assert np.abs(whole).max() <= 0.99 * 32767 + 2


def test_a_voice_alone_comes_out_as_it_went_in(some_bank):
    bank, load = some_bank
    config = replace(CLEAN, interferer_probability=0.0, noise_probability=0.0, reverberation_probability=0.0)
    example = sr.render(scene_of(bank, 3, config), load)
    assert np.array_equal(example.signals["input"], example.signals["target"])
    assert example.stems == {}


def test_the_probabilities_are_those_asked_for(tiny_bank):
    bank, _ = tiny_bank
    scenes = [scene_of(bank, index, PRESETS["published"]) for index in range(600)]
    assert np.mean([len(scene.voices) == 2 for scene in scenes]) == pytest.approx(0.2, abs=0.05)
    assert np.mean([scene.mix.room is not None for scene in scenes]) == pytest.approx(0.3, abs=0.06)
    assert np.mean([scene.mix.noise is not None for scene in scenes]) == pytest.approx(0.8, abs=0.05)
    assert np.mean([len(scene.mix.effects) for scene in scenes]) == pytest.approx(
        0.75, abs=0.16
    )  # one band in three is the task's


def test_drawn_ratios_fill_their_ranges_and_stay_in_them(tiny_bank):
    bank, _ = tiny_bank
    scenes = [scene_of(bank, index, FULL) for index in range(300)]
    sirs, snrs = [scene.mix.sir_db[0] for scene in scenes], [scene.mix.snr_db for scene in scenes]
    assert 2 <= min(sirs) < 3 < 19 < max(sirs) <= 20
    assert -5 <= min(snrs) < -4 < 19 < max(snrs) <= 20


def test_the_interferer_is_somebody_else_at_another_place(tiny_bank):
    bank, _ = tiny_bank
    for index in range(100):
        scene = scene_of(bank, index, FULL)
        assert scene.voices[0].clip.speaker != scene.voices[1].clip.speaker
        if isinstance(scene.mix.room, Room):
            assert scene.mix.room.sources_m[0] != scene.mix.room.sources_m[1]


def test_targets_are_drier_than_what_is_heard(some_bank):
    bank, load = some_bank
    energy = {}
    for kind in ("direct", "early", "reverberant"):
        config = replace(
            FULL, target=kind, noise_probability=0.0, interferer_probability=0.0, rooms=replace(FULL.rooms, measured_share=0.0)
        )
        example = sr.render(scene_of(bank, 1, config), load)
        energy[kind] = activity(from_int16(example.signals["target"]), bank.sample_rate_hz).power
        assert ("speech" in example.stems) is (kind != "reverberant")
    assert energy["direct"] <= energy["early"] <= energy["reverberant"] * 1.01


def test_measured_rooms_serve_where_the_corpus_has_some(some_bank):
    bank, load = some_bank
    config = replace(FULL, interferer_probability=0.0, rooms=replace(FULL.rooms, measured_share=1.0))
    scene = scene_of(bank, 0, config)
    assert isinstance(scene.mix.room, MeasuredRoom)
    example = sr.render(scene, load)
    assert "rt60_s" not in example.requested
    assert example.measured["rt60_s"] > 0
    assert disagreements(example.requested, example.measured) == []


def test_a_scene_comes_back_from_json_and_renders_the_same_samples(some_bank):
    bank, load = some_bank
    for index in range(10):
        scene = scene_of(bank, index, Config())
        again = msgspec.json.decode(msgspec.json.encode(scene), type=Scene)
        assert again == scene == scene_of(bank, index, Config())
        first, second = sr.render(scene, load), sr.render(again, load)
        audio, other = first.signals | first.stems, second.signals | second.stems
        assert all(np.array_equal(audio[role], other[role]) for role in audio | other)
        assert first.measured == second.measured


def test_forty_eight_kilohertz_work(wide_bank):
    bank, load = wide_bank
    example = sr.render(scene_of(bank, 0, Config()), load)
    assert example.signals["input"].shape == (1, 5 * 48000)
    assert disagreements(example.requested, example.measured) == []


def test_a_corpus_without_what_is_asked_for_is_an_error_with_a_remedy(tiny_bank):
    bank, _ = tiny_bank
    with pytest.raises(ValueError, match="needs noise of at least 1"):
        scene_of(Bank(bank.table.filter(bank.table["role"].to_numpy() != "noise"), 16000), 0, FULL)
    with pytest.raises(ValueError, match="needs speech"):
        scene_of(Bank(bank.table.slice(0, 0), 16000), 0)
    one = bank.table.filter(
        np.isin(bank.table["speaker"].to_numpy(zero_copy_only=False), ["", bank.table["speaker"][0].as_py()])
    )
    with pytest.raises(ValueError, match="interfering voice needs speech of at least 2"):
        scene_of(Bank(one, 16000), 0, FULL)
