"""Whether a candidate takes the champion's place: a paired bootstrap over clips, pure; the tables are those of an evaluation.

Three kinds of rules, all of which must hold:

- *It must be better* at something: of each task one metric (`better`), its mean gain above `gain`. With `needed="any"` one task
  is enough, and because the best of several draws looks good by chance, the p-values are compared with Holm's limits (Holm,
  1979). With "all" each task must be better by itself: then chance works against the candidate, and no correction is due.
- *It must not be worse* anywhere: for each limit, of each task and each value of each slice, the mean loss must be shown to lie
  below a margin (non-inferiority, one-sided). All of them must hold, so that a candidate that is worse than the margin in any
  one place passes with probability `alpha` at most, however many places there are: an intersection-union test (Berger, 1982)
  needs no correction. The price is paid in power: choose margins that the number of clips can resolve; the report shows what
  each place could resolve. A slice of fewer than `min_clips` clips is not judged, and listed; a task of fewer is a refusal.
- *It must be sound*: no clip without a value where the champion has one, codebooks in use, speed within a limit.

Clips of one cluster (speaker, recording) are alike, and drawn together. Draws are keyed: the same tables, the same decision.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from training.keys import generator
from training.metrics.clip_table import METRIC, SLICE

BETTER, NOT_WORSE, SOUND = "better", "not worse", "sound"
PASSED, FAILED, NOT_JUDGED = "passed", "failed", "not judged"
PAIRED = ["task", "dataset", "key"]
CHUNK = 500  # resamples at a time: bounds memory


@dataclass(frozen=True)
class Better:
    """The metric that a task must be better by."""

    metric: str
    gain: float = 0.0
    """The mean must be better by more than this."""
    task: str = ""
    """Of this task; every task that has no line of its own if empty."""


@dataclass(frozen=True)
class Limit:
    """A metric that must not be worse by more than a margin, on every task and slice."""

    metric: str
    margin: float
    tasks: tuple[str, ...] = ()
    """Only of these tasks; of all that have the metric if empty."""

    def __post_init__(self) -> None:
        if not self.margin > 0:
            raise ValueError(f"gate: margin of {self.metric} is {self.margin}: give more than 0, in the metric's unit")


@dataclass(frozen=True)
class GateConfig:
    """What a candidate must show."""

    better: tuple[Better, ...] = (Better("si_sdr"),)
    needed: Literal["any", "all"] = "any"
    """Whether one of the tasks must be better, or each."""
    limits: tuple[Limit, ...] = (Limit("si_sdr", 0.5), Limit("mel_distance", 0.1), Limit("estoi", 0.02))
    slices: tuple[str, ...] = ()
    """Slices to look at; all that the evaluation has if empty."""
    alpha: float = 0.05
    """Probability of an error of either kind that is put up with."""
    min_clips: int = 30
    """Fewer clips than this say nothing of a slice."""
    min_clusters: int = 5
    """Nor do fewer speakers or recordings; the bootstrap is too sure of itself under about ten."""
    num_resamples: int = 4000
    seed: int = 0
    max_slowdown: float = 1.25
    """The candidate's seconds of work for a second of audio, relative to the champion's."""
    max_real_time_factor: float | None = None
    """And in themselves."""
    min_code_share: float = 0.1
    """Share of each codebook's codes that the candidate must have used, if the champion did: fewer is a collapse."""
    min_perplexity_share: float = 0.5
    """Perplexity of each codebook, relative to the champion's; less is wanted of a smaller codebook of another codec."""
    max_missing: int = 0
    """Clips that may have no value where the champion has one."""

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 0.5 or self.num_resamples < 20 / self.alpha:
            given = f"alpha {self.alpha}, num-resamples {self.num_resamples}"
            raise ValueError(f"gate: {given}: give an alpha above 0 and below 0.5, and 20 / alpha resamples or more")
        if self.min_clips < 2 or self.min_clusters < 2:
            raise ValueError(f"gate: min-clips {self.min_clips}, min-clusters {self.min_clusters}: give 2 or more")


