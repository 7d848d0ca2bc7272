"""The order of a source's clips: a pure function of (seed, source, epoch, logical worker), dealt out in windows.

In every epoch the clips lie on one line, permuted by key; logical workers own disjoint, equally long parts of it, another
part in each epoch. Clips of shards stay together as far as a window reaches: the line is made of whole shards, a worker takes a
few of them (or parts, at the ends of its part or where shards are few) at a time, and permutes the clips of that window.
"""

import functools
from dataclasses import dataclass

import numpy as np

from training.keys import generator

CLIPS_PER_WINDOW = 64  # of single files: what is fetched from S3 at a time


@dataclass(frozen=True)
class Order:
    """Whose order: one epoch of one source, as one of the logical workers passes through it."""

    seed: int
    source: str
    epoch: int
    worker: int
    num_workers: int

    def span(self, num_clips: int) -> tuple[int, int]:
        """First and past-the-last place of the worker's part of the line; parts move on by one worker every epoch."""
        part = (self.worker + self.epoch) % self.num_workers
        return part * num_clips // self.num_workers, (part + 1) * num_clips // self.num_workers

    def shuffled(self, count: int) -> np.ndarray:
        """The numbers below count in this epoch's order, the same for all workers; not to be written to."""
        return _shuffled(count, self.seed, self.source, self.epoch)


@functools.lru_cache(maxsize=4)  # the workers of a process are in the same epochs for most of the time
def _shuffled(count: int, seed: int, source: str, epoch: int) -> np.ndarray:
    numbers = generator(seed, "order", source, epoch).permutation(count)
    numbers.setflags(write=False)
    return numbers


def file_windows(num_clips: int, order: Order) -> list[np.ndarray]:
    """Clip numbers of each window, of a source whose clips are single files; empty where there are fewer clips than workers."""
    start, stop = order.span(num_clips)
    mine = order.shuffled(num_clips)[start:stop]
    return [mine[at : at + CLIPS_PER_WINDOW] for at in range(0, len(mine), CLIPS_PER_WINDOW)]


@dataclass(frozen=True)
class ShardSizes:
    """What windows of shards are cut by: clips are numbered shard by shard."""

    num_clips: np.ndarray  # of each shard
    num_bytes: np.ndarray  # of the part of each shard that is kept in memory
    max_shards: int  # of a window
    max_bytes: float  # of a window, as far as one shard does not have more


def shard_windows(sizes: ShardSizes, order: Order) -> list[np.ndarray]:
    """Clip numbers of each window, of a source whose clips lie in shards."""
    shards = order.shuffled(len(sizes.num_clips))
    counts = sizes.num_clips[shards]
    ends = np.cumsum(counts)
    firsts = (np.cumsum(sizes.num_clips) - sizes.num_clips)[shards]
    start, stop = order.span(int(ends[-1]))
    windows: list[list[np.ndarray]] = []
    num_bytes = np.inf
    for place in range(int(np.searchsorted(ends, start, "right")), int(np.searchsorted(ends, stop, "left")) + 1):
        begin = ends[place] - counts[place]
        piece = firsts[place] + np.arange(max(start, begin), min(stop, ends[place])) - begin
        if not len(piece):
            continue
        piece_bytes = sizes.num_bytes[shards[place]] * len(piece) / counts[place]
        if num_bytes + piece_bytes > sizes.max_bytes or len(windows[-1]) == sizes.max_shards:
            windows.append([])
            num_bytes = 0.0
        windows[-1].append(piece)
        num_bytes += piece_bytes
    return [_mixed(window, order, number) for number, window in enumerate(windows)]


def _mixed(pieces: list[np.ndarray], order: Order, number: int) -> np.ndarray:
    draws = generator(order.seed, "window", order.source, order.epoch, order.worker, number)
    return draws.permutation(np.concatenate(pieces))
