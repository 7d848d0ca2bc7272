import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from infra import cluster, metrics

ROOT = Path(__file__).parents[2]


@functools.cache
def calls() -> dict[str, set[str]]:
    """Metric names in calls of count, put and observe in the whole code, and the files that make them."""
    found: dict[str, set[str]] = {}
    for room in ("infra", "training", "pipelines"):
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in metrics.METRICS:
                    found.setdefault(node.value, set()).add(path.relative_to(ROOT).as_posix())
    return {name: paths - {"infra/metrics.py"} for name, paths in found.items()}


def test_without_ray_nothing_happens_and_ray_is_not_imported():
    script = (
        "import sys; from infra import metrics; metrics.count('quarkline_examples_total', 3, verb='simulate', task='sr');"
        "metrics.put('quarkline_train_mfu', 0.4, run='r'); metrics.observe('quarkline_train_step_seconds', 1.0, run='r');"
        "sys.exit('ray' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode == 0


def test_an_unknown_name_or_tag_is_our_own_mistake():
    with pytest.raises(KeyError):
        metrics.count("quarkline_exmaples_total")
    with pytest.raises(AssertionError, match="quarkline_train_mfu"):
        metrics.put("quarkline_train_mfu", 0.4, task="sr")
    with pytest.raises(AssertionError, match="quarkline_train_mfu"):
        metrics.count("quarkline_train_mfu", 0.4, run="r")


def test_names_follow_the_rules_of_prometheus():
    for name, metric in metrics.METRICS.items():
        assert name.startswith("quarkline_")
        assert name.endswith("_total") == (metric.kind == "counter"), name
        assert bool(metric.boundaries) == (metric.kind == "histogram"), name
        assert list(metric.boundaries) == sorted(metric.boundaries), name


@pytest.mark.cluster
def test_every_kind_of_metric_can_be_said_where_ray_runs():
    cluster.start(1)
    try:
        metrics.count("quarkline_examples_total", 0, verb="simulate", task="sr")  # nothing, and no error of Ray's
        metrics.count("quarkline_examples_total", 3, verb="simulate", task="sr")
        metrics.put("quarkline_train_mfu", float("nan"), run="r")
        metrics.put("quarkline_train_mfu", 0.5, run="r")
        for name, metric in metrics.METRICS.items():
            if metric.kind == "histogram":
                metrics.observe(name, 1.5, **dict.fromkeys(metric.tags, "x"))
    finally:
        ray.shutdown()


def test_the_pipelines_that_are_there_say_what_they_do():
    found = calls()
    assert {"pipelines/shard_job.py", "pipelines/encode_job.py"} <= found["quarkline_examples_total"]
    assert "training/step_metrics.py" in found["quarkline_train_loss"]
