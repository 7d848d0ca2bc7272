import numpy as np
import pytest
from scipy.signal import lfilter

from tests.training.real_speech import RATE_HZ
from training.metrics import si_sdr
from training.metrics.sdr import LIMIT_DB, score
from training.metrics.signals import Unscorable


def test_noise_at_a_known_level_has_that_ratio(speech, noise):
    loud = noise * np.sqrt(np.mean(speech**2) / np.mean(noise**2)) * 10 ** (-12 / 20)
    assert score(speech, speech + loud, RATE_HZ) == pytest.approx(12.0, abs=0.3)


def test_a_short_filter_is_forgiven_which_the_scale_invariant_ratio_does_not(speech):
    filtered = lfilter([1.0, 0.6, -0.3], [1.0], speech)
    assert score(speech, filtered, RATE_HZ) > 40 > 20 > si_sdr.score(speech, filtered, RATE_HZ)


def test_equal_signals_reach_the_limit_and_silence_has_no_value(speech):
    assert 60 < score(speech, speech, RATE_HZ) <= LIMIT_DB
    with pytest.raises(Unscorable, match="the estimate is silent"):
        score(speech, np.zeros_like(speech), RATE_HZ)
    with pytest.raises(Unscorable, match="taps"):
        score(speech[:500], speech[:500], RATE_HZ)
