"""Textures: where their energy lies, and whether it is steady."""

import numpy as np
import pytest

from simulation.seeds import Rng
from simulation.starter import textures
from simulation.starter.waves import SAMPLE_RATE_HZ
from tests.simulation.starter.measures import centroid_hz, flatness

RATE_HZ = SAMPLE_RATE_HZ


def one(make, individual, take=0):
    rng = Rng(0, "starter", 0)
    return make(rng("individual", individual), rng("take", individual, take))


def level_range_db(sound):
    """Between the loud and the quiet of its tenths of a second."""
    frame = RATE_HZ // 10
    power = np.square(sound[: len(sound) // frame * frame]).reshape(-1, frame).mean(axis=1)[2:-5]
    return 10 * np.log10(np.percentile(power, 90) / np.percentile(power, 10))


@pytest.mark.parametrize("individual", range(3))
def test_rain_is_bright_noise_that_stays(individual):
    sound = one(textures.rain, individual)
    assert centroid_hz(sound, RATE_HZ) > 3000
    assert flatness(sound, RATE_HZ) > 0.2
    assert level_range_db(sound) < 8


@pytest.mark.parametrize("individual", range(3))
def test_thunder_is_low_and_rolls(individual):
    sound = one(textures.thunder, individual)
    assert 40 < centroid_hz(sound, RATE_HZ) < 900
    assert level_range_db(sound) > 5


@pytest.mark.parametrize("individual", range(3))
def test_applause_is_broadband_between_rain_and_thunder(individual):
    sound = one(textures.applause, individual)
    assert 900 < centroid_hz(sound, RATE_HZ) < 6000
    assert flatness(sound, RATE_HZ, low_hz=300, high_hz=6000) > 0.2


@pytest.mark.parametrize("individual", range(4))
def test_an_engine_fires_at_a_steady_rate(individual):
    sound = one(textures.engine, individual)[: 2 * RATE_HZ]
    envelope = np.abs(sound).reshape(-1, 48).mean(axis=1)  # 1 kHz
    envelope -= envelope.mean()
    together = np.correlate(envelope, envelope, "full")[len(envelope) - 1 :] / np.square(envelope).sum()
    lag = 12 + int(np.argmax(together[12:300]))  # the cycle of all its cylinders may be the strongest period
    assert together[lag] > 0.2
