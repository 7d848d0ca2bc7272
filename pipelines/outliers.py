"""Which examples of a dataset to hear first: those furthest from the median of a label, then some at random."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from simulation.labels import RESIDUAL_LIMIT_DB, tolerance_of
from simulation.seeds import Rng

LEAST_VALUES = 5  # of a label, for a median to mean something
BOOKKEEPING = ("lag_samples", "stem_residual_db")  # an outlier among them is a fault, not a sound; the gate holds them


@dataclass(frozen=True)
class Reason:
    """What makes an example stand out: a label that misses its request, or lies furthest from the median."""

    label: str
    kind: Literal["miss", "lowest", "highest"]
    value: float  # measured; NaN where it was requested and not measured
    usual: float  # the request for a miss, the median otherwise


@dataclass(frozen=True)
class Choice:
    """An example to hear, by its row in the manifest, and why; without reasons it was drawn at random."""

    row: int
    reasons: tuple[Reason, ...]


def labels_of(manifest: pa.Table) -> pd.DataFrame:
    """Numeric requested_* and measured_* columns and measured_duration_s, one row an example, NaN where there is no label."""
    names = [field.name for field in manifest.schema if _is_label(field)]
    frame = manifest.select(names).to_pandas().astype(float)
    frame["measured_duration_s"] = manifest["num_samples"].to_numpy() / manifest["sample_rate_hz"].to_numpy()
    return frame


def _is_label(field: pa.Field) -> bool:
    numeric = pa.types.is_floating(field.type) or pa.types.is_integer(field.type) or pa.types.is_boolean(field.type)
    return field.name.startswith(("requested_", "measured_")) and numeric


def label_names(labels: pd.DataFrame) -> list[str]:
    """The labels that some example has, requested or measured, in the order of the manifest."""
    return list(dict.fromkeys(column.partition("_")[2] for column in labels if labels[column].notna().any()))


def misses(labels: pd.DataFrame, name: str) -> np.ndarray:
    """How far each measured label lies from its request, in tolerances: `(examples,)`, 0 where it is held or not asked for."""
    tolerance, wanted, found = tolerance_of(name), values_of(labels, f"requested_{name}"), values_of(labels, f"measured_{name}")
    if name == "stem_residual_db":
        return np.where(found > RESIDUAL_LIMIT_DB, found - RESIDUAL_LIMIT_DB, 0.0)
    if not tolerance:
        return np.where(~np.isnan(wanted) & np.isnan(found), np.inf, 0.0)
    allowed, off = tolerance.absolute + tolerance.relative * np.abs(wanted), np.abs(found - wanted)
    times = np.where(off > allowed, off / np.maximum(allowed, 1e-9), 0.0)
    return np.where(np.isnan(wanted), 0.0, np.where(np.isnan(found), np.inf, times))


def values_of(labels: pd.DataFrame, column: str) -> np.ndarray:
    """`(examples,)`, NaN throughout for a column that is not there."""
    return labels[column].to_numpy() if column in labels else np.full(len(labels), np.nan)


def num_outliers(count: int) -> int:
    """How many of `count` examples are outliers."""
    return -(-2 * count // 3)


def choose(manifest: pa.Table, count: int, rng: Rng) -> list[Choice]:
    """About two thirds outliers, the worst first, each for another label; the rest drawn at random from what is left."""
    reasons: dict[int, list[Reason]] = {}
    for row, reason in _extremes(labels_of(manifest)):
        if row in reasons or len(reasons) < num_outliers(count):
            reasons.setdefault(row, []).append(reason)
    left = np.setdiff1d(np.arange(manifest.num_rows), list(reasons))
    drawn = rng("listen").choice(left, min(count - len(reasons), len(left)), replace=False)
    return [Choice(row, tuple(why)) for row, why in reasons.items()] + [Choice(row, ()) for row in sorted(drawn.tolist())]


def _extremes(labels: pd.DataFrame) -> list[tuple[int, Reason]]:
    """For each label the row that misses its request by most and the row furthest from the median; the strangest first."""
    found = []
    for name in label_names(labels):
        times, values = misses(labels, name), values_of(labels, f"measured_{name}")
        worst = int(np.argmax(times))
        if times[worst]:
            wanted = RESIDUAL_LIMIT_DB if name == "stem_residual_db" else float(values_of(labels, f"requested_{name}")[worst])
            found.append((np.inf, worst, Reason(name, "miss", float(values[worst]), wanted)))
        if name not in BOOKKEEPING:
            found += _extreme(name, values)
    return [(row, reason) for _, row, reason in sorted(found, key=lambda entry: -entry[0])]


def _extreme(name: str, values: np.ndarray) -> list[tuple[float, int, Reason]]:
    present = values[~np.isnan(values)]
    if len(present) < LEAST_VALUES or present.min() == present.max():
        return []
    distance = np.nan_to_num(deviation(values), nan=-1.0)
    row, median = int(np.argmax(distance)), float(np.median(present))
    value = float(values[row])
    return [(float(distance[row]), row, Reason(name, "highest" if value > median else "lowest", value, median))]


def deviation(values: np.ndarray) -> np.ndarray:
    """Distance from the median in robust standard deviations, NaN kept (the modified z-score of Iglewicz and Hoaglin, 1993).

    Where more than half of the values are the same, the mean deviation takes the place of the median one.
    """
    away = np.abs(values - np.nanmedian(values))
    spread = 1.4826 * np.nanmedian(away) or 1.2533 * np.nanmean(away)
    return away / spread if spread else away
