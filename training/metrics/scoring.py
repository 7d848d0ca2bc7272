"""Clips through metrics: each pair of waves gives a value, or the reason why there is none, for each metric."""

import collections
import math
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from training.metrics.registry import CHEAP, METRICS, Metric
from training.metrics.signals import Unscorable

SPEECH = "speech"


@dataclass(frozen=True)
class Pair:
    """A reference and what a system made of it: mono `(samples,)` float of equal length, full scale +-1."""

    reference: np.ndarray
    estimate: np.ndarray
    sample_rate_hz: int
    domain: str = SPEECH  # metrics made for speech are run on no other
    is_original: bool = False  # the estimate is the reference itself: run what hears no reference


@dataclass(frozen=True)
class Score:
    """A metric's value for one clip; None with the reason."""

    value: float | None
    reason: str = ""


def score_pair(pair: Pair, metrics: Sequence[Metric]) -> dict[str, Score]:
    """Scores by the metrics' names. ValueError for waves of unequal length, more than one channel or no sample rate."""
    return {metric.name: _score(pair, metric) for metric in metrics}


def _score(pair: Pair, metric: Metric) -> Score:
    refusal = metric.why_not() or _unasked(pair, metric)
    if refusal:
        return Score(None, refusal)
    try:
        value = float(metric.score(pair.reference, pair.estimate, pair.sample_rate_hz))
    except Unscorable as error:
        return Score(None, str(error))
    return Score(value) if math.isfinite(value) else Score(None, f"the metric's answer is {value}")


def _unasked(pair: Pair, metric: Metric) -> str:
    if metric.speech_only and pair.domain != SPEECH:
        return "made for speech"
    return "is the reference itself" if metric.hears_reference and pair.is_original else ""


def score_pairs(pairs: Iterable[Pair], metrics: Sequence[Metric], num_processes: int = 0) -> Iterator[dict[str, Score]]:
    """`score_pair` of each, in order, in so many processes; 0 works in this one. Holds two pairs a process at most.

    Processes, because PESQ and STOI hold the interpreter's lock, and PESQ's C code has global variables. They are spawned, as a
    process with threads cannot be forked safely: the main module should import its heavy packages inside functions.
    """
    score = partial(score_pair, metrics=list(metrics))
    if not num_processes:
        yield from map(score, pairs)
        return
    waiting: collections.deque[Future] = collections.deque()
    with ProcessPoolExecutor(num_processes, multiprocessing.get_context("spawn")) as pool:
        try:
            for pair in pairs:
                waiting.append(pool.submit(score, pair))
                if len(waiting) == 2 * num_processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def mean_scores(pairs: Iterable[Pair], names: Sequence[str] = CHEAP) -> dict[str, float]:
    """Means over the clips that have a value, for validation while training; a metric without any is left out."""
    metrics = [METRICS[name] for name in names]
    values: dict[str, list[float]] = {name: [] for name in names}
    for scores in score_pairs(pairs, metrics):
        for name, score in scores.items():
            values[name] += [] if score.value is None else [score.value]
    return {name: float(np.mean(found)) for name, found in values.items() if found}
