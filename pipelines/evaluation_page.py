"""The page of an evaluation: what it shows, as data, and the HTML by the template evaluation_report.html. No audio in here."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from pipelines.codec_table import number
from pipelines.listen_page import Role
from pipelines.page import html
from pipelines.pictures import strip_svg
from training.metrics.clip_table import INPUT, MASK, METRIC, ORACLE, REASON, TARGET, Evaluation
from training.metrics.task_metrics import SETS

PAGE = "report.html"
NONE: dict[str, Any] = {"mean": None, "low": None, "high": None, "num_clips": 0, "reasons": {}}
WORDED = {"snr_db": "SNR", "sir_db": "SIR", "ser_db": "SER", "rt60_s": "RT60", "duration_s": "duration"}


@dataclass(frozen=True)
class Chart:
    """One metric over all clips: a row for each system, on one axis."""

    metric: str
    rows: list[tuple[str, str]]  # system, SVG
    ends: tuple[float, float]


@dataclass(frozen=True)
class Player:
    """One signal of an example, with what the table says of its system."""

    role: Role
    said: str


@dataclass(frozen=True)
class Example:
    """An example to listen to."""

    key: str
    dataset: str
    why: str
    texts: dict[str, str]
    players: list[Player]
    failed: dict[str, str]  # reasons, by system


@dataclass(frozen=True)
class Published:
    """Figures of others for one task."""

    title: str
    note: str
    columns: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Section:
    """All of one task."""

    task: str
    num_clips: int
    metrics: list[str]  # that have a value
    systems: list[str]
    cells: dict[tuple[str, str], dict[str, Any]]  # aggregates by system and metric
    absent: dict[str, str]  # why, by metric
    differences: dict[tuple[str, str], dict[str, dict[str, Any]]]  # by systems, then by metric
    slices: dict[str, list[tuple[str, str, dict[str, dict[str, Any]]]]]  # by slice: (value, system, aggregates by metric)
    charts: list[Chart]
    failures: list[tuple[str, str, str]]  # system, key, reason
    examples: list[Example] = field(default_factory=list)
    published: list[Published] = field(default_factory=list)

    def cell(self, system: str, metric: str) -> dict[str, Any]:
        return self.cells.get((system, metric), NONE)

    def best(self, metric: str, models: Sequence[str], better: str) -> str:
        """The model with the best mean; "" where there are not several."""
        means = {name: self.cell(name, metric)["mean"] for name in models}
        means = {name: value for name, value in means.items() if value is not None}
        choice = max if better == "higher" else min
        return choice(means, key=means.get) if len(means) > 1 else ""


def models_of(evaluation: Evaluation) -> list[str]:
    """In the order in which differences compare them: later ones with earlier ones."""
    return sorted(name for name, one in evaluation.description["systems"].items() if one["kind"] == "model")


def ranked(systems: Sequence[str], models: Sequence[str]) -> list[str]:
    """Models first, then what stands beside them."""
    place = {name: number for number, name in enumerate((*models, INPUT, ORACLE, MASK))}
    return sorted(systems, key=lambda name: (name == TARGET, place.get(name, len(models) + 1), name))


def metrics_of(evaluation: Evaluation, task: str) -> list[str]:
    """Those of a task: the set's own, then plug-ins."""
    standard = {one for of_task in SETS.values() for one in of_task}
    there = evaluation.description["metrics"]
    return [name for name in SETS.get(task, ()) if name in there] + [name for name in sorted(there) if name not in standard]


def sections(evaluation: Evaluation) -> list[Section]:
    """A section for each task of the table."""
    frame = evaluation.clips.to_pandas()
    return [_section(evaluation, frame[frame["task"] == task], task) for task in sorted(frame["task"].unique())]


