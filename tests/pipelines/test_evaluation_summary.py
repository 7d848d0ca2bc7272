import json

from infra.storage import open_store
from pipelines import evaluation_summary
from training.metrics.clip_table import ClipRow, table, write
from training.metrics.task_metrics import choose_all

METRICS = choose_all(("si_sdr", "mel_distance", "utmos"))


def row(system: str, number: int, value: float) -> dict:
    band = "0 to 5 dB" if number < 3 else "5 dB and more"
    scores = {"si_sdr": value, "mel_distance": 10 - value, "utmos": None}
    made = ClipRow(system, "sr", "d", f"k{number}", f"s{number % 4}", 1.0, {"snr_db": band}, scores, {"utmos": "not run"})
    return {name: getattr(made, name) for name in made.__dataclass_fields__}


def part() -> dict:
    rows = [row("input", number, number) for number in range(8)] + [row("model", number, number + 2) for number in range(8)]
    return {
        "rows": rows,
        "system_s": {"model": 4.0},
        "audio_s": {"model": 8.0},
        "metric_s": {"si_sdr": 0.1},
        "codes": {},
    }


def summary() -> dict:
    clips = table(evaluation_summary.rows_of([part()]))
    return evaluation_summary.summary(clips, [part()], METRICS, 0)


def aggregate(system: str, metric: str, value: str = "") -> dict:
    (found,) = [
        one for one in summary()["aggregates"] if (one["system"], one["metric"], one["value"]) == (system, metric, value)
    ]
    return found


def test_means_have_intervals_that_hold_them_and_say_of_how_many():
    found = aggregate("model", "si_sdr")
    assert found["mean"] == 5.5 and found["low"] < 5.5 < found["high"]
    assert (found["num_clips"], found["num_clusters"]) == (8, 4)


def test_slices_are_the_means_of_their_clips():
    assert aggregate("input", "si_sdr", "0 to 5 dB")["mean"] == 1.0
    assert aggregate("input", "si_sdr", "5 dB and more")["mean"] == 5.0


def test_what_did_not_run_is_no_number():
    found = aggregate("model", "utmos")
    assert found["mean"] is None and found["num_clips"] == 0 and found["reasons"] == {"not run": 8}


def test_differences_are_paired_and_above_0_where_the_model_is_better():
    found = {one["metric"]: one for one in summary()["differences"]}
    for metric in ("si_sdr", "mel_distance"):
        assert (found[metric]["a"], found[metric]["b"], found[metric]["mean"]) == ("model", "input", 2.0)
        assert abs(found[metric]["high"] - found[metric]["low"]) < 1e-9  # every clip gains the same


def test_models_are_compared_with_the_input_and_among_each_other():
    assert evaluation_summary.pairs(["x", "y"]) == [("x", "input"), ("y", "input"), ("y", "x")]


def test_the_text_names_systems_metrics_directions_and_what_did_not_run(tmp_path):
    clips = table(evaluation_summary.rows_of([part()]))
    about = {"systems": evaluation_summary.systems({"model": "/m"}), "parents": {}} | summary()
    said = evaluation_summary.text(write(open_store(str(tmp_path)), clips, json.loads(json.dumps(about))))
    assert "sr: 8 clips" in said and "SI-SDR ↑" in said and "mel distance ↓" in said
    assert "UTMOS: not run: no weights" in said and "model 0.5" in said


def test_published_figures_stand_beside_those_of_the_same_set_only(tmp_path):
    clips = table(evaluation_summary.rows_of([part()]))
    metrics = {name: {"title": name.upper(), "better": "higher"} for name in ("dnsmos_ovrl", "si_sdr")}
    sets = [{"task": "sr", "set": "DNS2020 with_reverb"}, {"task": "sr", "set": "mine"}, {"task": "tse", "set": "mine"}]
    found = evaluation_summary.published(
        write(open_store(str(tmp_path)), clips, {"parents": {"datasets": sets}, "metrics": metrics})
    )
    (shown,) = found["sr"]
    assert set(found) == {"sr"} and shown.title == "Published on DNS2020 with_reverb"
    assert shown.rows[0][:3] == ["UniSE", "DNSMOS_OVRL", "3.41"] and shown.rows[0][3]
