"""A logical worker's clips a step at a time: as they come, or those of several steps dealt out by length.

Clips of like length in a step are little padding and equal work for all ranks, so the workers deal alike: in a step all of them
give their short clips, or all their long ones (Khomenko et al. 2017, "Accelerating recurrent neural network training using
sequence bucketing", section 3, sorts within parts of the data for the same reason).
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from training.data.logical_worker import LogicalWorker
from training.data.quarantine import Quarantine
from training.keys import generator

T = TypeVar("T")


@dataclass(frozen=True)
class Dealing(Generic[T]):
    """How many clips a worker gives to a step, and of how many steps the clips are sorted together."""

    seed: int
    clips_per_step: int
    prefetch_steps: int
    num_steps: int = 1
    length: Callable[[T], int] | None = None  # None: as they come

    @property
    def num_clips(self) -> int:
        return self.num_steps * self.clips_per_step


class Buckets(Generic[T]):
    """What one logical worker gives to each step. `given` steps of the clips ahead of the worker are behind already."""

    def __init__(self, worker: LogicalWorker[T], dealing: Dealing[T], given: int = 0):
        self.worker, self.dealing = worker, dealing
        self._start, self._given = worker.state(), given
        self._dealt: deque[list[T]] = deque()
        self._read_ahead()

    def take(self, quarantine: Quarantine) -> list[T]:
        """The clips of the next step. TooManyRejects, StorageError."""
        if not self._dealt:
            self._dealt.extend(self._deal(quarantine)[self._given :])
        taken = self._dealt.popleft()
        self._given += 1
        if not self._dealt:
            self._start, self._given = self.worker.state(), 0
        self._read_ahead()
        return taken

    def state(self) -> dict[str, Any]:
        """The worker's state before the clips that are dealt out now, and how many steps have got theirs."""
        return self._start | ({"given": self._given} if self._given else {})

    def _deal(self, quarantine: Quarantine) -> list[list[T]]:
        dealing, clips = self.dealing, []
        turn = self.worker.num_clips // dealing.num_clips
        self.worker.schedule(dealing.num_clips)
        for _ in range(dealing.num_clips):
            clips.append(self.worker.take(quarantine))
            self.worker.schedule(dealing.prefetch_steps * dealing.clips_per_step)
        if dealing.length:
            clips.sort(key=dealing.length)
        steps = [clips[first : first + dealing.clips_per_step] for first in range(0, len(clips), dealing.clips_per_step)]
        order = generator(dealing.seed, "buckets", turn).permutation(dealing.num_steps)  # the same for every worker
        return [steps[number] for number in order]

    def _read_ahead(self) -> None:
        """Evenly over the steps, so that none has to wait for the clips of all."""
        self.worker.schedule((self.dealing.prefetch_steps + self._given) * self.dealing.clips_per_step)