@dataclass(frozen=True)
class Check:
    """One rule, applied."""

    kind: str
    what: str
    """Of which task, slice and metric."""
    outcome: str
    detail: str
    task: str = ""
    slice: str = ""
    metric: str = ""
    num_clips: int = 0
    num_clusters: int = 0
    difference: float | None = None
    """Mean of candidate over champion, paired; above 0 the candidate is better."""
    bound: float | None = None
    """The difference is at least this, with confidence 1 - alpha, one-sided."""
    wanted: float | None = None
    """What the bound must exceed: the gain, or minus the margin."""
    p: float | None = None
    p_limit: float | None = None


@dataclass(frozen=True)
class Decision:
    """What is decided and why."""

    promote: bool
    reasons: tuple[str, ...]
    """For a refusal, all of them; for a promotion what became better."""
    checks: tuple[Check, ...] = field(default=())


@dataclass(frozen=True)
class Facts:
    """What an evaluation says beside its clips; names as in evaluation.json, systems are "champion" and "candidate"."""

    directions: Mapping[str, str]
    """Of each metric, "higher" or "lower"."""
    codebooks: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    real_time_factor: Mapping[str, float] = field(default_factory=dict)


def decide(champion: pd.DataFrame, candidate: pd.DataFrame, facts: Facts, config: GateConfig) -> Decision:
    """Compare two systems' rows of clips.parquet. ValueError if they are not of the same clips, or a rule names no metric."""
    pairs = paired(champion, candidate)
    names = {rule.metric for rule in (*config.better, *config.limits)}
    unknown = sorted(name for name in names if METRIC + name not in pairs["champion"] or name not in facts.directions)
    if unknown:
        there = ", ".join(sorted(facts.directions))
        raise ValueError(f"gate: no metric {unknown[0]!r} in the evaluation; there are {there}")
    checks = [*better(pairs, facts, config), *not_worse(pairs, facts, config), *sound(pairs, facts, config)]
    return _decision(checks, config)


def first(candidate: pd.DataFrame, facts: Facts, config: GateConfig) -> Decision:
    """Whether a candidate may be the first champion: there is nothing to compare with, so it must only be sound."""
    named = sorted({METRIC + rule.metric for rule in config.better if METRIC + rule.metric in candidate})
    has_value = np.isfinite(candidate[named].astype(float)).any(axis=1)
    judged = candidate["task"].isin(candidate.loc[has_value, "task"])  # other tasks have no such metric
    lost = int((judged & ~has_value).sum())
    passed = PASSED if has_value.any() and lost <= config.max_missing else FAILED
    detail = f"{int(has_value.sum())} clips have a value of what will have to be better, {lost} of these tasks have none"
    checks = [Check(SOUND, "values", passed, detail), *sound({"champion": candidate, "candidate": candidate}, facts, config)]
    failed = tuple(f"{check.what}: {check.detail}" for check in checks if check.outcome == FAILED)
    return Decision(not failed, failed or ("the first champion: sound, with nothing to compare it with",), tuple(checks))


