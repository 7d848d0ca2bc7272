import pytest

from training.metrics import registry
from training.metrics.plug_in import PlugIn
from training.metrics.registry import CHEAP, METRICS, NO_WEIGHTS, Metric, choose


def zero(reference, estimate, sample_rate_hz) -> float:
    return 0.0


def opened():
    return zero


def test_what_has_no_weights_says_so_and_has_no_score():
    absent = {name: metric.why_not() for name, metric in METRICS.items() if metric.score is None}
    assert absent == dict.fromkeys(("utmos", "speaker_similarity", "wer"), NO_WEIGHTS)


def test_a_package_that_is_not_installed_is_named():
    metric = Metric("x", "X", zero, "higher", "", packages=("no_such_package",))
    assert metric.why_not() == "not run: no_such_package is not installed"
    assert metric.versions() == {}


def test_versions_are_those_of_what_runs():
    assert {"pesq", "pystoi", "speechmos", "onnxruntime"} >= set().union(*(metric.versions() for metric in METRICS.values()))
    for metric in METRICS.values():
        assert metric.why_not() or set(metric.versions()) == set(metric.packages)


def test_metrics_are_chosen_by_name_and_a_wrong_one_has_its_nearest():
    assert [metric.name for metric in choose(CHEAP)] == list(CHEAP)
    assert [metric.name for metric in choose()] == list(METRICS)
    with pytest.raises(ValueError, match="did you mean 'pesq_wb'"):
        choose(["pesq_bw"])


def test_a_plug_in_takes_the_place_of_what_has_no_weights():
    plug_in = PlugIn("utmos", f"{__name__}:opened")
    metric = next(metric for metric in choose(plug_ins=[plug_in]) if metric.name == "utmos")
    assert metric.why_not() == ""
    assert (metric.unit, metric.speech_only, metric.hears_reference) == ("MOS", True, False)
    assert metric.score(None, None, 16000) == 0.0
    assert registry.METRICS["utmos"].score is None


def test_a_plug_in_of_a_new_name_joins_the_others():
    metrics = choose(["my_score"], [PlugIn("my_score", f"{__name__}:opened")])
    assert [(metric.title, metric.better) for metric in metrics] == [("my score", "higher")]
