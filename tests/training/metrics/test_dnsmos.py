import numpy as np
import pytest

from tests.training.real_speech import RATE_HZ
from training.metrics.dnsmos import score_background, score_overall, score_signal
from training.metrics.signals import Unscorable

package = pytest.importorskip("speechmos.dnsmos")


@pytest.mark.parametrize("seconds", [2, 5, 11])
def test_the_ratings_are_the_packages_own(seconds, speech):
    clip = np.resize(speech, seconds * RATE_HZ)
    wanted = package.run(clip, RATE_HZ)
    silence = np.zeros_like(clip)  # the reference is not heard
    assert score_signal(silence, clip, RATE_HZ) == pytest.approx(wanted["sig_mos"], abs=1e-4)
    assert score_background(silence, clip, RATE_HZ) == pytest.approx(wanted["bak_mos"], abs=1e-4)
    assert score_overall(silence, clip, RATE_HZ) == pytest.approx(wanted["ovrl_mos"], abs=1e-4)


def test_what_is_beyond_full_scale_is_heard_as_a_file_would_hold_it(speech):
    loud = 20 * speech
    assert score_overall(speech, loud, RATE_HZ) == score_overall(speech, np.clip(loud, -1, 1), RATE_HZ)


def test_under_a_second_has_no_score(speech):
    with pytest.raises(Unscorable, match="shorter than 1 s"):
        score_overall(speech[:15000], speech[:15000], RATE_HZ)
