"""What the pipelines say of themselves to Prometheus, through Ray: each node shows it at /metrics, with `ray_` before the name.

A metric must be in METRICS to be exported, so that dashboards and alerts can be held to what there is. Without a connected
Ray in this process nothing happens, and Ray is not imported for it.

    metrics.count("quarkline_examples_total", 64, verb="simulate", task="sr")
    metrics.put("quarkline_train_loss", 3.2, run="lm-tiny-0123456789ab", name="loss")
    metrics.observe("quarkline_checkpoint_seconds", 1.7, run="lm-tiny-0123456789ab", outcome="saved")
"""

import functools
import logging
import math
import sys
from dataclasses import dataclass
from typing import Any, Literal

logger = logging.getLogger(__name__)

PREFIX = "ray_"  # Ray's, of every name that it exports
STEP_BOUNDARIES_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SAVE_BOUNDARIES_S = (0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)


@dataclass(frozen=True)
class Metric:
    """One metric: a counter only grows, a gauge is put, a histogram observes single durations."""

    kind: Literal["counter", "gauge", "histogram"]
    description: str
    tags: tuple[str, ...]
    boundaries: tuple[float, ...] = ()


METRICS = {
    "quarkline_examples_total": Metric("counter", "Examples in shards that are committed.", ("verb", "task")),
    "quarkline_audio_seconds_total": Metric("counter", "Seconds of audio in them.", ("verb", "task")),
    "quarkline_shards_total": Metric("counter", "Shards by state: committed or failed.", ("verb", "task", "state")),
    "quarkline_rejects_total": Metric("counter", "Draws that were thrown away, by reason.", ("verb", "task", "reason")),
    "quarkline_train_running": Metric("gauge", "1 while a process takes training steps, 0 when it has ended.", ("run",)),
    "quarkline_train_step": Metric("gauge", "The last step of a training run.", ("run",)),
    "quarkline_train_loss": Metric("gauge", "Losses of the last step; valid/...: on held-out data.", ("run", "name")),
    "quarkline_train_tokens_per_second": Metric("gauge", "Target tokens of all ranks a second.", ("run",)),
    "quarkline_train_mfu": Metric("gauge", "Share of the devices' peak that was of use, 0 to 1.", ("run",)),
    "quarkline_train_skipped_steps_total": Metric("counter", "Steps with something not finite; they change nothing.", ("run",)),
    "quarkline_train_step_seconds": Metric("histogram", "Seconds of a step, waiting included.", ("run",), STEP_BOUNDARIES_S),
    "quarkline_train_wait_seconds_total": Metric("counter", "Seconds that rank 0 has waited for data.", ("run",)),
    "quarkline_checkpoint_seconds": Metric(
        "histogram", "Seconds of a checkpoint, by outcome: saved or failed.", ("run", "outcome"), SAVE_BOUNDARIES_S
    ),
    "quarkline_evaluated_clips_total": Metric("counter", "Clips judged, by state: scored or failed.", ("task", "state")),
    "quarkline_retrain_decisions_total": Metric("counter", "Decisions: promoted or kept out.", ("decision",)),
    "quarkline_retrain_step_seconds": Metric(
        "histogram", "Seconds of each step of retraining.", ("step",), (1.0, 60.0, 600.0, 3600.0, 14400.0, 86400.0)
    ),
}


def count(name: str, amount: float = 1.0, /, **tags: str) -> None:
    """Add to a counter; nothing is added for 0."""
    if amount > 0 and (metric := _metric(name, "counter", tags)):
        metric.inc(amount, tags)


def put(name: str, value: float, /, **tags: str) -> None:
    """Set a gauge; what is not finite is left out."""
    if math.isfinite(value) and (metric := _metric(name, "gauge", tags)):
        metric.set(value, tags)


def observe(name: str, value: float, /, **tags: str) -> None:
    """Add one value to a histogram."""
    if math.isfinite(value) and (metric := _metric(name, "histogram", tags)):
        metric.observe(value, tags)


def _metric(name: str, kind: str, tags: dict[str, str]) -> Any:
    """Ray's metric, None where no Ray is connected. A name or a tag that is not in METRICS is our own mistake."""
    assert METRICS[name].kind == kind and set(tags) == set(METRICS[name].tags), (name, kind, sorted(tags))
    ray = sys.modules.get("ray")
    return _registered(name) if ray is not None and ray.is_initialized() else None


@functools.cache
def _registered(name: str) -> Any:
    from ray.util.metrics import Counter, Gauge, Histogram  # here, because without Ray nothing is exported

    metric = METRICS[name]
    if metric.kind == "histogram":
        return Histogram(name, metric.description, list(metric.boundaries), metric.tags)
    return {"counter": Counter, "gauge": Gauge}[metric.kind](name, metric.description, metric.tags)
