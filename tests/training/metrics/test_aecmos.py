import numpy as np
import pytest

from tests.training.real_speech import RATE_HZ
from training.metrics.aecmos import rate, talk_type
from training.metrics.signals import Unscorable

package = pytest.importorskip("speechmos.aecmos")


@pytest.fixture(scope="module")
def scene():
    """What the loudspeaker plays, the microphone with its echo, and a near voice."""
    from tests.training.real_speech import five_seconds

    voice = five_seconds()[: 3 * RATE_HZ]
    far = np.roll(voice[::-1], 700).copy()
    return far, voice + 0.5 * far, voice


def test_the_ratings_are_the_packages_own(scene):
    far, microphone, voice = scene
    wanted = package.run({"lpb": far, "mic": np.clip(microphone, -1, 1), "enh": voice}, RATE_HZ, talk_type="dt")
    found = rate(far, microphone, voice, sample_rate_hz=RATE_HZ, talk="dt")
    assert found.echo == pytest.approx(wanted["echo_mos"], abs=1e-3)
    assert found.other == pytest.approx(wanted["deg_mos"], abs=1e-3)


def test_less_echo_rates_higher(scene):
    far, microphone, voice = scene
    ratings = [rate(far, microphone, one, sample_rate_hz=RATE_HZ, talk="dt").echo for one in (voice, microphone)]
    assert ratings[0] > ratings[1]


def test_who_talks_is_told_from_silence(scene):
    far, _, voice = scene
    silence = np.zeros_like(voice)
    assert [talk_type(*one) for one in ((voice, far), (silence, far), (voice, silence))] == ["dt", "st", "nst"]


def test_a_silent_microphone_has_no_score(scene):
    far, _, voice = scene
    with pytest.raises(Unscorable, match="microphone is silent"):
        rate(far, np.zeros_like(voice), voice, sample_rate_hz=RATE_HZ, talk="dt")
