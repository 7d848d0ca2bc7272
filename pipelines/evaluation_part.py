"""Some examples of one shard through every system and metric: the rows of them all. No Ray in here."""

import collections
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from infra.config import to_json
from pipelines.evaluation_cases import Case
from pipelines.evaluation_systems import Made, Systems
from training.metrics.clip_table import TARGET, ClipRow
from training.metrics.scoring import Score
from training.metrics.task_metrics import Heard, TaskMetric, of_task, score


@dataclass
class Part:
    """What was found for some examples, as it is committed."""

    rows: list[dict[str, Any]] = field(default_factory=list)  # ClipRow
    system_s: dict[str, float] = field(default_factory=lambda: collections.defaultdict(float))
    audio_s: dict[str, float] = field(default_factory=lambda: collections.defaultdict(float))  # of what each system made
    metric_s: dict[str, float] = field(default_factory=lambda: collections.defaultdict(float))
    codes: dict[str, dict[str, Any]] = field(default_factory=dict)  # states of CodeCounts, by oracle

    def to_json(self) -> dict[str, Any]:
        return {name: dict(value) if isinstance(value, dict) else value for name, value in vars(self).items()}


def judge(systems: Systems, metrics: Mapping[str, TaskMetric], cases: Sequence[Case]) -> Part:
    """Every system and metric of each case."""
    part, counts = Part(), systems.counts()
    for case in cases:
        chosen = of_task(case.task, dict(metrics))
        for made in systems.make(case, counts):
            scores = _scores(case, made, chosen, part.metric_s)
            part.rows.append(to_json(_row(case, made, scores)))
            if made.waves:
                part.system_s[made.system] += made.seconds
                part.audio_s[made.system] += len(made.waves[0]) / case.sample_rate_hz
    part.codes = {name: one.state() for name, one in counts.items() if one.state()["counts"]}
    return part


def _scores(case: Case, made: Made, metrics: Sequence[TaskMetric], seconds: dict[str, float]) -> dict[str, Score]:
    """By metric, the mean over the targets that have a value."""
    if not made.waves:
        return {metric.name: Score(None, made.reason) for metric in metrics}
    found: dict[str, list[Score]] = {metric.name: [] for metric in metrics}
    for number, wave in enumerate(made.waves):
        for name, one, took_s in score(_heard(case, made, wave, number), metrics):
            found[name].append(one)
            seconds[name] += took_s
    return {name: _mean(scores) for name, scores in found.items()}


def _heard(case: Case, made: Made, wave: np.ndarray, number: int) -> Heard:
    return Heard(
        estimate=wave,
        sample_rate_hz=case.sample_rate_hz,
        reference=case.targets[number] if case.targets else None,
        input=case.input,
        loopback=case.reference if case.task == "aec" else None,
        text=case.described,
        transcript=case.transcripts[number],
        domain=case.domain,
        is_original=made.system == TARGET,
    )


def _mean(scores: Sequence[Score]) -> Score:
    values = [one.value for one in scores if one.value is not None]
    return Score(float(np.mean(values))) if values else scores[0]


def _row(case: Case, made: Made, scores: Mapping[str, Score]) -> ClipRow:
    heard = made.waves or case.targets or ((case.input,) if case.input is not None else ())
    return ClipRow(
        made.system,
        case.task,
        case.dataset,
        case.key,
        case.cluster,
        round(len(heard[0]) / case.sample_rate_hz, 6) if heard else 0.0,
        dict(case.slices),
        {name: one.value for name, one in scores.items()},
        {name: one.reason for name, one in scores.items() if one.value is None},
    )
