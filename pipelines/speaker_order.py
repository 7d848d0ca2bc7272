"""Separated speakers keep their places from window to window: each continues the one that it sounds like where they overlap.

Nothing tells which output is whose where all are silent in the overlap; there the order is left as it is.
"""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from pipelines.long_audio import Window

FRAME_SAMPLES = 512
FLOOR = 1e-6  # of a bin's power


def in_order(parts: Iterable[tuple[Window, np.ndarray]], samples_per_frame: int) -> Iterator[tuple[Window, np.ndarray]]:
    """The same waves (speakers, channels, samples); speakers in the order of the window before, in all channels alike."""
    before = None
    for window, wave in parts:
        if before is None:
            first = wave[:, 0].copy()
            ordered = np.stack([_like(first, wave[:, channel], wave[:, channel]) for channel in range(wave.shape[1])], axis=1)
        else:
            shared = (before[0].last - window.first) * samples_per_frame
            ends, starts = before[1][..., -shared:], wave[..., :shared]
            channels = [_like(ends[:, c], starts[:, c], wave[:, c]) for c in range(wave.shape[1])]
            ordered = np.stack(channels, axis=1)
        before = (window, ordered)
        yield window, ordered


def _like(wanted: np.ndarray, found: np.ndarray, wave: np.ndarray) -> np.ndarray:
    """The speakers of `wave` in the order in which `found` is most like `wanted`, all (speakers, samples)."""
    wanted, found = spectrum(wanted), spectrum(found)
    orders = itertools.permutations(range(len(wanted)))
    best = min(orders, key=lambda order: float(np.abs(wanted - found[list(order)]).mean()))  # the first of equals
    return wave[list(best)]


def spectrum(wave: np.ndarray) -> np.ndarray:
    """Log power of frames that overlap by half, (..., frames, bins)."""
    short = max(0, FRAME_SAMPLES - wave.shape[-1])
    padded = np.pad(wave, [(0, 0)] * (wave.ndim - 1) + [(0, short)])
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME_SAMPLES, axis=-1)[..., :: FRAME_SAMPLES // 2, :]
    return np.log(np.square(np.abs(np.fft.rfft(frames * np.hanning(FRAME_SAMPLES)))) + FLOOR)
