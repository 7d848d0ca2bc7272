from pipelines.evaluation_cases import KNOWN
from pipelines.published_figures import FIGURES, beside
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
