from pipelines import evaluation_summary
from pipelines.evaluation_cases import KNOWN
from pipelines.published_figures import FIGURES, beside
from training.metrics.clip_table import ClipRow, Evaluation, table
from training.metrics.task_metrics import choose_all


def test_a_figure_is_found_by_task_set_and_metric():
    codecs = {one.system: one.value for one in beside("codec", "LibriSpeech test-clean", "pesq_wb")}
    assert codecs["H-Codec-1.0 (2000 bps)"] == 2.99
    assert [one.value for one in beside("sr", "DNS2020 with_reverb", "dnsmos_ovrl")] == [3.41]
    assert beside("sr", "DNS2020 no_reverb", "dnsmos_ovrl") == []


def test_every_figure_is_of_a_known_task_and_metric_and_says_what_differs():
    metrics = choose_all()
    for one in FIGURES:
        assert one.task in KNOWN
        assert one.metric in metrics
        assert one.differs
    places = [(one.system, one.task, one.test_set, one.metric) for one in FIGURES]
    assert len(set(places)) == len(places)


def test_published_figures_stand_below_our_table():
    rows = [ClipRow("oracle", "sr", "d", str(n), "c", 1.0, {}, {"dnsmos_ovrl": 3.0}, {}) for n in range(2)]
    line = {"system": "oracle", "task": "sr", "slice": "", "value": "", "metric": "dnsmos_ovrl"}
    about = {
        "aggregates": [line | {"mean": 3.0, "low": None, "high": None, "num_clips": 2, "num_clusters": 1, "reasons": {}}],
        "metrics": {"dnsmos_ovrl": {"title": "OVRL", "better": "higher", "why_not": ""}},
        "systems": {"oracle": {}},
        "real_time_factor": {},
        "parents": {"datasets": [{"task": "sr", "set": "DNS2020 with_reverb"}]},
    }
    assert "published, DNS2020 with_reverb: UniSE dnsmos_ovrl 3.41" in evaluation_summary.text(Evaluation(about, table(rows)))
