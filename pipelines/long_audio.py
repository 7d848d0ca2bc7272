"""Audio longer than a model takes at once: windows that overlap, and one signal again from what became of each.

Each window is worked on alone. Where two meet, the result changes from one to the other in a short cross-fade, in the middle
of what they share: both have heard what comes before and after it.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Windowing:
    """How long audio is cut. The defaults are those of training: UniSE decodes in chunks of 5 s (arXiv 2510.20441)."""

    window_s: float = 5.0
    """What the model hears at once; audio up to that is not cut at all."""
    context_s: float = 0.5
    """On both sides of a window, given to its neighbours."""
    fade_s: float = 0.04
    """Of the cross-fade where two windows meet."""

    def __post_init__(self) -> None:
        if not 0 <= self.fade_s <= 2 * self.context_s <= self.window_s - max(self.fade_s, 0.1):
            raise ValueError(
                f"{self}: fade_s must be from 0 to twice context_s, and that below window_s by at least fade_s and 0.1 s"
            )

    def frames(self, rate_hz: float) -> tuple[int, int]:
        """Whole frames of a window, and of its context on one side."""
        context = -int(-self.context_s * rate_hz // 1)
        return max(round(self.window_s * rate_hz), 2 * context + 1), context


@dataclass(frozen=True)
class Window:
    """Frames `first` to `last` are worked on, `begin` to `end` kept: no gaps, no overlap."""

    first: int
    begin: int
    end: int
    last: int


def windows_of(num_frames: int, window_frames: int, context_frames: int) -> list[Window]:
    """Windows of equal length, what they keep without gaps; the last is moved back to end with the audio."""
    assert 0 <= 2 * context_frames < window_frames, (window_frames, context_frames)
    hop = window_frames - 2 * context_frames
    firsts = list(range(0, max(1, num_frames - 2 * context_frames), hop))
    firsts = [min(first, max(0, num_frames - window_frames)) for first in firsts]
    cuts = [0, *(first + window_frames - context_frames for first in firsts[:-1]), num_frames]
    kept = itertools.pairwise(cuts)
    return [
        Window(first, *between, min(first + window_frames, num_frames)) for first, between in zip(firsts, kept, strict=True)
    ]


def joined(parts: Iterable[tuple[Window, np.ndarray]], samples_per_frame: int, fade_samples: int) -> Iterator[np.ndarray]:
    """One signal, as its pieces become known, of waves (..., samples) of each window's `first` to `last`, in order.

    Linear cross-fades around the cuts: the weights of two windows sum to 1.
    """
    half, tail = fade_samples // 2, None  # what the window before has around the cut
    for window, wave in parts:
        start = window.begin * samples_per_frame - (half if tail is not None else 0)
        wave = wave[..., start - window.first * samples_per_frame :]
        if tail is not None:
            wave = np.concatenate([faded(tail, wave[..., : 2 * half]), wave[..., 2 * half :]], axis=-1)
        if window.end == window.last:  # only the last window keeps its end
            yield wave
            return
        length = window.end * samples_per_frame - half - start
        yield wave[..., :length]
        tail = wave[..., length : length + 2 * half]


def faded(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """From one to the other."""
    num_samples = before.shape[-1]
    rise = (np.arange(num_samples, dtype=np.float32) + 0.5) / max(1, num_samples)
    return before * (1 - rise) + after * rise
