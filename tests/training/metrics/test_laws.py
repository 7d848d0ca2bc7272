"""What holds for every metric that runs here."""

import numpy as np
import pytest

from tests.training.real_speech import RATE_HZ
from training.metrics.registry import METRICS
from training.metrics.signals import Unscorable, at_rate

RUNNING = [metric for metric in METRICS.values() if not metric.why_not()]
WITH_REFERENCE = [metric for metric in RUNNING if metric.hears_reference]
PERFECT = {"mel_distance": 0, "stft_distance": 0, "si_sdr": 100, "pesq_wb": 4.644, "pesq_nb": 4.549, "stoi": 1, "estoi": 1}


def name(metric) -> str:
    return metric.name


@pytest.mark.parametrize("metric", WITH_REFERENCE, ids=name)
def test_equal_signals_have_the_best_score_there_is(metric, speech):
    assert metric.score(speech, speech, RATE_HZ) == pytest.approx(PERFECT[metric.name], abs=1e-3)


@pytest.mark.parametrize("metric", RUNNING, ids=name)
def test_more_noise_scores_worse(metric, speech, noise):
    sign = 1 if metric.better == "higher" else -1
    scores = [sign * metric.score(speech, np.clip(speech + level * noise, -1, 1), RATE_HZ) for level in (0.01, 0.03, 0.1)]
    assert scores[0] > scores[1] > scores[2]


@pytest.mark.parametrize("metric", RUNNING, ids=name)
def test_a_score_is_the_same_each_time_and_leaves_its_signals_and_the_global_generator_alone(metric, speech, noise):
    estimate = speech + 0.01 * noise
    before, heard = np.random.get_state()[1].copy(), estimate.copy()
    assert metric.score(speech, estimate, RATE_HZ) == metric.score(speech, estimate, RATE_HZ)
    assert np.array_equal(np.random.get_state()[1], before)
    assert np.array_equal(estimate, heard)


@pytest.mark.parametrize("metric", [metric for metric in RUNNING if metric.speech_only], ids=name)
def test_another_sample_rate_changes_a_perceptual_score_little(metric, speech, noise):
    estimate = speech + 0.01 * noise
    tolerance = 0.2 if "dnsmos" in metric.name else 0.03  # DNSMOS hears the last hertz below 8 kHz that resampling takes
    high = [at_rate(signal, RATE_HZ, 48000) for signal in (speech, estimate)]
    assert metric.score(*high, 48000) == pytest.approx(metric.score(speech, estimate, RATE_HZ), abs=tolerance)


@pytest.mark.parametrize("metric", RUNNING, ids=name)
def test_a_broken_or_unequal_estimate_never_has_a_number(metric, speech):
    broken = speech.copy()
    broken[100] = np.nan
    with pytest.raises(Unscorable, match="not finite"):
        metric.score(speech, broken, RATE_HZ)
    with pytest.raises(ValueError, match="samples"):
        metric.score(speech, speech[:-1], RATE_HZ)


@pytest.mark.parametrize("metric", [metric for metric in RUNNING if "distance" not in metric.name], ids=name)
def test_silence_has_no_score(metric, speech):
    silence = np.zeros_like(speech)
    with pytest.raises(Unscorable, match="silent"):
        metric.score(speech, silence, RATE_HZ)
    if metric.hears_reference:
        with pytest.raises(Unscorable, match="reference is silent"):
            metric.score(silence, speech, RATE_HZ)


@pytest.mark.parametrize("metric", [metric for metric in RUNNING if metric.name != "si_sdr"], ids=name)
def test_a_clip_that_is_too_short_has_no_score(metric, speech):
    with pytest.raises(Unscorable):
        metric.score(speech[:250], speech[:250], RATE_HZ)
