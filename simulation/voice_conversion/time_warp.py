"""When the same words are said: one utterance aligned with another, and how well two signals keep time.

Dynamic time warping (Sakoe and Chiba, IEEE TASSP 26, 1978) on band levels without the speaker's long-term spectrum. Every
frame of the one finds its frame of the other; where the other starts and ends is left open.
"""

from dataclasses import dataclass

import numpy as np

from simulation.voice_conversion.timbre import HOP_S, Timbre

FASTEST = 4  # frames of the other passed in a frame of the one
UNIT = 10_000  # costs are whole numbers, for in silence many paths cost the same, and no CPU's last bit may choose
STEP_COSTS = (3500, 0, 1000, 3000, 5000)  # of passing 0, 1, ... frames; the mean distance between frames costs one UNIT
SMOOTH_FRAMES = 5
BAND_STEP = 4  # every fourth band: they overlap
FLOOR_DB = 45.0  # below the loudest: what is under it is background
LONGEST_LAG_S = 0.1
MARGIN = 1.1  # by which another lag must match better than none: a held vowel matches itself anywhere
NEAR_S = 0.1  # on both sides of a frame, that its lag is judged by


def path(one: Timbre, other: Timbre) -> np.ndarray:
    """For each frame of `one` the frame of `other` that says the same, smoothed, never going back: `(frames,)` float64."""
    a, b = _features(one), _features(other)
    distances = np.zeros((len(a), len(b)))
    for column in range(a.shape[1]):  # a matrix product rounds as the CPU likes
        distances += np.abs(a[:, column, np.newaxis] - b[:, column])
    distances = np.rint(distances * (UNIT / max(float(distances.mean()), 1e-9))).astype(np.int64)
    steps = np.empty(distances.shape, np.int8)
    reached = distances[0]
    for row in range(1, len(a)):
        options = np.full((FASTEST + 1, len(b)), np.iinfo(np.int64).max // 2)
        for step, cost in enumerate(STEP_COSTS):
            options[step, step:] = reached[: len(b) - step] + cost
        steps[row] = options.argmin(axis=0)
        reached = options.min(axis=0) + distances[row]
    at = np.empty(len(a))
    at[-1] = reached.argmin()
    for row in range(len(a) - 1, 0, -1):
        at[row - 1] = at[row] - steps[row, int(at[row])]
    padded = np.pad(at, SMOOTH_FRAMES // 2, "edge")
    return np.convolve(padded, np.full(SMOOTH_FRAMES, 1 / SMOOTH_FRAMES), "valid")


def _features(voice: Timbre) -> np.ndarray:
    """Band levels without the means of the active frames: `(frames, bands)`, in dB."""
    levels_db = np.maximum(voice.levels_db, voice.levels_db.max() - FLOOR_DB)[:, ::BAND_STEP]
    means = levels_db[voice.active].mean(axis=0) if voice.active.any() else 0.0
    return levels_db - means


@dataclass(frozen=True)
class Timing:
    """How late `after` is against `before`: the middle of all moments, and how far from 0 they are on average."""

    lag_ms: float
    error_ms: float


def timing(after: Timbre, before: Timbre) -> Timing:
    """Of two signals with the same words at the same time. For each frame, the lag up to 0.1 s at which +-0.1 s match best."""
    num_frames = min(len(after.active), len(before.active))
    a, b = (_features(voice)[:num_frames] for voice in (after, before))
    most, near = round(LONGEST_LAG_S / HOP_S), round(NEAR_S / HOP_S)
    rows = np.arange(num_frames)
    costs = []
    for lag in range(-most, most + 1):
        distance = np.rint(UNIT * np.abs(a[np.clip(rows + lag, 0, num_frames - 1)] - b).mean(axis=1)).astype(np.int64)
        sums = np.pad(distance, (near + 1, near), "edge").cumsum()
        costs.append(sums[2 * near + 1 :] - sums[: -2 * near - 1])
    costs = np.array(costs)
    best = np.where(costs[most] <= MARGIN * costs.min(axis=0), most, costs.argmin(axis=0))
    inner = best.clip(1, 2 * most - 1)
    before_, here, after_ = (costs[inner + step, rows] for step in (-1, 0, 1))
    bend = before_ - 2 * here + after_
    part = np.where((bend > 0) & (inner == best), 0.5 * (before_ - after_) / np.where(bend > 0, bend, 1.0), 0.0)
    lags_ms = ((best - most) + np.clip(part, -0.5, 0.5))[before.active[:num_frames]] * HOP_S * 1e3
    if not len(lags_ms):
        return Timing(0.0, 0.0)
    return Timing(round(float(np.median(lags_ms)), 4), round(float(np.mean(np.abs(lags_ms))), 4))
