import numpy as np
import pytest

from tests.training.real_speech import RATE_HZ
from training.metrics.pesq_score import LONGEST_S, score_narrow, score_wide
from training.metrics.signals import Unscorable, at_rate

pesq = pytest.importorskip("pesq").pesq


def test_the_score_is_the_packages_own(speech, noise):
    estimate = speech + 0.01 * noise
    assert score_wide(speech, estimate, RATE_HZ) == pytest.approx(pesq(RATE_HZ, speech, estimate, "wb"), abs=1e-4)
    narrow = [at_rate(signal, RATE_HZ, 8000) for signal in (speech, estimate)]
    assert score_narrow(speech, estimate, RATE_HZ) == pytest.approx(pesq(8000, *narrow, "nb"), abs=1e-3)


def test_a_clip_without_an_utterance_has_no_score(speech):
    start = np.zeros(RATE_HZ, np.float32)
    start[:800] = speech[RATE_HZ : RATE_HZ + 800]
    with pytest.raises(Unscorable, match="No utterances detected"):
        score_wide(start, start, RATE_HZ)


def test_a_long_clip_is_the_mean_of_parts_that_are_safe(speech, noise):
    """The C code has room for 50 utterances: here are 100 in 50 s, 0.25 s of speech and as much of silence."""
    burst = np.concatenate([speech[RATE_HZ : RATE_HZ + RATE_HZ // 4], np.zeros(RATE_HZ // 4, np.float32)])
    reference = np.tile(burst, 100)
    estimate = reference + 0.01 * np.tile(noise, 10)
    num_parts = int(np.ceil(len(reference) / RATE_HZ / LONGEST_S))
    parts = [np.array_split(signal, num_parts) for signal in (reference, estimate)]
    wanted = np.mean([score_wide(*pair, RATE_HZ) for pair in zip(*parts)])
    assert num_parts == 3
    assert score_wide(reference, estimate, RATE_HZ) == pytest.approx(wanted)


def test_a_silent_part_of_a_long_clip_is_left_out(speech, noise):
    silence = np.zeros(25 * RATE_HZ, np.float32)
    reference = np.concatenate([speech, silence])
    estimate = np.concatenate([speech + 0.01 * noise, silence])
    half = len(reference) // 2
    assert score_wide(reference, estimate, RATE_HZ) == pytest.approx(score_wide(reference[:half], estimate[:half], RATE_HZ))
