import numpy as np
import pytest

from tests.training.real_speech import RATE_HZ
from training.metrics.plcmos import log_power, score
from training.metrics.signals import Unscorable

package = pytest.importorskip("speechmos.plcmos")


def test_the_spectrum_is_the_packages_own(speech):
    theirs = package.PLCMOS().stft_transform(speech[:20001].astype(np.float64))
    np.testing.assert_allclose(log_power(speech[:20001].astype(np.float64)), theirs, atol=1e-9)


def test_lost_packets_rate_lower_and_twice_is_the_same(speech):
    gaps = speech.copy()
    for start in range(0, len(gaps), 3200):
        gaps[start : start + 960] = 0
    whole, lost = score(speech, speech, RATE_HZ), score(speech, gaps, RATE_HZ)
    assert 1 < lost < whole < 5
    assert score(gaps, gaps, RATE_HZ) == lost  # the reference is not heard, and the raters are always the same


def test_the_rating_is_near_that_of_the_package_whose_raters_are_drawn(speech):
    np.random.seed(0)
    assert score(speech, speech, RATE_HZ) == pytest.approx(package.run(speech, RATE_HZ)["plcmos"], abs=0.3)


def test_under_a_second_has_no_score(speech):
    with pytest.raises(Unscorable, match="shorter than 1 s"):
        score(speech[:15000], speech[:15000], RATE_HZ)
