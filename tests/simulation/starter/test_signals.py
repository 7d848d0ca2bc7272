"""Signals: their pitch, how it moves, and their rhythm."""

import numpy as np
import pytest
import scipy.signal

from simulation.seeds import Rng
from simulation.starter import signals
from simulation.starter.waves import SAMPLE_RATE_HZ
from tests.simulation.starter.measures import flatness, onsets, peak_hz

RATE_HZ = SAMPLE_RATE_HZ


def one(make, individual, take=0):
    rng = Rng(0, "starter", 0)
    return make(rng("individual", individual), rng("take", individual, take))


def loudest_hz(sound):
    """The loudest frequency of each 85 ms."""
    hz, _, power = scipy.signal.spectrogram(sound, RATE_HZ, nperseg=4096)
    return hz[np.argmax(power, axis=0)], power.sum(axis=0)


@pytest.mark.parametrize("individual", range(4))
def test_an_alarm_beeps_at_one_pitch_in_groups(individual):
    sound = one(signals.alarm_beeping, individual)
    assert 1650 < peak_hz(sound, RATE_HZ) < 3350
    assert len(onsets(sound, RATE_HZ, gap_s=0.03)) >= 3


@pytest.mark.parametrize("individual", range(4))
def test_a_telephone_rings_in_two_tones_above_900_hz(individual):
    sound = one(signals.telephone_ringing, individual)
    assert 900 < peak_hz(sound, RATE_HZ) < 2200
    assert flatness(sound, RATE_HZ) < 0.05


@pytest.mark.parametrize("individual", range(5))
def test_a_siren_moves_over_at_least_a_third_of_its_pitch(individual):
    sound = one(signals.siren_wailing, individual)
    hz, power = loudest_hz(sound)
    low, high = np.percentile(hz[power > 0.1 * power.max()], (5, 95))
    assert 350 < low < high < 4000
    assert high > 1.25 * low


@pytest.mark.parametrize("individual", range(3))
def test_a_bell_rings_on_for_more_than_a_second_on_discrete_partials(individual):
    sound = one(signals.church_bell, individual)
    last = onsets(sound, RATE_HZ, gap_s=0.3)[-1]
    after = sound[round((last + 1) * RATE_HZ) :][: RATE_HZ // 10]
    assert np.abs(after).max() > 0.02 * np.abs(sound).max()
    assert flatness(sound, RATE_HZ, high_hz=3000) < 0.05


@pytest.mark.parametrize("individual", range(3))
def test_a_horn_has_its_discs_at_340_to_570_hz(individual):
    sound = one(signals.car_horn, individual)
    hz, power = np.fft.rfftfreq(len(sound), 1 / RATE_HZ), np.abs(np.fft.rfft(sound)) ** 2
    discs, below = power[(hz > 330) & (hz < 580)], power[(hz > 20) & (hz < 300)]
    assert discs.max() > 30 * below.max()


@pytest.mark.parametrize("individual", range(3))
def test_a_whistled_tune_is_one_tone_at_a_time_and_moves(individual):
    hz, power = loudest_hz(one(signals.whistling, individual))
    sounding = hz[power > 0.05 * power.max()]
    assert 780 < sounding.min() < sounding.max() < 3000
    assert sounding.max() > 1.1 * sounding.min()
