import numpy as np
import pytest

from simulation.effects.equaliser import CENTRES_HZ, Band, Equaliser, EqualiserRange
from simulation.seeds import Rng, stored_noise

FLAT = tuple(Band((low * high) ** 0.5, 0.0, 0.9) for low, high in CENTRES_HZ)


def response_db(effect: Equaliser, frequency_hz: float, sample_rate_hz: int = 16000) -> float:
    impulse = np.zeros((1, sample_rate_hz), np.float32)
    impulse[0, sample_rate_hz // 2] = 1
    spectrum = np.fft.rfft(effect(impulse, sample_rate_hz)[0])  # in steps of 1 Hz
    return 20 * np.log10(abs(spectrum[round(frequency_hz)]))


def boosted(index: int, gain_db: float) -> Equaliser:
    bands = list(FLAT)
    bands[index] = Band(bands[index].centre_hz, gain_db, 0.9)
    return Equaliser(tuple(bands))


@pytest.mark.parametrize("index", range(1, 6))
@pytest.mark.parametrize("gain_db", [-9.0, 6.0])
def test_a_peak_has_its_gain_at_its_centre(index, gain_db):
    effect = boosted(index, gain_db)
    assert abs(response_db(effect, effect.bands[index].centre_hz) - gain_db) < 0.2


def test_shelves_reach_to_the_ends():
    assert abs(response_db(boosted(0, 8.0), 5) - 8) < 0.5
    assert abs(response_db(boosted(6, -8.0), 7900) + 8) < 0.5
    assert abs(response_db(boosted(6, -8.0), 300)) < 0.5


def test_a_flat_equaliser_changes_nothing():
    noise = stored_noise(1, (2, 16000))
    assert np.allclose(Equaliser(FLAT)(noise, 16000), noise, atol=2e-5)


@pytest.mark.parametrize("sample_rate_hz", [16000, 48000])
def test_the_phase_is_zero_at_all_frequencies(sample_rate_hz):
    response = EqualiserRange().draw(Rng(0, "t", 1)).response(sample_rate_hz)
    assert len(response) % 2 == 1
    assert np.array_equal(response, response[::-1])
    assert np.argmax(np.abs(response)) == len(response) // 2


def test_bands_are_drawn_in_their_own_ranges():
    for index in range(20):
        for band, (low, high) in zip(EqualiserRange().draw(Rng(0, "t", index)).bands, CENTRES_HZ, strict=True):
            assert low <= band.centre_hz <= high
            assert -10 <= band.gain_db <= 10
