"""What an evaluation says in the mean: aggregates with intervals, paired differences, codebooks, speed; and as text."""

import collections
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from infra.config import to_json
from pipelines.codec_measures import CodeCounts
from pipelines.codec_report import described
from pipelines.codec_table import columns, number
from pipelines.evaluation_page import Published
from pipelines.published_figures import beside
from training.metrics.clip_table import (
    INPUT,
    METRIC,
    ORACLE,
    REASON,
    SLICE,
    SYSTEMS,
    ClipRow,
    Evaluation,
)
from training.metrics.confidence import Mean, mean
from training.metrics.task_metrics import SETS, TaskMetric

FEWEST = 2  # clips that a slice must have to be shown
PAIRED = ("a", "b")


def rows_of(found: Iterable[Mapping[str, Any]]) -> list[ClipRow]:
    return [ClipRow(**row) for part in found for row in part["rows"]]


def systems(models: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """What evaluation.json says of the systems."""
    found = {name: {"kind": "model", "about": "the model", "place": place} for name, place in models.items()}
    for name, about in SYSTEMS.items():
        found[name] = {"kind": "baseline" if name == INPUT else "oracle", "about": about, "place": ""}
    for name in models:
        found[f"{ORACLE}-{name}"] = {"kind": "oracle", "about": f"{SYSTEMS[ORACLE]}: that of {name}", "place": ""}
    return found


def summary(
    clips: pa.Table, found: Sequence[Mapping[str, Any]], metrics: Mapping[str, TaskMetric], seed: int
) -> dict[str, Any]:
    """Of the table and the committed parts."""
    frame = clips.to_pandas()
    system_s, audio_s, metric_s = (_summed(part[name] for part in found) for name in ("system_s", "audio_s", "metric_s"))
    return {
        "metrics": {name: described(one.metric) | {"why_not": one.why_not()} for name, one in metrics.items()},
        "aggregates": aggregates(frame, seed),
        "differences": differences(frame, metrics, seed),
        "codebooks": _codebooks(found),
        "real_time_factor": {name: round(system_s[name] / audio_s[name], 6) for name in system_s if audio_s[name]},
        "seconds": {
            "total": round(sum(system_s.values()) + sum(metric_s.values()), 3),
            "systems": {name: round(value, 3) for name, value in system_s.items()},
            "metrics": {name: round(value, 3) for name, value in metric_s.items()},
            "audio": {name: round(value, 3) for name, value in audio_s.items()},
        },
    }


def _summed(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = collections.defaultdict(float)
    for part in parts:
        for name, value in part.items():
            total[name] += value
    return dict(sorted(total.items()))


def _codebooks(found: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """How the codes of the targets are spread, by oracle."""
    counts: dict[str, CodeCounts] = collections.defaultdict(CodeCounts)
    for part in found:
        for name, state in part["codes"].items():
            counts[name].join(state)
    return {name: [to_json(line) for line in one.usage()] for name, one in sorted(counts.items())}


def aggregates(frame: pd.DataFrame, seed: int) -> list[dict[str, Any]]:
    """A line for each system, task, slice and metric of the task."""
    found = []
    for (task, system), of_system in frame.groupby(["task", "system"], sort=True):
        groups = [("", "", of_system)]
        for name in (column for column in frame if column.startswith(SLICE)):
            parts = of_system.groupby(name, sort=True)
            groups += [(name, value, part) for value, part in parts if FEWEST <= len(part) < len(of_system)]
        for name, value, part in groups:
            for metric in _metrics(part, task):
                place = {"system": system, "task": task, "slice": name, "value": value, "metric": metric}
                found.append(place | _aggregate(part, metric, (seed, task)))
    return found


def _metrics(frame: pd.DataFrame, task: str) -> list[str]:
    """Those that the task has: a value or a reason for some clip."""
    names = [column.removeprefix(METRIC) for column in frame if column.startswith(METRIC)]
    standard = {one for of_task in SETS.values() for one in of_task}
    return [name for name in names if name in SETS[task] or name not in standard]


def _aggregate(frame: pd.DataFrame, metric: str, key: tuple[int, str]) -> dict[str, Any]:
    values = frame[METRIC + metric]
    there = values.notna()
    reasons = frame.loc[~there, REASON + metric].value_counts().sort_index().to_dict() if REASON + metric in frame else {}
    mean_ = mean(values[there].to_list(), frame.loc[there, "cluster"].to_list(), *key) if there.any() else None
    return _worded(mean_) | {"reasons": {str(reason): int(count) for reason, count in reasons.items()}}


def _worded(found: Mean | None) -> dict[str, Any]:
    if found is None:
        return {"mean": None, "low": None, "high": None, "num_clips": 0, "num_clusters": 0}
    return {
        "mean": found.value,
        "low": found.low,
        "high": found.high,
        "num_clips": found.num_clips,
        "num_clusters": found.num_clusters,
    }


def pairs(models: Sequence[str]) -> list[tuple[str, str]]:
    """Which systems are compared clip by clip: each model with the input, and later models with earlier ones."""
    return [(name, INPUT) for name in models] + [(b, a) for a, b in itertools.combinations(models, 2)]


def paired(frame: pd.DataFrame, a: str, b: str, task: str) -> pd.DataFrame:
    """Clips that both have, a row each: every column of a, and of b with "_b" behind it."""
    parts = [frame[(frame["system"] == name) & (frame["task"] == task)] for name in (a, b)]
    return parts[0].merge(parts[1], on=["task", "dataset", "key"], suffixes=("", "_b"))


def differences(frame: pd.DataFrame, metrics: Mapping[str, TaskMetric], seed: int) -> list[dict[str, Any]]:
    """Paired: what a is better by than b, in the metric's unit, its better way up."""
    models, found = [name for name in frame["system"].unique() if _is_model(name)], []
    for task in sorted(frame["task"].unique()):
        for a, b in pairs(models):
            both = paired(frame, a, b, task)
            for metric in _metrics(both.filter(regex="^(?!.*_b$)"), task) if len(both) else ():
                sign = 1 if metrics[metric].metric.better == "higher" else -1
                gains = sign * (both[METRIC + metric] - both[f"{METRIC}{metric}_b"])
                there = gains.notna()
                if there.any():
                    over = mean(gains[there].to_list(), both.loc[there, "cluster"].to_list(), seed, task)
                    found.append({"a": a, "b": b, "task": task, "metric": metric} | _worded(over))
    return found


def _is_model(name: str) -> bool:
    return name not in SYSTEMS and not name.startswith(f"{ORACLE}-")


def cell(found: Mapping[str, Any]) -> str:
    """`2.19 ±0.12`, or a dash."""
    if found["mean"] is None:
        return "-"
    half = "" if found["low"] is None else f" ±{number((found['high'] - found['low']) / 2)}"
    return number(found["mean"]) + half


def text(evaluation: Evaluation) -> str:
    """Tables for the terminal, a line a system."""
    about, lines = evaluation.description, []
    whole = {(row["task"], row["system"], row["metric"]): row for row in about["aggregates"] if not row["slice"]}
    for task in sorted({task for task, _, _ in whole}):
        present = {name for (of, _, name), row in whole.items() if of == task and row["mean"] is not None}
        names = [name for name in about["metrics"] if name in present]
        shown = [system for system in about["systems"] if any((task, system, name) in whole for name in names)]
        clips = max(row["num_clips"] for (of, _, _), row in whole.items() if of == task)
        lines += ["", f"{task}: {clips} clips; mean ± half the 95 % interval"]
        head = [f"{about['metrics'][name]['title']} {'↑' if evaluation.better(name) == 'higher' else '↓'}" for name in names]
        body = [[system, *(cell(whole.get((task, system, name), _NONE)) for name in names)] for system in shown]
        lines += columns([["", *head], *body])
        lines += _published(about, task, list(about["metrics"]))
    absent = [f"{one['title']}: {one['why_not']}" for one in about["metrics"].values() if one["why_not"]]
    speed = ", ".join(f"{name} {value:.3g}" for name, value in about["real_time_factor"].items())
    return "\n".join([*lines, "", f"seconds of work for a second of audio: {speed}", *absent])


def _published(about: Mapping[str, Any], task: str, metrics: Sequence[str]) -> list[str]:
    """Others' figures on the test sets of this task, a line each."""
    sets = sorted({one.get("set", "") for one in about.get("parents", {}).get("datasets", ()) if one["task"] == task})
    return [f"published, {name}: {one}" for name in sets for metric in metrics for one in beside(task, name, metric)]


def published(evaluation: Evaluation) -> dict[str, list[Published]]:
    """Others' figures on the same test sets, for the page, by task: a table for each set."""
    found: dict[str, list[Published]] = {}
    titles = {name: one["title"] for name, one in evaluation.description["metrics"].items()}
    places = {(one["task"], one.get("set", "")) for one in evaluation.description.get("parents", {}).get("datasets", ())}
    for task, name in sorted(places):
        figures = [one for metric in titles for one in beside(task, name, metric)]
        rows = [[one.system, titles[one.metric], f"{one.value:g}", one.differs] for one in figures]
        if rows:
            columns_ = ["system", "metric", "published", "what differs"]
            found.setdefault(task, []).append(Published(f"Published on {name}", "Not measured here.", columns_, rows))
    return found


_NONE = {"mean": None, "low": None, "high": None}
