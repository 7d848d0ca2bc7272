import numpy as np
import pytest

from infra.storage import open_store
from pipelines.evaluation_summary import aggregates, differences, pairs, summary, systems, text
from training.metrics.clip_table import ClipRow, table, write
from training.metrics.task_metrics import choose_all

METRICS = choose_all(("si_sdr", "mel_distance", "wer"))


def clips(num: int = 8):
    """A model that is 2 dB above its input, but for a clip that failed; its distance is lower by 1."""
    rows = []
    for number in range(num):
        for system, gain in (("input", 0.0), ("model", 2.0)):
            failed = system == "model" and number == 0
            values = {"si_sdr": number + gain, "mel_distance": 3.0 - gain / 2, "wer": None}
            metrics = dict.fromkeys(values) if failed else values
            reasons = {name: "failed" if failed else "not run" for name, value in metrics.items() if value is None}
            slices = {"snr_db": "low" if number < 4 else "high"}
            rows.append(ClipRow(system, "sr", "d", f"k{number}", f"s{number}", 1.0, slices, metrics, reasons))
    return table(rows)


def test_means_are_those_of_the_clips_with_a_value_and_reasons_are_counted():
    lines = {(row["system"], row["value"], row["metric"]): row for row in aggregates(clips().to_pandas(), 0)}
    whole = lines["model", "", "si_sdr"]
    assert whole["mean"] == pytest.approx(np.mean(np.arange(1, 8) + 2)) and whole["num_clips"] == 7
    assert whole["low"] < whole["mean"] < whole["high"] and whole["reasons"] == {"failed": 1}
    assert lines["input", "high", "si_sdr"]["mean"] == 5.5 and lines["model", "low", "si_sdr"]["num_clips"] == 3
    assert lines["input", "", "wer"]["mean"] is None and lines["input", "", "wer"]["reasons"] == {"not run": 8}


def test_differences_are_paired_and_positive_where_a_is_better():
    found = {row["metric"]: row for row in differences(clips().to_pandas(), METRICS, 0)}
    assert found["si_sdr"]["mean"] == found["si_sdr"]["low"] == 2.0 and found["mel_distance"]["mean"] == 1.0
    assert found["si_sdr"]["num_clips"] == 7 and "wer" not in found
    assert pairs(["a", "b"]) == [("a", "input"), ("b", "input"), ("b", "a")]


def test_the_summary_is_told_in_a_table(tmp_path):
    parts = [
        {"system_s": {"model": 4.0}, "audio_s": {"model": 8.0}, "metric_s": {"si_sdr": 1.0}, "codes": {}},
        {"system_s": {"model": 2.0}, "audio_s": {"model": 4.0}, "metric_s": {"si_sdr": 1.0}, "codes": {}},
    ]
    about = {"parents": {}, "systems": systems({"model": "/somewhere"})} | summary(clips(), parts, METRICS, 0)
    assert about["real_time_factor"] == {"model": 0.5} and about["seconds"]["metrics"] == {"si_sdr": 2.0}
    said = text(write(open_store(str(tmp_path)), clips(), about))
    assert "sr: 8 clips" in said and "word errors: not run: no recogniser" in said and "SI-SDR ↑" in said
