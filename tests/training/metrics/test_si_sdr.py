import fast_bss_eval
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.real_speech import RATE_HZ
from training.metrics.si_sdr import LIMIT_DB, score


@pytest.mark.parametrize("level", [0.001, 0.03, 1.0])
def test_the_ratio_is_that_of_fast_bss_eval(level, speech, noise):
    pair = [np.float64(signal)[None] for signal in (speech, speech + level * noise)]
    wanted = fast_bss_eval.si_sdr(*pair, zero_mean=True)[0]
    assert score(speech, speech + level * noise, RATE_HZ) == pytest.approx(wanted, abs=1e-4)


@given(gain=st.floats(1e-3, 1e3), offset=st.floats(-1, 1), sign=st.sampled_from([-1, 1]))
def test_gain_sign_and_offset_of_the_estimate_change_nothing(gain, offset, sign):
    rng = np.random.default_rng(1)
    reference = rng.standard_normal(800)
    estimate = reference + 0.1 * rng.standard_normal(800)
    assert score(reference, sign * gain * estimate + offset, RATE_HZ) == pytest.approx(
        score(reference, estimate, RATE_HZ), abs=1e-6
    )


def test_noise_of_a_known_level_has_that_ratio():
    reference, noise = np.array([1.0, -1, 1, -1] * 100), np.array([1.0, 1, -1, -1] * 100)  # orthogonal, both without mean
    assert score(reference, reference + 0.1 * noise, RATE_HZ) == pytest.approx(20.0)


def test_both_ends_are_finite():
    reference, other = np.array([1.0, -1, 1, -1] * 100), np.array([1.0, 1, -1, -1] * 100)
    assert score(reference, 0.5 * reference, RATE_HZ) == LIMIT_DB
    assert score(reference, other, RATE_HZ) == pytest.approx(-LIMIT_DB)
