import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation.signals import levels

RATE_HZ = 16000


def bursts(seconds: float = 2.0, share: float = 0.5, level: float = 0.1, seed: int = 0) -> np.ndarray:
    """Noise that is there for a share of each half second: like speech, with pauses of digital silence."""
    noise = np.random.default_rng(seed).normal(0, level, (1, round(seconds * RATE_HZ))).astype(np.float32)
    at = np.arange(noise.shape[1]) % (RATE_HZ // 2)
    return noise * (at < share * RATE_HZ // 2)


def test_a_sine_of_full_scale_has_minus_three_db():
    sine = np.sin(np.arange(RATE_HZ) * 2 * np.pi * 440 / RATE_HZ)[np.newaxis].astype(np.float32)
    assert levels.db(levels.power(sine)) == pytest.approx(-3.01, abs=0.01)


@given(st.floats(0.2, 1.0))
@settings(max_examples=20)
def test_pauses_do_not_lower_the_active_level(share):
    assert levels.db(levels.active_power(bursts(share=share), RATE_HZ)) == pytest.approx(-20, abs=1)


@given(st.floats(-20, 30), st.floats(0.001, 0.5), st.floats(0.2, 1.0))
@settings(max_examples=30)
def test_the_gain_for_a_ratio_gives_that_ratio(wanted_db, level, share):
    voice, noise = bursts(share=share, seed=1), bursts(share=1.0, level=level, seed=2)
    gain = levels.gain_for_ratio(voice, noise, wanted_db, RATE_HZ)
    assert levels.ratio_db(voice, noise * np.float32(gain), RATE_HZ) == pytest.approx(wanted_db, abs=0.01)


def test_silence_has_no_active_frame_and_no_gain():
    silence = np.zeros((1, RATE_HZ), np.float32)
    assert not levels.active_frames(silence, RATE_HZ).any()
    assert levels.active_power(silence, RATE_HZ) == 0
    assert levels.gain_for_ratio(bursts(), silence, 0, RATE_HZ) == 0
    assert levels.ratio_db(silence, silence, RATE_HZ) == 200
    assert np.array_equal(levels.at_level(silence, -20, RATE_HZ), silence)


@given(st.floats(-60, -10))
@settings(max_examples=20)
def test_at_level_sets_the_active_level(level_db):
    assert levels.db(levels.active_power(levels.at_level(bursts(), level_db, RATE_HZ), RATE_HZ)) == pytest.approx(
        level_db, abs=0.01
    )


def test_the_joint_gain_limits_the_loudest_and_lifts_nothing():
    loud, soft = 3 * bursts(level=0.5), bursts(level=0.01)
    gain = levels.joint_gain([loud, soft])
    assert 0.98 < np.abs(loud * gain).max() <= 0.99
    assert levels.joint_gain([soft]) == 1


def test_sixteen_bits_come_back_within_half_a_step():
    audio = np.random.default_rng(0).uniform(-1, 1, (2, 1000)).astype(np.float32)
    assert np.abs(levels.from_int16(levels.to_int16(audio)) - audio).max() <= 0.51 / 32767


@pytest.mark.parametrize("sample", [1.01, -2.0, np.nan, np.inf])
def test_sixteen_bits_refuse_what_they_cannot_hold(sample):
    with pytest.raises(ValueError, match="limit it"):
        levels.to_int16(np.array([[0.0, sample]], np.float32))


def test_gains_do_not_depend_on_the_last_bit():
    assert levels.round_gain(0.123456789) == levels.round_gain(np.nextafter(0.123456789, 1))
