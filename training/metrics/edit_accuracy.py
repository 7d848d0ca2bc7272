"""How well an edit was made, told from audio alone: the input, the reference edit, and what a system made of the input.

Lengths may differ. All three are log-mel frames (20 ms), any two aligned by dynamic time warping. A frame of the reference edit
whose distance from the aligned input frame is above CHANGED_DB is *edited*; an input frame that has nothing like it in the
reference edit is *removed*; all other frames of the reference edit are *kept*.

    accuracy   share of edited and removed frames where the estimate is nearer to the reference edit than to the input: the
               input itself has 0, the reference edit 1, and a codec's noise on both sides cancels
    kept       mean distance of estimate and reference edit over kept frames, dB: what should not have changed; lower is better
    edited     the same over edited frames, dB; lower is better
    length     estimate minus reference edit, absolute, in seconds; lower is better
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from training.metrics.signals import Unscorable, at_rate, check_sound, mel_filters

RATE_HZ, WINDOW, HOP, NUM_BANDS = 16000, 640, 320, 40
RANGE_DB = 40.0  # below the loudest frame of input and reference edit nothing is compared: noise floors are not edits
CHANGED_DB = 3.0  # mean over bands: twice the level of a sound that fills half of the spectrum
STEP_DB = 3.0  # what a step aside costs in the alignment: nothing is stretched without need
NEIGHBOURS = 2  # frames on each side that decide with a frame: single frames differ at cross-fades
LONGEST_S = 60.0


@dataclass(frozen=True)
class Edit:
    """What was found; None where there is no such frame."""

    accuracy: float | None
    kept_db: float | None
    edited_db: float | None
    length_s: float
    num_changed: int  # frames, edited and removed


def measure(before: np.ndarray, wanted: np.ndarray, estimate: np.ndarray, sample_rate_hz: int) -> Edit:
    """Of mono waves `(samples,)`. Unscorable: silent input or reference edit, samples that are not finite, over 60 s."""
    waves = [np.asarray(wave, np.float64) for wave in (before, wanted, estimate)]
    for name, wave in zip(("input", "reference edit", "estimate"), waves):
        if not np.isfinite(wave).all():
            raise Unscorable(f"the {name} has samples that are not finite")
        if len(wave) > LONGEST_S * sample_rate_hz:
            raise Unscorable(f"the {name} is longer than {LONGEST_S:g} s")
    check_sound(input=waves[0], reference_edit=waves[1])
    return _measure(*(at_rate(wave, sample_rate_hz, RATE_HZ).tobytes() for wave in waves))


@lru_cache(2)  # four metrics ask for the same clip one after the other
def _measure(*waves: bytes) -> Edit:
    before, wanted, estimate = (np.frombuffer(wave) for wave in waves)
    x_FM, y_FM, z_FM = _levels(before, wanted, estimate)
    from_y, from_x = aligned(y_FM, x_FM)  # the input frame of each frame of the reference edit, and the reverse
    edited_F = _smooth(_distance(y_FM, x_FM[from_y]) > CHANGED_DB)
    removed_F = _smooth(_distance(x_FM, y_FM[from_x]) > CHANGED_DB)
    z_of_y, _ = aligned(y_FM, z_FM)
    z_of_x, _ = aligned(x_FM, z_FM)
    off_F = _distance(y_FM, z_FM[z_of_y])
    done = (off_F < _distance(x_FM[from_y], z_FM[z_of_y]))[edited_F]
    gone = (_distance(y_FM[from_x], z_FM[z_of_x]) < _distance(x_FM, z_FM[z_of_x]))[removed_F]
    both = np.concatenate([done, gone])
    return Edit(
        float(both.mean()) if len(both) else None,
        float(off_F[~edited_F].mean()) if (~edited_F).any() else None,
        float(off_F[edited_F].mean()) if edited_F.any() else None,
        abs(len(estimate) - len(wanted)) / RATE_HZ,
        len(both),
    )


def _levels(*waves: np.ndarray) -> list[np.ndarray]:
    """Log-mel levels in dB `(frames, NUM_BANDS)`, not below RANGE_DB under the loudest band of the first two."""
    filters = mel_filters(RATE_HZ, WINDOW, NUM_BANDS)
    levels = []
    for wave in waves:
        padded = np.pad(wave, (WINDOW // 2, WINDOW // 2 + HOP))
        frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
        power = np.square(np.abs(np.fft.rfft(frames * np.hanning(WINDOW + 1)[:-1]))) @ filters.T
        levels.append(10 * np.log10(np.maximum(power, 1e-20)))
    floor = max(level.max() for level in levels[:2]) - RANGE_DB
    return [np.maximum(level, floor) for level in levels]


def _distance(x_FM: np.ndarray, y_FM: np.ndarray) -> np.ndarray:
    return np.abs(x_FM - y_FM).mean(axis=1)


def _smooth(marked_F: np.ndarray) -> np.ndarray:
    """What most of a frame and its neighbours say."""
    width = 2 * NEIGHBOURS + 1
    return np.convolve(np.pad(marked_F.astype(float), NEIGHBOURS, mode="edge"), np.ones(width), "valid") > width / 2


def aligned(x_FM: np.ndarray, y_FM: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each frame of x its frame of y, and the reverse: the nearest of those on the cheapest warping path.

    Dynamic time warping with equal weights (Sakoe and Chiba, 1978); anti-diagonal by anti-diagonal.
    """
    cost = np.abs(x_FM[:, None] - y_FM[None]).mean(axis=2, dtype=np.float32).astype(np.float64)
    path = _path(cost)
    of_x, of_y = np.full(len(x_FM), -1), np.full(len(y_FM), -1)
    for i, j in path:
        if of_x[i] < 0 or cost[i, j] < cost[i, of_x[i]]:
            of_x[i] = j
        if of_y[j] < 0 or cost[i, j] < cost[of_y[j], j]:
            of_y[j] = i
    return of_x, of_y


def _path(cost: np.ndarray) -> list[tuple[int, int]]:
    num_x, num_y = cost.shape
    total = np.full((num_x + 1, num_y + 1), np.inf)
    total[0, 0] = 0.0
    for diagonal in range(num_x + num_y - 1):
        i = np.arange(max(0, diagonal - num_y + 1), min(num_x, diagonal + 1))
        j = diagonal - i
        least = np.minimum(np.minimum(total[i, j + 1], total[i + 1, j]) + STEP_DB, total[i, j])
        total[i + 1, j + 1] = cost[i, j] + least
    i, j, path = num_x, num_y, []
    while i > 0 and j > 0:
        path.append((i - 1, j - 1))
        straight, down, across = total[i - 1, j - 1], total[i - 1, j] + STEP_DB, total[i, j - 1] + STEP_DB
        _, i, j = min((straight, i - 1, j - 1), (down, i - 1, j), (across, i, j - 1))
    return path
