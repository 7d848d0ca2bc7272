import numpy as np
import pytest
from pystoi import stoi

from tests.training.real_speech import RATE_HZ
from training.metrics.signals import Unscorable
from training.metrics.stoi_score import score, score_extended


@pytest.mark.parametrize("level", [0.003, 0.03])
def test_the_score_is_the_packages_own(level, speech, noise):
    estimate = speech + level * noise
    assert score(speech, estimate, RATE_HZ) == pytest.approx(stoi(speech, estimate, RATE_HZ), abs=2e-3)
    assert score_extended(speech, estimate, RATE_HZ) == pytest.approx(stoi(speech, estimate, RATE_HZ, extended=True), abs=2e-3)


def test_too_little_speech_has_no_score_where_the_package_answers_a_hundred_thousandth(speech):
    little = np.zeros_like(speech)
    little[:4000] = speech[RATE_HZ : RATE_HZ + 4000]
    with pytest.warns(RuntimeWarning):
        assert stoi(little, little, RATE_HZ) == 1e-5
    with pytest.raises(Unscorable, match="30 frames"):
        score(little, little, RATE_HZ)


def test_noise_is_not_intelligible(speech, noise):
    assert score_extended(speech, noise, RATE_HZ) < 0.1
    assert score(speech, noise, RATE_HZ) < 0.5
