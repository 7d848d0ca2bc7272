"""Faster or slower at the same pitch: a phase vocoder with spectral peaks tracked from block to block (Signalsmith Stretch)."""

import numpy as np
import python_stretch

BLOCK_S = 0.08  # its preset has 0.12: blows and barks smear over one block, tones below 30 Hz need longer ones
OVERLAP = 4
RATIOS = (0.5, 2.0)  # beyond, Signalsmith Stretch draws random phases


def stretched(audio: np.ndarray, ratio: float, sample_rate_hz: int) -> np.ndarray:
    """`audio` float32 `(1, samples)` at `ratio` times its speed: `(1, round(samples / ratio))`. ValueError outside RATIOS."""
    if not RATIOS[0] <= ratio <= RATIOS[1]:
        raise ValueError(f"speed ratio is {ratio}: give {RATIOS[0]} to {RATIOS[1]}")
    hop = round(BLOCK_S * sample_rate_hz / OVERLAP)
    stretch = python_stretch.Signalsmith.Stretch(1)  # a fixed seed, though none of its random phases is used here
    stretch.configure(1, hop * OVERLAP, hop)
    stretch.timeFactor = ratio
    out = np.zeros((1, num_stretched(audio.shape[1], ratio)), np.float32)
    found = stretch.process(np.ascontiguousarray(audio))[:, : out.shape[1]]
    out[:, : found.shape[1]] = found
    return out


def num_stretched(num_samples: int, ratio: float) -> int:
    """The length of so many samples at this speed."""
    return round(num_samples / ratio)


def speed_ratio(before: np.ndarray, after: np.ndarray) -> float:
    """How much faster `after` goes through what it shares with `before`: the slope between the times at which 5, 10 ... 95 % of
    the rectified signals are over. 1 where either is silent. Within 8 % of the ratio asked for on real sounds."""
    times = [_times(signal) for signal in (before, after)]
    across = float(times[1] @ times[1])
    return float(times[0] @ times[1]) / across if across else 1.0


def _times(audio: np.ndarray) -> np.ndarray:
    """Samples until each twentieth of the rectified signal is over."""
    over = np.cumsum(np.abs(audio[0].astype(np.float64)))
    return np.searchsorted(over, np.arange(1, 20) / 20 * over[-1]).astype(np.float64)
