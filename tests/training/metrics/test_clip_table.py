"""The contract between evaluation and promotion: what is written is read back, in one order, and damage is found."""

import random

import pytest

from infra.storage import open_store
from training.metrics import clip_table
from training.metrics.clip_table import CLIPS, DESCRIPTION, ClipRow, read, table, write

ABOUT = {"parents": {"models": {"model": {"id": "m"}}}, "metrics": {"si_sdr": {"better": "higher"}, "wer": {"better": "lower"}}}


def rows(count: int = 3) -> list[ClipRow]:
    made = []
    for number in range(count):
        for system in ("input", "model"):
            slices = {"snr_db": "0 to 5"} if number else {}
            metrics = {"si_sdr": float(number), "wer": None}
            made.append(ClipRow(system, "sr", "d", f"k{number}", f"s{number}", 1.5, slices, metrics, {"wer": "no transcript"}))
    return made


def test_what_is_written_is_read_back(tmp_path):
    store = open_store(str(tmp_path))
    made = write(store, table(rows()), ABOUT)
    found = read(store)
    assert found.clips.equals(made.clips) and found.id == made.id and found.description["parents"] == ABOUT["parents"]
    assert found.clips.column_names == [
        *clip_table.FIRST,
        "slice.snr_db",
        "metric.si_sdr",
        "metric.wer",
        "reason.wer",
    ]
    assert found.clips["metric.wer"].null_count == 6 and found.clips["slice.snr_db"].null_count == 2
    assert clip_table.metric_names(found.clips) == ["si_sdr", "wer"] and clip_table.slice_names(found.clips) == ["snr_db"]
    assert (found.better("si_sdr"), found.better("wer")) == ("higher", "lower")


def test_the_bytes_do_not_depend_on_the_order_of_rows(tmp_path):
    shuffled = rows()
    random.Random(0).shuffle(shuffled)
    first, second = (open_store(str(tmp_path / name)) for name in "ab")
    assert write(first, table(rows()), ABOUT).id == write(second, table(shuffled), ABOUT).id
    assert first.get(CLIPS) == second.get(CLIPS)


def test_other_parents_are_another_evaluation(tmp_path):
    store = open_store(str(tmp_path))
    assert write(store, table(rows()), ABOUT).id != write(store, table(rows()), ABOUT | {"parents": {}}).id


def test_what_is_missing_or_damaged_is_named(tmp_path):
    store = open_store(str(tmp_path))
    with pytest.raises(ValueError, match=r"no evaluation\.json here"):
        read(store)
    write(store, table(rows()), ABOUT)
    store.put(CLIPS, store.get(CLIPS)[:-1])
    with pytest.raises(ValueError, match="changed or truncated"):
        read(store)
    store.delete(CLIPS)
    with pytest.raises(ValueError, match=r"clips\.parquet is missing"):
        read(store)
    store.put(DESCRIPTION, b"{")
    with pytest.raises(ValueError, match=r"evaluation\.json"):
        read(store)


def test_a_metric_that_is_not_there_is_named(tmp_path):
    found = write(open_store(str(tmp_path)), table(rows()), ABOUT)
    with pytest.raises(ValueError, match=r"no metric 'x'"):
        found.better("x")
