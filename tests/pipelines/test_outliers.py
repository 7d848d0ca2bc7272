import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipelines.outliers import Reason, choose, deviation, label_names, labels_of, misses
from simulation.seeds import Rng


def manifest(**columns) -> pa.Table:
    rows = len(next(iter(columns.values())))
    keys = [f"sr-s0-{n:08d}" for n in range(rows)]
    return pa.table({"key": keys, "num_samples": [16000] * rows, "sample_rate_hz": [16000] * rows} | columns)


SNR_DB = [4.0, 5.0, 6.0, 5.5, 4.5, -30.0, 5.2, 4.8, 5.1, 4.9, 5.3, 4.7]
RT60_S = [0.3, 0.31, 0.29, None, 0.3, None, 0.32, 2.0, 0.3, 0.28, 0.3, 0.31]


def test_the_furthest_from_the_median_of_each_label_come_first_and_say_why():
    chosen = choose(manifest(measured_snr_db=SNR_DB, measured_rt60_s=RT60_S), 6, Rng(0, "d", 0))
    assert [choice.row for choice in chosen[:2]] == [7, 5]
    assert chosen[0].reasons == (Reason("rt60_s", "highest", 2.0, 0.3),)
    assert chosen[1].reasons == (Reason("snr_db", "lowest", -30.0, pytest.approx(4.95)),)
    assert [choice.reasons for choice in chosen[2:]] == [()] * 4
    assert len({choice.row for choice in chosen}) == 6


def test_a_missed_request_comes_before_everything():
    asked = [4.0, 5.0, 6.3, *SNR_DB[3:]]
    table = manifest(requested_snr_db=asked, measured_snr_db=SNR_DB, measured_rt60_s=RT60_S)
    first = choose(table, 3, Rng(0, "d", 0))[0]
    assert (first.row, first.reasons[0]) == (2, Reason("snr_db", "miss", 6.0, 6.3))


def test_an_example_that_stands_out_twice_is_shown_once():
    table = manifest(measured_snr_db=SNR_DB, measured_level_db=SNR_DB)
    first = choose(table, 3, Rng(0, "d", 0))[0]
    assert first.row == 5
    assert [reason.label for reason in first.reasons] == ["snr_db", "level_db"]


def test_random_examples_are_keyed_and_never_more_than_there_are():
    table = manifest(measured_snr_db=SNR_DB)
    assert choose(table, 4, Rng(0, "d", 0)) == choose(table, 4, Rng(0, "d", 0))
    assert len({tuple(choice.row for choice in choose(table, 4, Rng(seed, "d", 0))) for seed in range(5)}) > 1
    assert sorted(choice.row for choice in choose(table, 100, Rng(0, "d", 0))) == list(range(12))


def test_misses_are_what_the_gate_calls_so():
    labels = pd.DataFrame({"requested_snr_db": [1.0, 1.0, 1.0, np.nan], "measured_snr_db": [1.05, 1.2, np.nan, 9.0]})
    assert misses(labels, "snr_db").tolist() == [0.0, pytest.approx(2.0), np.inf, 0.0]
    assert misses(pd.DataFrame({"measured_stem_residual_db": [-200.0, -20.0]}), "stem_residual_db").tolist() == [0.0, 40.0]
    assert misses(pd.DataFrame({"requested_lag_samples": [0.0], "measured_lag_samples": [1.0]}), "lag_samples")[0] > 1


def test_labels_are_the_numbers_that_some_example_has():
    labels = labels_of(manifest(measured_snr_db=[1.0, 2.0], measured_rt60_s=[None, None], text_caption=["a", "b"]))
    assert label_names(labels) == ["snr_db", "duration_s"]
    assert labels["measured_duration_s"].tolist() == [1.0, 1.0]


def test_where_most_values_are_equal_the_others_still_deviate_and_finitely():
    away = deviation(np.array([0.0, 0.0, 0.0, 0.0, 1.0, np.nan]))
    assert away[4] > 3
    assert np.isnan(away[5])
    assert deviation(np.zeros(4)).tolist() == [0.0] * 4
