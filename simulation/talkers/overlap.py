"""Who speaks when: extents of voices on the time line, how much they overlap, and placing them so that they do as asked.

An extent runs from the first to the last active 20 ms frame, pauses in between included: `(first, past the last)` frame.
"""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

Extent = tuple[int, int]
STEPS = 12  # of a bisection: 1 in 4096


def extent(active: np.ndarray) -> Extent:
    """The extent of a signal of which these frames `(frames,)` are active; (0, 0) for silence."""
    frames = np.flatnonzero(active)
    return (int(frames[0]), int(frames[-1]) + 1) if len(frames) else (0, 0)


def overlap_share(extents: Sequence[Extent]) -> float:
    """Time with two or more voices over time with any, the overlap ratio of LibriCSS (Chen et al., ICASSP 2020); 0 for none."""
    any_voice = several = 0
    first, second = 0, 0  # ends of the two that last longest so far
    for start, past in sorted(extents):
        any_voice += max(0, past - max(start, first))
        several += max(0, min(past, first) - max(start, second))
        first, second = (past, first) if past > first else (first, max(second, past))
    return several / any_voice if any_voice else 0.0


def arrange(lengths: Sequence[int], wanted_share: float, num_frames: int) -> list[Extent]:
    """Extents from frame 0 in the order given, none longer than its entry in `lengths`, that overlap by `wanted_share`.

    They end by `num_frames`; the longest are cut as far as that asks for it, or the share does: two voices of 4 s and 1 s can
    overlap by a fifth at most.
    """
    longest, second = sorted(lengths, reverse=True)[:2]
    least, most = 1, longest if second >= wanted_share * longest else int(second / wanted_share)
    extents = slide([min(length, most) for length in lengths], wanted_share)
    if last(extents) <= num_frames:
        return extents
    extents = slide([least] * len(lengths), wanted_share)
    while most - least > 1:
        middle = (least + most) // 2
        tried = slide([min(length, middle) for length in lengths], wanted_share)
        if last(tried) <= num_frames:
            least, extents = middle, tried
        else:
            most = middle
    return extents


def cut(active: Sequence[np.ndarray], wanted_share: float, num_frames: int) -> tuple[list[Extent], list[Extent]]:
    """Of voices with these active frames, which to hear and when, so that they overlap by the share within `num_frames`.

    Where the pauses allow no extent of a planned length the next shorter one is planned with: lengths only fall, so it ends.
    """
    heard = [extent(frames) for frames in active]
    while True:
        times = arrange([past - first for first, past in heard], wanted_share, num_frames)
        heard = [stretch(frames, past - first) for frames, (first, past) in zip(active, times, strict=True)]
        if all(past - first == end - start for (first, past), (start, end) in zip(heard, times)):
            return heard, times


def stretch(active: np.ndarray, length: int) -> Extent:
    """`length` frames, or a few less, that begin and end with an active one: of all such those with the most active frames.

    An extent cut like this is as long as was wanted, wherever the pauses are. ValueError if no frame is active.
    """
    counts = np.concatenate([[0], np.cumsum(active)])
    for size in range(min(length, len(active)), 0, -1):
        ends = active[: len(active) - size + 1] & active[size - 1 :]
        if ends.any():
            start = int(np.argmax(np.where(ends, counts[size:] - counts[:-size], -1)))
            return start, start + size
    raise ValueError("no active frame: there is nothing to place")


def slide(lengths: Sequence[int], wanted_share: float) -> list[Extent]:
    """Extents of these lengths, slid together from one after the other until they overlap by the share, or nearly."""
    ends = [0, *accumulate(lengths)]
    together, apart = 0.0, 1.0  # more overlap than wanted, and less

    def at(position: float) -> list[Extent]:
        return [(round(position * end), round(position * end) + length) for end, length in zip(ends, lengths)]

    for _ in range(STEPS):
        middle = (together + apart) / 2
        if overlap_share(at(middle)) > wanted_share:
            together = middle
        else:
            apart = middle
    return min(at(together), at(apart), key=lambda extents: abs(overlap_share(extents) - wanted_share))


def last(extents: Sequence[Extent]) -> int:
    """The frame at which nobody speaks any more."""
    return max(past for _, past in extents)
