"""The events of the starter corpus: every class is there, audible, whole and the same again."""

import numpy as np
import pytest

from simulation.seeds import Rng
from simulation.signals.levels import to_int16
from simulation.starter import sounds, texts
from simulation.starter.waves import SAMPLE_RATE_HZ
from tests.simulation.starter.measures import centroid_hz, flatness

RNG = Rng(0, "starter", 0)


def test_there_are_at_least_16_classes_and_each_has_its_wordings():
    assert len(sounds.MAKERS) >= 16
    assert set(sounds.MAKERS) == set(texts.EVENTS)


@pytest.mark.parametrize("label", sounds.MAKERS)
def test_every_class_starts_at_once_is_unclipped_and_lasts_half_a_second_to_six(label):
    for individual in range(2):
        audio = sounds.event(label, RNG, individual, 0)
        assert audio.dtype == np.float32 and audio.shape[0] == 1
        assert 0.5 * SAMPLE_RATE_HZ <= audio.shape[1] <= 6 * SAMPLE_RATE_HZ
        assert 0.29 < np.abs(audio).max() < 0.91
        assert np.abs(audio[0, :480]).max() > 0.002  # within 10 ms
        assert abs(audio[0, -1]) < 0.01
        assert np.abs(to_int16(audio)).max() < 32767


@pytest.mark.parametrize("label", sounds.MAKERS)
def test_the_same_take_is_the_same_sound_and_another_is_not(label):
    audio = sounds.event(label, RNG, 0, 0)
    assert np.array_equal(audio, sounds.event(label, Rng(0, "starter", 0), 0, 0))
    for other in (
        sounds.event(label, RNG, 0, 1),
        sounds.event(label, RNG, 1, 0),
        sounds.event(label, Rng(1, "starter", 0), 0, 0),
    ):
        assert audio.shape != other.shape or not np.allclose(audio, other, atol=1e-3)


def test_classes_lie_where_one_expects_them():
    def bright(label):
        return np.mean([centroid_hz(sounds.event(label, RNG, i, 0), SAMPLE_RATE_HZ) for i in range(3)])

    brightness = {label: bright(label) for label in sounds.MAKERS}
    low = ("thunder rumbling", "knocking on a door", "engine running")
    high = ("glass breaking", "rain falling", "bird chirping", "crickets chirping")
    middle = ("dog barking", "cat meowing", "siren wailing", "car horn honking")
    assert max(brightness[label] for label in low) < min(brightness[label] for label in middle)
    assert max(brightness[label] for label in middle) < min(brightness[label] for label in high)


def test_noisy_classes_are_flatter_than_tonal_ones():
    def flat(label):
        return np.mean([flatness(sounds.event(label, RNG, i, 0), SAMPLE_RATE_HZ) for i in range(3)])

    assert min(map(flat, ("rain falling", "applause"))) > 5 * max(map(flat, ("whistling", "alarm beeping", "siren wailing")))


def test_silent_ends_are_trimmed_and_long_sounds_cut():
    signal = np.zeros(10 * SAMPLE_RATE_HZ)
    signal[SAMPLE_RATE_HZ : 2 * SAMPLE_RATE_HZ] = 0.1
    assert sounds.finished(signal, 0.5).shape[1] == pytest.approx(SAMPLE_RATE_HZ, abs=0.05 * SAMPLE_RATE_HZ)
    assert sounds.finished(np.full(10 * SAMPLE_RATE_HZ, 0.1), 0.5).shape[1] == 6 * SAMPLE_RATE_HZ
