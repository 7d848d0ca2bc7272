import numpy as np
import pytest

from simulation.effects.wind import Wind, WindRange
from simulation.seeds import Rng
from simulation.signals.levels import frame_powers
from tests.simulation.effects.conftest import noisy_voice

WIND = Wind(snr_db=3.0, corner_hz=60.0, gust_s=0.3, lull_db=20.0, seed=42)


def test_what_comes_out_less_what_went_in_is_the_wind():
    audio = noisy_voice(16000)
    stem = WIND.stem(audio, 16000)
    assert np.abs(WIND(audio, 16000) - audio - stem).max() < 1e-6
    unit = WIND.wind(audio.shape[1], 16000)
    assert np.abs(np.corrcoef(stem[0], unit[0])[0, 1] - 1) < 1e-6


@pytest.mark.parametrize("sample_rate_hz", [16000, 48000])
def test_the_requested_snr_is_measured(sample_rate_hz):
    audio = noisy_voice(sample_rate_hz)
    for index in range(6):
        effect = WindRange(overload_probability=0.5).draw(Rng(0, "t", index))
        measured = effect.measure(audio, effect(audio, sample_rate_hz), sample_rate_hz)["wind_snr_db"]
        assert abs(measured - effect.requested()["wind_snr_db"]) < 0.05


@pytest.mark.parametrize("sample_rate_hz", [16000, 48000])
def test_wind_lies_below_a_few_hundred_hertz(sample_rate_hz):
    spectrum = np.abs(np.fft.rfft(WIND.wind(5 * sample_rate_hz, sample_rate_hz)[0])) ** 2
    frequencies = np.fft.rfftfreq(5 * sample_rate_hz, 1 / sample_rate_hz)
    assert spectrum[frequencies < 300].sum() > 0.95 * spectrum.sum()
    assert spectrum[frequencies > 1000].sum() > 1e-7 * spectrum.sum()  # and is not a pure low-pass either


def test_wind_comes_in_gusts():
    powers = frame_powers(WIND.wind(10 * 16000, 16000), 16000)
    smooth = 10 * np.log10(np.convolve(powers, np.ones(10) / 10, "valid"))
    assert np.percentile(smooth, 95) - np.percentile(smooth, 5) > 8


def test_each_microphone_has_turbulence_of_its_own_and_the_same_gusts():
    wind = WIND.wind(5 * 16000, 16000, 2)
    assert abs(np.corrcoef(wind[0], wind[1])[0, 1]) < 0.2
    assert np.array_equal(wind[0], WIND.wind(5 * 16000, 16000)[0])


def test_seeds_make_different_winds():
    assert not np.allclose(WIND.wind(1000, 16000), Wind(3.0, 60.0, 0.3, 20.0, seed=43).wind(1000, 16000))


def test_an_overloaded_microphone_cuts_gusts_and_leaves_the_signal_alone():
    audio = noisy_voice(16000)
    calm = Wind(snr_db=60.0, corner_hz=60.0, gust_s=0.3, lull_db=20.0, seed=1, headroom_db=0.5)
    assert np.abs(calm(audio, 16000) - audio - calm.stem(audio, 16000)).max() < 1e-6
    storm = Wind(snr_db=-10.0, corner_hz=60.0, gust_s=0.3, lull_db=20.0, seed=1, headroom_db=0.5)
    after, limit = storm(audio, 16000), np.abs(audio).max() * 10 ** (0.5 / 20)
    assert np.abs(after).max() <= limit * 1.0001
    assert (np.abs(after) > 0.999 * limit).mean() > 0.01
