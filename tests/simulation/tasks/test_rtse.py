from dataclasses import replace

import msgspec
import numpy as np
import pytest

from simulation.labels import disagreements
from simulation.seeds import Rng
from simulation.tasks import rtse, tse

CONFIG = rtse.Config()


def pair(bank, load, index: int, config=CONFIG):
    """The same example asked both ways."""
    scenes = tse.draw(config, bank, Rng(3, "tse", index)), rtse.draw(config, bank, Rng(3, "rtse", index))
    return scenes, [task.render(scene, load) for task, scene in zip((tse, rtse), scenes, strict=True)]


@pytest.mark.parametrize("third", [0.0, 1.0])
def test_both_targets_and_the_noise_are_the_input(some_bank, third):
    config = replace(CONFIG, third_voice_probability=third, reverberation_probability=0.3, target="reverberant")
    for index in range(15):
        (scene, _), (one, other) = pair(*some_bank, index, config)
        assert np.array_equal(one.signals["input"], other.signals["input"])
        assert np.array_equal(one.signals["reference"], other.signals["reference"])
        if not scene.mix.effects:
            noise = one.stems.get("noise", np.zeros_like(one.signals["input"]))
            parts = [one.signals["target"], other.signals["target"], noise]
            assert np.array_equal(np.sum([part.astype(int) for part in parts], axis=0), one.signals["input"])


def test_in_a_room_the_stems_are_exchanged(some_bank):
    config = replace(CONFIG, reverberation_probability=1.0, absent_probability=0.0)
    for index in range(6):
        _, (one, other) = pair(*some_bank, index, config)
        assert np.array_equal(one.stems["speech"], other.stems["interference1"])
        assert np.array_equal(one.stems["interference1"], other.stems["speech"])
        assert not np.array_equal(other.stems["speech"], other.signals["target"])


def test_the_target_is_whoever_was_not_enrolled(tiny_bank):
    bank, load = tiny_bank
    config = replace(CONFIG, absent_probability=0.0, duration_s=7.0)
    scene = rtse.draw(config, bank, Rng(3, "rtse", 0))
    assert len(scene.voices) == 2
    assert scene.voices[0].clip.speaker == scene.enrolment.clip.speaker
    assert rtse.render(scene, load).texts == {"transcript": scene.voices[1].clip.text}


def test_an_absent_speaker_leaves_everybody(some_bank):
    config = replace(CONFIG, absent_probability=1.0, reverberation_probability=0.0, noise_probability=0.0)
    for index in range(5):
        _, (one, other) = pair(*some_bank, index, config)
        assert not one.signals["target"].any()
        assert other.measured["enrolled_absent"] == 1.0
        if other.mixture_parts:
            assert np.array_equal(other.signals["target"], other.signals["input"])


def test_labels_requested_are_labels_measured_and_the_sir_is_turned_round(some_bank):
    for index in range(30):
        (scene, _), (one, other) = pair(*some_bank, index, replace(CONFIG, absent_probability=0.2))
        turned = 1 if scene.absent else -1
        assert not disagreements(other.requested, other.measured)
        assert other.requested["sir_db"] == turned * one.requested["sir_db"]
        assert other.measured["sir_db"] == pytest.approx(turned * one.measured["sir_db"], abs=1e-3)


def test_a_scene_from_json_renders_the_same_samples(some_bank):
    bank, load = some_bank
    for index in range(5):
        scene = rtse.draw(CONFIG, bank, Rng(3, "rtse", index))
        again = msgspec.json.decode(msgspec.json.encode(scene), type=rtse.Scene)
        one, other = rtse.render(scene, load), rtse.render(again, load)
        assert all(np.array_equal(one.signals[role], other.signals[role]) for role in one.signals)
