import numpy as np
import pytest

from training.metrics.confidence import mean


def test_the_interval_holds_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        offsets = np.repeat(rng.standard_normal(40), 5)  # 40 speakers of 5 clips, alike within a speaker
        values = 3 + offsets + 0.3 * rng.standard_normal(200)
        found = mean(values, [f"s{n // 5}" for n in range(200)], trial)
        hits += found.low <= 3 <= found.high
    assert 0.88 < hits / 200 < 0.99


def test_clips_of_one_speaker_tell_less_than_as_many_of_different_ones():
    values = np.repeat([1.0, 2.0, 3.0, 4.0], 10)
    together = mean(values, [f"s{n // 10}" for n in range(40)], 0)
    apart = mean(values, [f"s{n}" for n in range(40)], 0)
    assert together.value == apart.value == 2.5
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_the_same_key_gives_the_same_interval_and_another_another():
    values, names = list(range(20)), [f"s{n}" for n in range(20)]
    assert mean(values, names, 0, "speech") == mean(values, names, 0, "speech")
    assert mean(values, names, 0, "speech") != mean(values, names, 1, "speech")


def test_a_speaker_with_more_clips_weighs_more():
    found = mean([1.0] * 9 + [5.0], ["a"] * 9 + ["b"], 0)
    assert found.value == pytest.approx(1.4)
    assert (found.low, found.high) == (1.0, 5.0)
    assert (found.num_clips, found.num_clusters) == (10, 2)


def test_one_speaker_has_no_interval():
    found = mean([1.0, 2.0], ["a", "a"], 0)
    assert (found.value, found.low, found.high) == (1.5, None, None)
