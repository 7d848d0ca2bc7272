import numpy as np
import pytest

from simulation.seeds import stored_noise
from simulation.voice_conversion.pitch import PERIOD_S, track
from tests.simulation.made_speech import said


def glide(start_hz: float, end_hz: float, sample_rate_hz: int, seconds: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Ten harmonics gliding, and the F0 by frames of 10 ms."""
    at = np.arange(round(seconds * sample_rate_hz)) / sample_rate_hz
    turns = start_hz * at + (end_hz - start_hz) * at**2 / (2 * seconds)
    audio = sum(np.sin(2 * np.pi * k * turns + k * k) / k for k in range(1, 11)) / 10
    f0 = start_hz + (end_hz - start_hz) * np.arange(round(seconds / PERIOD_S)) * PERIOD_S / seconds
    return audio[np.newaxis].astype(np.float32), f0


@pytest.mark.parametrize("sample_rate_hz", [16000, 48000])
@pytest.mark.parametrize("start_hz, end_hz", [(75, 110), (120, 240), (420, 300)])
def test_a_glide_is_followed_within_one_percent(start_hz, end_hz, sample_rate_hz):
    audio, f0 = glide(start_hz, end_hz, sample_rate_hz)
    found = track(audio, sample_rate_hz).f0_hz[5:-5]
    assert (found > 0).mean() > 0.98
    assert np.median(np.abs(found[found > 0] / f0[5 : 5 + len(found)][found > 0] - 1)) < 0.01


@pytest.mark.parametrize("pitch_hz", [85, 130, 210, 320])
def test_the_median_of_a_voice_is_its_pitch(pitch_hz):
    found = track(said(pitch_hz=pitch_hz), 16000)
    assert found.median_hz() == pytest.approx(pitch_hz, rel=0.02)
    assert 0.4 < found.voiced.mean() < 0.8  # the hiss and the pauses are not


def test_level_and_an_offset_change_nothing():
    audio = said(pitch_hz=140)
    assert np.array_equal(track(audio, 16000).f0_hz > 0, track(audio * np.float32(1e-3), 16000).f0_hz > 0)
    assert track(audio + np.float32(0.2), 16000).median_hz() == pytest.approx(track(audio, 16000).median_hz(), rel=0.01)


def test_noise_silence_and_a_click_have_no_pitch():
    click = np.zeros((1, 16000), np.float32)
    click[0, 8000] = 0.9
    assert track(stored_noise(3, (1, 32000)) * np.float32(0.1), 16000).voiced.mean() < 0.05
    assert track(np.zeros((1, 16000), np.float32), 16000).median_hz() == 0
    assert not track(click, 16000).voiced.any()


def test_the_shortest_signals_are_taken():
    for num_samples in (1, 10, 160, 500):
        assert not track(np.full((1, num_samples), 0.1, np.float32), 16000).voiced.any()


def test_gaps_are_filled_from_both_sides():
    found = track(said(pitch_hz=140), 16000)
    filled = found.filled()
    assert np.array_equal(filled[found.voiced], found.f0_hz[found.voiced]) and filled.min() >= found.f0_hz[found.voiced].min()


def test_the_track_is_rounded_for_all_cpus_to_agree():
    f0 = track(said(pitch_hz=140), 16000).f0_hz
    assert np.array_equal(f0, np.round(f0, 2))
