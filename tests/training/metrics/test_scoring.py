import itertools
import pickle

import numpy as np
import pytest

from tests.training.real_speech import RATE_HZ
from training.metrics.plug_in import PlugIn
from training.metrics.registry import CHEAP, Metric, choose
from training.metrics.scoring import Pair, Score, mean_scores, score_pair, score_pairs


def not_a_number(reference, estimate, sample_rate_hz) -> float:
    return float("nan")


def test_a_metric_without_a_value_gives_the_reason_and_never_a_number(speech):
    metrics = choose(("stoi", "si_sdr", "utmos"))
    found = score_pair(Pair(speech, np.zeros_like(speech), RATE_HZ), metrics)
    silent = Score(None, "the estimate is silent")
    assert found == {"si_sdr": silent, "stoi": silent, "utmos": Score(None, "not run: no weights")}
    odd = Metric("odd", "odd", not_a_number, "higher", "")
    assert score_pair(Pair(speech, speech, RATE_HZ), [odd])["odd"] == Score(None, "the metric's answer is nan")


def test_what_is_made_for_speech_is_run_on_nothing_else(speech):
    found = score_pair(Pair(speech, speech, RATE_HZ, "music"), choose(("stoi", "mel_distance")))
    assert found == {"mel_distance": Score(0.0), "stoi": Score(None, "made for speech")}


def test_of_an_original_only_what_hears_no_reference_is_run(speech):
    found = score_pair(Pair(speech, speech, RATE_HZ, is_original=True), choose(("stoi", "dnsmos_ovrl")))
    assert found["stoi"] == Score(None, "is the reference itself")
    assert found["dnsmos_ovrl"].value > 1


def test_a_pair_of_unequal_length_stops_the_scoring(speech):
    with pytest.raises(ValueError, match="cut or align"):
        list(score_pairs([Pair(speech, speech[:-5], RATE_HZ)], choose(("si_sdr",))))


def test_processes_give_what_this_one_gives_in_the_same_order_and_hold_few_pairs(speech, noise):
    metrics, taken = choose(("si_sdr", "pesq_wb", "stoi")), itertools.count()

    def pairs():
        for n in range(7):
            next(taken)
            yield Pair(speech[:32000], speech[:32000] + 0.001 * 3**n * noise[:32000], RATE_HZ)

    here = list(score_pairs(pairs(), metrics))
    taken = itertools.count()
    stream = score_pairs(pairs(), metrics, 2)
    first = next(stream)
    assert next(taken) <= 4
    assert [first, *stream] == here
    assert len({score["si_sdr"].value for score in here}) == 7


def test_every_metric_can_be_sent_to_a_process():
    metrics = choose(plug_ins=[PlugIn("mine", "tests.training.metrics.test_registry:opened")])
    assert pickle.loads(pickle.dumps(metrics)) == metrics


def test_validation_is_the_mean_over_the_clips_that_have_a_value(speech, noise):
    noisy = Pair(speech, speech + 0.01 * noise, RATE_HZ)
    found = mean_scores([noisy, Pair(speech, np.zeros_like(speech), RATE_HZ), Pair(noise, noise, RATE_HZ, "event")])
    alone = {name: score.value for name, score in score_pair(noisy, choose(CHEAP)).items()}
    assert found["stoi"] == alone["stoi"]
    assert found["si_sdr"] == pytest.approx((alone["si_sdr"] + 100) / 2)
    assert set(mean_scores([Pair(noise, noise, RATE_HZ, "music")])) == {"mel_distance", "stft_distance", "si_sdr"}
