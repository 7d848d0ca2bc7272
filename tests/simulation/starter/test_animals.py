"""Animals sound in their register, and each individual like itself."""

import numpy as np
import pytest

from simulation.seeds import Rng
from simulation.starter import animals
from simulation.starter.waves import SAMPLE_RATE_HZ
from tests.simulation.starter.measures import centroid_hz, flatness, onsets, peak_hz


def takes(make, individual, count=3):
    rng = Rng(0, "starter", 0)
    return [make(rng("individual", individual), rng("take", individual, take)) for take in range(count)]


def test_a_dog_barks_several_times_in_the_register_of_dogs():
    for individual in range(4):
        for sound in takes(animals.dog_barking, individual, 2):
            assert 3 <= len(onsets(sound, SAMPLE_RATE_HZ)) <= 8
            assert 500 < centroid_hz(sound, SAMPLE_RATE_HZ) < 3000


def test_a_cat_is_tonal_between_400_hz_and_its_third_formant():
    for individual in range(4):
        sound = takes(animals.cat_meowing, individual, 1)[0]
        assert flatness(sound, SAMPLE_RATE_HZ) < 0.05
        assert 350 < peak_hz(sound, SAMPLE_RATE_HZ) < 2600


def test_a_bird_repeats_its_motif_above_2_khz():
    for individual in range(4):
        sound = takes(animals.bird_chirping, individual, 1)[0]
        assert 1900 < centroid_hz(sound, SAMPLE_RATE_HZ) < 9000
        assert len(onsets(sound, SAMPLE_RATE_HZ, gap_s=0.02)) >= 4


def test_crickets_keep_to_a_narrow_band_near_4_to_5_khz():
    for individual in range(4):
        sound = takes(animals.crickets_chirping, individual, 1)[0]
        assert 3800 < peak_hz(sound, SAMPLE_RATE_HZ) < 5400


@pytest.mark.parametrize("make", [animals.dog_barking, animals.cat_meowing, animals.bird_chirping, animals.crickets_chirping])
def test_takes_of_one_animal_differ_and_sound_more_alike_than_two_animals(make):
    first, second = ([centroid_hz(sound, SAMPLE_RATE_HZ) for sound in takes(make, animal)] for animal in _far_apart(make))
    assert len(set(first)) == len(first)
    spread = max(np.ptp(first), np.ptp(second))
    assert abs(np.mean(first) - np.mean(second)) > 0.5 * spread


def _far_apart(make):
    """Of eight animals the lowest and the highest."""
    heights = [centroid_hz(takes(make, animal, 1)[0], SAMPLE_RATE_HZ) for animal in range(8)]
    return int(np.argmin(heights)), int(np.argmax(heights))
