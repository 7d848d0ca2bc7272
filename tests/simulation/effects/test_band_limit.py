from typing import get_args

import numpy as np
import pytest

from simulation.effects.band_limit import BandLimit, BandLimitRange, Filter, bandwidth_hz, to_length
from simulation.seeds import Rng, stored_noise

FILTERS = get_args(Filter)
CASES = [(16000, 4000), (16000, 8000), (48000, 8000), (48000, 24000), (48000, 32000)]


def energy_above(audio: np.ndarray, frequency_hz: float, sample_rate_hz: int) -> float:
    spectrum = np.abs(np.fft.rfft(audio[0])) ** 2
    return float(spectrum[np.fft.rfftfreq(audio.shape[1], 1 / sample_rate_hz) > frequency_hz].sum())


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize(("sample_rate_hz", "lower_hz"), CASES)
def test_energy_above_the_limit_falls_by_more_than_30_db(name, sample_rate_hz, lower_hz):
    noise = 0.1 * stored_noise(1, (1, 3 * sample_rate_hz))
    after = BandLimit(lower_hz, name)(noise, sample_rate_hz)
    assert energy_above(after, lower_hz / 2, sample_rate_hz) < 1e-3 * energy_above(noise, lower_hz / 2, sample_rate_hz)


@pytest.mark.parametrize("name", FILTERS)
def test_what_is_far_below_the_limit_stays_as_it_was(name):
    at = np.arange(48000) / 16000
    tone = np.sin(2 * np.pi * 700 * at).astype(np.float32)[np.newaxis]
    after = BandLimit(4000, name)(tone, 16000)
    assert np.abs(after - tone)[:, 800:-800].max() < 0.06  # ripple of 0.5 dB


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize(("sample_rate_hz", "lower_hz"), CASES)
def test_the_bandwidth_measured_is_the_one_requested_within_a_quarter(name, sample_rate_hz, lower_hz):
    noise = 0.1 * stored_noise(2, (1, 3 * sample_rate_hz))
    effect = BandLimit(lower_hz, name)
    found = effect.measure(noise, effect(noise, sample_rate_hz), sample_rate_hz)["bandwidth_hz"]
    assert 0.75 * lower_hz / 2 < found <= 1.02 * lower_hz / 2


@pytest.mark.parametrize("name", FILTERS)
def test_a_real_voice_has_its_bandwidth_measured(name, real_voices):
    for voice in real_voices[:2]:
        effect = BandLimit(8000, name)
        assert 3000 < effect.measure(voice, effect(voice, 16000), 16000)["bandwidth_hz"] <= 4060


def test_a_signal_that_had_no_content_up_there_tells_no_bandwidth():
    narrow = BandLimit(4000, "soxr_hq")(0.1 * stored_noise(3, (1, 32000)), 16000)
    assert bandwidth_hz(narrow, BandLimit(8000, "elliptic")(narrow, 16000), 16000) is None
    assert bandwidth_hz(narrow, narrow, 16000) is None


def test_a_rate_at_or_above_the_signals_changes_nothing():
    noise = stored_noise(4, (2, 1600))
    assert np.array_equal(BandLimit(16000, "soxr_hq")(noise, 16000), noise)


def test_silence_within_a_signal_stays_silent_behind_a_recursive_filter():
    noise = np.zeros((1, 48000), np.float32)
    noise[:, :8000] = stored_noise(5, (1, 8000))
    after = BandLimit(4000, "butterworth")(noise, 16000)
    assert not after[:, 20000:].any()


def test_rates_are_those_not_above_the_tasks():
    drawn = [BandLimitRange().draw(Rng(0, "t", index), 16000) for index in range(300)]
    assert {effect.sample_rate_hz for effect in drawn if effect} == {4000, 8000}
    assert abs(sum(effect is None for effect in drawn) / 300 - 1 / 3) < 0.1  # 16 kHz of 4, 8, 16: nothing happens
    wide = {effect.sample_rate_hz for index in range(300) if (effect := BandLimitRange().draw(Rng(0, "t", index), 48000))}
    assert wide == {4000, 8000, 16000, 24000, 32000}
    assert {effect.filter for effect in drawn if effect} == set(FILTERS)


def test_lengths_are_trimmed_or_padded_at_the_end():
    assert to_length(np.arange(5), 3).tolist() == [0, 1, 2]
    assert to_length(np.arange(3), 5).tolist() == [0, 1, 2, 0, 0]
