"""Confidence intervals of means by the bootstrap over clusters: clips of one speaker are alike, and drawn together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.keys import generator

NUM_RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Mean:
    """A mean over clips with its 95 % interval; low and high are None where there is only one cluster to draw from."""

    value: float
    low: float | None
    high: float | None
    num_clips: int
    num_clusters: int


def mean(values: Sequence[float], clusters: Sequence[str], *key: str | int) -> Mean:
    """The mean of `values`, clusters resampled with replacement (percentile bootstrap; Efron and Tibshirani, 1993, ch. 13).

    Equal keys and clusters are resampled alike, whatever the values. Under about ten clusters, intervals are too narrow.
    """
    values = np.asarray(values, np.float64)
    assert len(values) == len(clusters) > 0, (len(values), len(clusters))
    names, member = np.unique(np.asarray(clusters, str), return_inverse=True)
    if len(names) == 1:
        return Mean(float(values.mean()), None, None, len(values), 1)
    sums, counts = np.bincount(member, values), np.bincount(member)
    drawn = generator(*key, "bootstrap").integers(len(names), size=(NUM_RESAMPLES, len(names)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Mean(float(values.mean()), float(low), float(high), len(values), len(names))
