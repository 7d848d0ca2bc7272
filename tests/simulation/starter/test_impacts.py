"""Struck things: their onsets, their decay, and how bright they are."""

import numpy as np
import pytest

from simulation.seeds import Rng
from simulation.starter import impacts
from simulation.starter.waves import SAMPLE_RATE_HZ
from tests.simulation.starter.measures import centroid_hz, onsets

RATE_HZ = SAMPLE_RATE_HZ


def one(make, individual, take=0):
    rng = Rng(0, "starter", 0)
    return make(rng("individual", individual), rng("take", individual, take))


@pytest.mark.parametrize("individual", range(4))
def test_knocks_come_one_by_one_and_die_away(individual):
    sound = one(impacts.knocking, individual)
    found = onsets(sound, RATE_HZ, gap_s=0.03)
    assert 3 <= len(found) <= 10
    assert np.abs(sound[-2400:]).max() < 0.03 * np.abs(sound).max()


@pytest.mark.parametrize("individual", range(4))
def test_a_clock_ticks_at_an_even_pace(individual):
    gaps = np.diff(onsets(one(impacts.clock_ticking, individual), RATE_HZ, gap_s=0.1))
    assert 0.2 < gaps.mean() < 0.6
    assert gaps.std() < 0.05 * gaps.mean()


@pytest.mark.parametrize("individual", range(3))
def test_typing_is_fast_and_uneven(individual):
    gaps = np.diff(onsets(one(impacts.typing, individual), RATE_HZ, gap_s=0.02))
    assert len(gaps) > 10
    assert gaps.std() > 0.2 * gaps.mean()


def test_glass_is_far_brighter_than_wood_and_ends_more_quietly_than_it_begins():
    glass, door = one(impacts.glass_breaking, 0), one(impacts.knocking, 0)
    assert centroid_hz(glass, RATE_HZ) > 8 * centroid_hz(door, RATE_HZ)
    first, last = np.array_split(np.square(glass), 2)
    assert first.sum() > 10 * last.sum()


@pytest.mark.parametrize("individual", range(3))
def test_drops_fall_singly_between_half_and_some_kilohertz(individual):
    sound = one(impacts.water_dripping, individual)
    assert 3 <= len(onsets(sound, RATE_HZ, gap_s=0.1)) <= 8
    assert 400 < centroid_hz(sound, RATE_HZ) < 5000


@pytest.mark.parametrize("individual", range(6))
def test_steps_keep_a_walking_pace(individual):
    found = onsets(one(impacts.footsteps, individual), RATE_HZ, gap_s=0.15, threshold=0.3)
    assert 0.4 < np.median(np.diff(found)) < 0.75


def test_floors_differ():
    brightness = [centroid_hz(one(impacts.footsteps, individual), RATE_HZ) for individual in range(8)]
    assert max(brightness) > 3 * min(brightness)