def _section(evaluation: Evaluation, frame: pd.DataFrame, task: str) -> Section:
    about = evaluation.description
    lines = [row for row in about["aggregates"] if row["task"] == task]
    cells = {(row["system"], row["metric"]): row for row in lines if not row["slice"]}
    names = metrics_of(evaluation, task)
    shown = [name for name in names if any(row["mean"] is not None for (_, metric), row in cells.items() if metric == name)]
    models = models_of(evaluation)
    systems = ranked(frame["system"].unique().tolist(), models)
    scored = [
        name for name in systems if name in models or any(cells.get((name, one), NONE)["mean"] is not None for one in shown)
    ]
    absent = {name: _why(cells, name, about["metrics"][name]["why_not"]) for name in names if name not in shown}
    differences: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in about["differences"]:
        if row["task"] == task and row["metric"] in shown:
            differences.setdefault((row["a"], row["b"]), {})[row["metric"]] = row
    charts = [chart for name in shown if (chart := _chart(frame, name, scored, cells))]
    num_clips = len(frame[["dataset", "key"]].drop_duplicates())
    slices = _slices(lines, models_of(evaluation), shown)
    return Section(
        task, num_clips, shown, scored, cells, absent, differences, slices, charts, _failures(frame, models_of(evaluation))
    )


def _why(cells: Mapping[tuple[str, str], dict[str, Any]], metric: str, why_not: str) -> str:
    reasons = {reason for (_, name), row in cells.items() if name == metric for reason in row["reasons"] if reason}
    return why_not or "; ".join(sorted(reasons)) or "no value"


def _failures(frame: pd.DataFrame, models: Sequence[str]) -> list[tuple[str, str, str]]:
    """What a model made nothing of."""
    columns = [name for name in frame if name.startswith(REASON)]
    found = []
    for row in frame[frame["system"].isin(models)].to_dict("records"):
        reasons = [row[name] for name in columns if str(row[name]).startswith("failed: ")]
        found += [(row["system"], row["key"], reasons[0])] if reasons else []
    return found


def _slices(lines: Sequence[Mapping[str, Any]], models: Sequence[str], shown: Sequence[str]) -> dict[str, list]:
    """Of models and the input: their lines by slice, in the order of the slices' bands."""
    found: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    for row in lines:
        if row["slice"] and row["metric"] in shown and row["system"] in (*models, INPUT):
            of_slice = found.setdefault(row["slice"].removeprefix("slice."), {})
            of_slice.setdefault((row["value"], row["system"]), {})[row["metric"]] = row
    order = {name: place for place, name in enumerate((*models, INPUT))}
    return {
        _words(name): [
            (value, system, of_slice[value, system])
            for value, system in sorted(of_slice, key=lambda at: (band_order(at[0]), order[at[1]]))
        ]
        for name, of_slice in sorted(found.items())
    }


def band_order(value: str) -> tuple[bool, float, str]:
    """ "under 0 dB" before "0 to 5 dB" before "5 dB and more"; words after them, by the alphabet."""
    first = re.search(r"-?\d+(\.\d+)?", value)
    return (not value.startswith("under "), float(first[0]) if first else np.inf, value)


def _words(name: str) -> str:
    return WORDED.get(name, name.replace("_", " "))


def _chart(frame: pd.DataFrame, metric: str, systems: Sequence[str], cells: Mapping[tuple[str, str], Any]) -> Chart | None:
    values = {name: frame.loc[frame["system"] == name, METRIC + metric].dropna().to_numpy() for name in systems}
    values = {name: of_system for name, of_system in values.items() if len(of_system)}
    everything = np.concatenate(list(values.values()))
    ends = float(everything.min()), float(everything.max())
    if ends[0] == ends[1]:
        return None
    rows = []
    for name, of_system in values.items():
        row = cells.get((name, metric), NONE)
        middle = None if row["low"] is None else (row["mean"], row["low"], row["high"])
        rows.append((name, strip_svg(of_system, ends, middle)))
    return Chart(metric, rows, ends)


def verdict(row: Mapping[str, Any]) -> str:
    """Of a paired difference: "better" or "worse" where the interval excludes 0, or ""."""
    if row["low"] is None or row["high"] is None:
        return ""
    return "better" if row["low"] > 0 else "worse" if row["high"] < 0 else ""


def interval(row: Mapping[str, Any]) -> str:
    """`[2.31, 2.60]`, or nothing where there is none."""
    return "" if row["low"] is None else f"[{number(row['low'])}, {number(row['high'])}]"


def page(evaluation: Evaluation, shown: Sequence[Section]) -> str:
    """The whole HTML document; every text in it is escaped."""
    filters = {"number": number, "interval": interval, "verdict": verdict}
    about = evaluation.description
    settings = json.dumps(about["parents"]["settings"], indent=2, sort_keys=True)
    values = {"about": about, "sections": shown, "models": models_of(evaluation), "settings": settings}
    return html("evaluation_report.html", filters, **values)
