"""Sources to steps: the same clips in every step whatever the number of ranks, and from any step on.

The clips are dealt to logical workers, whose number is fixed for a run. Each gives as many clips to every step, from its own
parts of the sources; a rank runs an equal number of them. So the joined batch of all ranks depends on the step only, every rank
takes the same number of steps, and what has to be saved is where each logical worker stands: a few integers.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from training.data.buckets import Buckets, Dealing
from training.data.config import ReadingConfig
from training.data.cursor import Decode, Readers
from training.data.logical_worker import LogicalWorker, WorkerState, check_states
from training.data.quarantine import Quarantine
from training.data.sources import Mixture, Source

T = TypeVar("T")  # a decoded clip
B = TypeVar("B")  # a micro-batch

StreamState = dict[str, WorkerState]
"""JSON: the number of each logical worker -> its state. Those of all ranks joined start a stream of any number of ranks."""


@dataclass(frozen=True)
class Batching:
    """What the steps are like. Ranks and micro-batches change nothing of which clips a step gets."""

    seed: int
    sample_rate_hz: int
    batch_size: int  # clips of an optimizer step, all ranks together
    micro_batch_size: int  # clips of a rank that go through the network at a time
    rank: int = 0
    world_size: int = 1


@dataclass(frozen=True)
class Form(Generic[T, B]):
    """How what a source fetched becomes a batch."""

    decode: Decode[T]
    batch: Callable[[Sequence[T]], B]
    length: Callable[[T], int] | None = None
    """Where given, the clips of several steps, and those of a rank's micro-batches, are sorted by it."""
    bucket_steps: int = 1
    """Of how many steps."""


class Steps(Generic[T, B]):
    """Endless pairs of this rank's micro-batches and the state after them. To be closed: it has threads.

    `wait_s` is how long the last step waited for its data. Iteration raises TooManyRejects, and StorageError where a store is
    lost; the other ranks know nothing of it.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        config: ReadingConfig,
        batching: Batching,
        form: Form[T, B],
        *,
        state: StreamState | None = None,
        quarantine: Path | None = None,
    ):
        """`state` starts behind the step that it came with. `quarantine` is a file of this rank alone, a row a rejected clip.

        ValueError where numbers do not fit together, or the state is of other data.
        """
        _check(config, batching)
        if state is not None:
            check_states(state, sources, config.logical_workers)
        self.wait_s, self._form, self._micro_batch_size = 0.0, form, batching.micro_batch_size
        self.quarantine = Quarantine(sum(source.num_clips for source in sources), config.max_reject_share, quarantine)
        mixture = Mixture(sources, config.weights, batching.seed)
        clips_per_worker = batching.batch_size // config.logical_workers
        dealing = Dealing(batching.seed, clips_per_worker, config.prefetch_steps, form.bucket_steps, form.length)
        self._readers = Readers(form.decode, config.threads)
        per_rank = config.logical_workers // batching.world_size
        self._workers = []
        for number in range(batching.rank * per_rank, (batching.rank + 1) * per_rank):
            of_worker = state and state[str(number)]
            worker = LogicalWorker(number, config.logical_workers, mixture, readers=self._readers, state=of_worker)
            self._workers.append(Buckets(worker, dealing, of_worker.get("given", 0) if of_worker else 0))
        self._assembling = ThreadPoolExecutor(1, "assemble")
        self._next: Future[tuple[list[B], StreamState]] = self._assembling.submit(self._assemble)

    def __iter__(self) -> "Steps[T, B]":
        return self

    def __next__(self) -> tuple[list[B], StreamState]:
        started = time.perf_counter()
        try:
            made = self._next.result()
        except BaseException:
            self.close()
            raise
        self.wait_s = time.perf_counter() - started
        self._next = self._assembling.submit(self._assemble)
        return made

    def close(self) -> None:
        """End all threads. What is being read or decoded is waited for."""
        self._readers.close()
        self._assembling.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> "Steps[T, B]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _assemble(self) -> tuple[list[B], StreamState]:
        """One step: every logical worker's clips in order, cut into micro-batches."""
        clips = [clip for worker in self._workers for clip in worker.take(self.quarantine)]
        if self._form.length:
            clips.sort(key=self._form.length)
        size = self._micro_batch_size
        batches = [self._form.batch(clips[first : first + size]) for first in range(0, len(clips), size)]
        return batches, {str(buckets.worker.number): buckets.state() for buckets in self._workers}


def _check(config: ReadingConfig, batching: Batching) -> None:
    workers, ranks, size = config.logical_workers, batching.world_size, batching.batch_size
    if size < 1 or size % workers:
        raise ValueError(f"batch size {size}: give a multiple of {config.option('logical_workers')}, which is {workers}")
    if workers % ranks:
        option = config.option("logical_workers")
        raise ValueError(f"{ranks} ranks do not divide {option}, which is {workers}: take another number of ranks")
    micro, per_rank = batching.micro_batch_size, size // ranks
    if micro < 1 or per_rank % micro:
        raise ValueError(
            f"micro-batch size {micro} does not divide the {per_rank} clips of a rank and step; give a divisor of it"
        )
