"""The noises of the starter corpus: their colour, that they last, and whose voices are in them."""

import numpy as np
import pytest

from simulation.seeds import Rng
from simulation.starter import noises, texts, voices
from simulation.starter.waves import SAMPLE_RATE_HZ
from tests.simulation.starter.measures import centroid_hz, flatness

RNG = Rng(0, "starter", 0)


@pytest.fixture(scope="module")
def made():
    return {kind: noises.noise(kind, RNG, 0, 0) for kind in texts.NOISES}


def test_each_noise_fills_its_ten_seconds_unclipped(made):
    for kind, audio in made.items():
        assert audio.dtype == np.float32 and audio.shape == (1, 10 * SAMPLE_RATE_HZ), kind
        assert 0.2 < np.abs(audio).max() < 0.65, kind
        seconds = np.square(audio.reshape(10, -1)).mean(axis=1)
        assert seconds.min() > 1e-3 * seconds.max() > 0, kind


def test_colours_and_hum_are_what_they_are_called(made):
    centroid = {kind: centroid_hz(audio, SAMPLE_RATE_HZ) for kind, audio in made.items()}
    assert centroid["white noise"] > 2 * centroid["pink noise"] > 4 * centroid["brown noise"]
    assert centroid["mains hum"] < 600
    assert flatness(made["white noise"], SAMPLE_RATE_HZ) > 0.8 > 0.05 > flatness(made["mains hum"], SAMPLE_RATE_HZ)


def test_a_crowd_is_steadier_than_babble(made):
    def changes(audio):
        frames = np.square(audio.reshape(200, -1)).mean(axis=1)
        return frames.std() / frames.mean()

    assert changes(made["crowd"]) < changes(made["babble"])


def test_the_same_take_is_the_same_noise_and_another_is_not(made):
    for kind in ("fan", "babble"):
        assert np.array_equal(made[kind], noises.noise(kind, Rng(0, "starter", 0), 0, 0))
        assert not np.allclose(made[kind], noises.noise(kind, RNG, 0, 1), atol=1e-3)


def test_no_background_voice_is_a_speaker_or_in_two_recordings():
    speakers = {speaker.variant for group in voices.SPEAKERS.values() for speaker in group}
    background = [speaker.variant for speaker in voices.BACKGROUND]
    assert not speakers & set(background)
    assert len(set(background)) == len(background)
    assert len(background) >= 3 * noises.RECORDINGS