def paired(champion: pd.DataFrame, candidate: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The two tables with equal rows in equal order. ValueError if they are of different clips, or a clip is there twice."""
    found = {}
    for name, rows in (("champion", champion), ("candidate", candidate)):
        found[name] = rows.set_index(PAIRED).sort_index()
        if found[name].index.has_duplicates:
            twice = found[name].index[found[name].index.duplicated()][0]
            raise ValueError(f"gate: the {name} has the clip {' '.join(map(str, twice))} twice")
    odd = found["champion"].index.symmetric_difference(found["candidate"].index)
    if len(odd):
        text = " ".join(map(str, odd[0]))
        raise ValueError(f"gate: {len(odd)} clips were given to one of the two models only, such as {text}")
    return {name: rows.reset_index() for name, rows in found.items()}


def better(pairs: dict[str, pd.DataFrame], facts: Facts, config: GateConfig) -> list[Check]:
    """One check a task."""
    found = []
    for task in sorted(pairs["champion"]["task"].unique()):
        rule = next((rule for rule in config.better if rule.task == task), None)
        rule = rule or next((rule for rule in config.better if not rule.task), None)
        if rule is not None:
            rows = pairs["champion"]["task"] == task
            found.append(_compare(BETTER, (task, "", rule.metric), _gains(pairs, facts, rule.metric)[rows], rule.gain, config))
    return _holm(found, config.alpha) if config.needed == "any" else found


def not_worse(pairs: dict[str, pd.DataFrame], facts: Facts, config: GateConfig) -> list[Check]:
    """One check for each limit, task and value of a slice."""
    champion, found = pairs["champion"], []
    slices = config.slices or tuple(name.removeprefix(SLICE) for name in champion if name.startswith(SLICE))
    for limit in config.limits:
        gains = _gains(pairs, facts, limit.metric)
        for task, rows in champion.groupby("task"):
            if limit.tasks and task not in limit.tasks:
                continue
            of_task = gains.loc[rows.index]
            if not of_task["gain"].notna().any() and not limit.tasks:
                continue  # a metric that does not apply to the task; a rule that names the task wants it
            found.append(_compare(NOT_WORSE, (task, "", limit.metric), of_task, -limit.margin, config))
            for name in slices:
                column = SLICE + name
                for value, part in rows.groupby(column) if column in rows else ():
                    where = (task, f"{name}={value}", limit.metric)
                    found.append(_compare(NOT_WORSE, where, gains.loc[part.index], -limit.margin, config))
    return found


def sound(pairs: dict[str, pd.DataFrame], facts: Facts, config: GateConfig) -> list[Check]:
    """Values that are missing or not finite, codebooks that have collapsed, speed."""
    return [_missing(pairs, config), *_codebooks(facts, config), *_speed(facts, config)]


def _gains(pairs: dict[str, pd.DataFrame], facts: Facts, metric: str) -> pd.DataFrame:
    """`gain` of the candidate over the champion, clip by clip, above 0 where it is better; NaN where one has no value."""
    sign = 1.0 if facts.directions[metric] == "higher" else -1.0
    values = {name: rows[METRIC + metric].astype(float).replace([np.inf, -np.inf], np.nan) for name, rows in pairs.items()}
    return pd.DataFrame({"gain": sign * (values["candidate"] - values["champion"]), "cluster": pairs["champion"]["cluster"]})


def _compare(kind: str, where: tuple[str, str, str], gains: pd.DataFrame, wanted: float, config: GateConfig) -> Check:
    task, part, metric = where
    gains = gains.dropna(subset="gain")
    what = " ".join(word for word in (task, part, metric) if word)
    about: dict[str, Any] = {"task": task, "slice": part, "metric": metric, "num_clips": len(gains), "wanted": wanted}
    clusters = gains["cluster"].nunique()
    if len(gains) < config.min_clips or clusters < config.min_clusters:
        outcome = NOT_JUDGED if part else FAILED
        few = f"{len(gains)} clips of {clusters} clusters are too few: {config.min_clips} of {config.min_clusters} are wanted"
        return Check(kind, what, outcome, few, num_clusters=clusters, **about)
    means = resampled(gains, config.num_resamples, (config.seed, "gate", metric, task, part))
    p = float((1 + np.count_nonzero(means <= wanted)) / (1 + len(means)))
    difference, bound = float(gains["gain"].mean()), float(np.quantile(means, config.alpha))
    outcome = PASSED if p < config.alpha else FAILED
    detail = f"{difference:+.4g}, at least {bound:+.4g}; wanted is more than {wanted:+.4g}"
    judged = {"difference": difference, "bound": bound, "p": p, "p_limit": config.alpha, "num_clusters": clusters}
    return Check(kind, what, outcome, detail, **about, **judged)


def resampled(gains: pd.DataFrame, num_resamples: int, key: tuple[str | int, ...]) -> np.ndarray:
    """Means of `gain` over clusters drawn with replacement, (num_resamples,)."""
    names, member = np.unique(gains["cluster"].astype(str).to_numpy(), return_inverse=True)
    sums, counts = np.bincount(member, gains["gain"].to_numpy()), np.bincount(member)
    rng, means = generator(*key), []
    for start in range(0, num_resamples, CHUNK):
        drawn = rng.integers(len(names), size=(min(CHUNK, num_resamples - start), len(names)))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    return np.concatenate(means)


def _holm(checks: list[Check], alpha: float) -> list[Check]:
    """Holm's step-down limits: the smallest p against alpha / m, the next against alpha / (m - 1), until one fails."""
    judged = sorted((check for check in checks if check.p is not None), key=lambda check: check.p)
    passes, limits = True, {}
    for rank, check in enumerate(judged):
        limit = alpha / (len(judged) - rank)
        passes = passes and check.p < limit
        limits[check.what] = (PASSED if passes else FAILED, limit)
    return [
        check
        if check.p is None
        else Check(**vars(check) | {"outcome": limits[check.what][0], "p_limit": limits[check.what][1]})
        for check in checks
    ]


def _missing(pairs: dict[str, pd.DataFrame], config: GateConfig) -> Check:
    there = {
        name: np.isfinite(rows[[column for column in rows if column.startswith(METRIC)]].astype(float))
        for name, rows in pairs.items()
    }
    lost = (there["champion"] & ~there["candidate"]).any(axis=1)
    values = int(there["candidate"].to_numpy().sum())
    passed = int(lost.sum()) <= config.max_missing and values > 0
    detail = f"{int(lost.sum())} clips have no value where the champion has one, {config.max_missing} may"
    if lost.any():
        clip = pairs["candidate"].loc[lost.idxmax()]
        reasons = [str(clip[name]) for name in pairs["candidate"] if name.startswith("reason.") and clip[name]]
        detail += f": {clip['task']} {clip['key']}" + (f" ({reasons[0]})" if reasons else "")
    return Check(SOUND, "outputs", PASSED if passed else FAILED, detail if values else "no clip has any value")


def _codebooks(facts: Facts, config: GateConfig) -> list[Check]:
    """Each codebook of the candidate against the floor, and against the champion's where it has the same one."""
    champion = {(row["stream"], row["layer"]): row for row in facts.codebooks.get("champion", ())}
    found = []
    for row in facts.codebooks.get("candidate", ()):
        was = champion.get((row["stream"], row["layer"]), {})
        least_share = min(config.min_code_share, was.get("share", 1.0))
        least = config.min_perplexity_share * was.get("perplexity", 0.0) * _smaller(row, was)
        passed = row["share"] >= least_share and row["perplexity"] >= least and row["perplexity"] > 1
        text = f"{row['share']:.1%} of the codes, perplexity {row['perplexity']:.4g}"
        detail = f"{text}; wanted are {least_share:.1%} and {max(least, 1):.4g}"
        found.append(Check(SOUND, f"codebook {row['stream']} {row['layer']}", PASSED if passed else FAILED, detail))
    return found


def _smaller(row: Mapping[str, Any], was: Mapping[str, Any]) -> float:
    """Size of a codebook over that of the one before, 1 at most: a smaller one cannot have the perplexity of a large one."""
    size, size_before = row.get("codebook_size", 0), was.get("codebook_size", 0)
    return min(1.0, size / size_before) if size and size_before else 1.0


def _speed(facts: Facts, config: GateConfig) -> list[Check]:
    now, was = facts.real_time_factor.get("candidate"), facts.real_time_factor.get("champion")
    if now is None:
        return [Check(SOUND, "speed", NOT_JUDGED, "the evaluation has no real_time_factor")]
    limits = [limit for limit in (was and was * config.max_slowdown, config.max_real_time_factor) if limit]
    limit = min(limits, default=float("inf"))
    detail = f"{now:.3g} s for a second of audio, at most {limit:.3g}"
    return [Check(SOUND, "speed", PASSED if now <= limit else FAILED, detail)]


def _decision(checks: list[Check], config: GateConfig) -> Decision:
    gains = [check for check in checks if check.kind == BETTER]
    reasons = [f"{check.what}: {check.detail}" for check in checks if check.kind != BETTER and check.outcome == FAILED]
    won = [check for check in gains if check.outcome == PASSED]
    if not gains:
        reasons.insert(0, "no rule says what must be better")
    elif len(won) < (1 if config.needed == "any" else len(gains)):
        which = "no task is" if config.needed == "any" else "not all tasks are"
        text = "; ".join(f"{check.what}: {check.detail}" for check in gains if check.outcome != PASSED)
        reasons.insert(0, f"{which} better: {text}")
    if reasons:
        return Decision(False, tuple(reasons), tuple(checks))
    return Decision(True, tuple(f"better: {check.what}: {check.detail}" for check in won), tuple(checks))
