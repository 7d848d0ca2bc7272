import numpy as np
import pytest

from simulation.seeds import stored_noise
from simulation.voice_conversion.timbre import HOP_S, timbre
from simulation.voice_conversion.time_warp import path, timing
from tests.simulation.made_speech import said

RATE_HZ = 16000


@pytest.mark.parametrize("delay_ms", [0, 15, -15, 40])
def test_a_delay_is_found_with_its_sign(delay_ms):
    audio = np.pad(said(pitch_hz=120), ((0, 0), (2000, 2000)))
    late = np.roll(audio, round(delay_ms * RATE_HZ / 1000), axis=1)
    found = timing(timbre(late, RATE_HZ), timbre(audio, RATE_HZ))
    assert found.lag_ms == pytest.approx(delay_ms, abs=3)
    assert found.error_ms >= abs(delay_ms) - 3


def test_the_same_words_in_another_voice_are_in_time():
    one, other = (timbre(said(pitch_hz=pitch_hz, ratio=ratio), RATE_HZ) for pitch_hz, ratio in ((110, 1), (190, 1.18)))
    found = timing(other, one)
    assert abs(found.lag_ms) < 2 and found.error_ms < 5


def test_other_words_are_not_in_time():
    one, other = (timbre(said(pitch_hz=120, seed=seed, stretch=by), RATE_HZ) for seed, by in ((0, 1), (3, 1.13)))
    assert timing(other, one).error_ms > 20


def test_silence_and_noise_are_in_time_with_themselves():
    for audio in (np.zeros((1, 8000), np.float32), stored_noise(1, (1, 8000)), np.zeros((1, 5), np.float32)):
        voice = timbre(audio, RATE_HZ)
        assert abs(timing(voice, voice).lag_ms) < 1 and timing(voice, voice).error_ms < 3


@pytest.mark.parametrize("stretch", [0.7, 1.0, 1.4])
def test_the_path_follows_another_speed(stretch):
    one, other = (timbre(said(pitch_hz=hz, stretch=by, ratio=by), RATE_HZ) for hz, by in ((120, 1.0), (150, stretch)))
    found = path(one, other)
    wanted = np.arange(len(found)) * stretch
    assert np.median(np.abs(found - wanted)) * HOP_S < 0.02
    assert (np.diff(found) >= 0).all()


def test_what_the_other_says_before_and_after_is_passed_over():
    one, whole = said(pitch_hz=120, num_syllables=4, seed=2), said(pitch_hz=120, num_syllables=4, seed=2)
    before, after = said(pitch_hz=120, num_syllables=3, seed=5), said(pitch_hz=120, num_syllables=3, seed=6)
    other = np.concatenate([before, whole, after], axis=1)
    found = path(timbre(one, RATE_HZ), timbre(other, RATE_HZ))
    wanted = np.arange(len(found)) + before.shape[1] / RATE_HZ / HOP_S
    assert np.median(np.abs(found - wanted)) < 1.5
