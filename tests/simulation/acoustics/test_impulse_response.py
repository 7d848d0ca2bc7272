import json

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation.acoustics.impulse_response import decay_end, direct_index, drr_db, measured_rt60_s, onset_index, sabine_rt60_s

RATES_HZ = st.sampled_from([8000, 16000, 44100, 48000])
DOUBLE_SLOPE = "living-magnetic"  # its decay slows down below -25 dB: T20 and T30 are 0.34 and 0.47 s, and both are right


def decaying(rt60_s: float, sample_rate_hz: int, seed: int = 0, floor_db: float = -200.0, level: float = 0.1) -> np.ndarray:
    """An impulse, 5 ms of silence, then noise that decays by 60 dB in `rt60_s` above a floor of noise."""
    rng, num_samples = np.random.default_rng(seed), round(1.5 * max(rt60_s, 0.2) * sample_rate_hz)
    envelope = 10 ** (-3 * np.arange(num_samples) / (rt60_s * sample_rate_hz))
    tail = rng.normal(size=num_samples) * envelope + rng.normal(size=num_samples) * 10 ** (floor_db / 20)
    return np.concatenate([[1.0], np.zeros(round(0.005 * sample_rate_hz)), level * tail]).astype(np.float32)


@given(st.floats(0.1, 2.0), RATES_HZ, st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_an_exponential_decay_has_the_rt60_it_was_made_with(rt60_s, sample_rate_hz, seed):
    response = decaying(rt60_s, sample_rate_hz, seed)
    assert measured_rt60_s(response, sample_rate_hz) == pytest.approx(rt60_s, rel=0.06)


@given(st.floats(0.15, 1.5), st.floats(-60, -35), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_a_noise_floor_does_not_lengthen_the_decay(rt60_s, floor_db, seed):
    response = decaying(rt60_s, 16000, seed, floor_db)
    assert measured_rt60_s(response, 16000) == pytest.approx(rt60_s, rel=0.15)
    assert decay_end(response, 16000) < len(response)


@given(st.floats(1e-3, 1e3), st.integers(0, 3000), st.sampled_from([-1, 1]))
@settings(max_examples=20, deadline=None)
def test_neither_gain_nor_travel_time_changes_what_is_measured(gain, num_leading, sign):
    response = decaying(0.4, 16000)
    moved = np.concatenate([np.zeros(num_leading), sign * gain * response]).astype(np.float32)
    assert direct_index(moved, 16000) == num_leading
    assert measured_rt60_s(moved, 16000) == pytest.approx(measured_rt60_s(response, 16000), rel=1e-3)
    assert drr_db(moved, 16000) == pytest.approx(drr_db(response, 16000), abs=0.01)


@given(st.floats(-25, 25), RATES_HZ)
@settings(max_examples=20, deadline=None)
def test_drr_is_the_ratio_of_the_two_energies(wanted_db, sample_rate_hz):
    response = decaying(0.3, sample_rate_hz, level=1.0).astype(np.float64)
    response[1:] *= np.sqrt(10 ** (-wanted_db / 10) / np.square(response[1:]).sum())
    assert drr_db(response, sample_rate_hz) == pytest.approx(wanted_db, abs=0.01)


def test_the_ringing_of_a_filter_before_the_direct_path_is_not_taken_for_it():
    ringing = np.sinc((np.arange(2000) - 700.3) / 3).astype(np.float32)  # band-limited to a third: lobes 13 dB down
    assert direct_index(ringing, 48000) == 700


def test_a_direct_path_weaker_than_a_reflection_is_found():
    response = np.zeros(4000, np.float32)
    response[[100, 350]] = 0.3, 1.0
    assert direct_index(response, 16000) == 100


def test_a_direct_path_alone_has_no_reverberation():
    response = np.zeros(8000, np.float32)
    response[40] = -0.5
    assert measured_rt60_s(response, 16000) == 0
    assert drr_db(response, 16000) == 100
    assert measured_rt60_s(np.ones(1, np.float32), 16000) == 0


@pytest.mark.parametrize("response", [np.zeros(100, np.float32), np.zeros(0, np.float32), np.full(9, np.nan, np.float32)])
@pytest.mark.parametrize(
    "measure",
    [direct_index, drr_db, measured_rt60_s, decay_end],
)
def test_silence_and_damage_are_named(measure, response):
    with pytest.raises(ValueError, match="silent or damaged"):
        measure(response, 16000)


def test_sabine_gives_the_textbook_value():
    assert sabine_rt60_s((10.0, 8.0, 3.0), 0.25) == pytest.approx(0.161 * 240 / (0.25 * 268), rel=0.005)


def test_recorded_rooms_have_the_rt60_and_drr_of_their_labels(real_corpus):
    root, table = real_corpus
    ratios, drr_misses_db = {}, []
    for row in table.filter([role == "rir" for role in table["role"].to_pylist()]).to_pylist():
        labels, (response, rate_hz) = json.loads(row["labels"]), soundfile.read(root / row["path"], dtype="float32")
        ratios[row["path"]] = measured_rt60_s(response, rate_hz) / labels["t20_s"]
        if direct_index(response, rate_hz) == np.argmax(np.abs(response)):  # which the label takes for direct
            drr_misses_db.append(abs(drr_db(response, rate_hz) - labels["drr_db"]))
    assert len(ratios) == 38
    assert all(0.95 < ratio < 1.2 for path, ratio in ratios.items() if DOUBLE_SLOPE not in path), ratios
    assert len(drr_misses_db) > 20 and max(drr_misses_db) < 0.05


def test_sound_arrives_with_the_first_sample_near_the_loudest():
    response = np.zeros(100, np.float32)
    response[[7, 20]] = 0.3, 1.0  # a corner hides the source: its reflection is louder, 10 dB
    assert onset_index(response) == 7
    assert onset_index(response[7:]) == 0
