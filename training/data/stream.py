"""Sources to batches: the same clips in the same order whatever the number of ranks, and from any step on.

Shapes: B clips of a micro-batch, T samples of a crop, N draws.

The clips are dealt to logical workers, whose number is fixed for a run. Each gives as many clips to every step, from its own
parts of the sources; a rank runs an equal number of them. So the joined batch of all ranks depends on the step only, every rank
takes the same number of steps, and what has to be saved is where each logical worker stands: a few integers.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.data.config import DataConfig
from training.data.crops import Cropping
from training.data.cursor import Crop, Readers
from training.data.logical_worker import LogicalWorker, WorkerState, check_states
from training.data.quarantine import Quarantine
from training.data.sources import Mixture, Source

LAYERS_DRAW, THRESHOLD_DRAW = 0, 1  # columns of draws_BN: for quantiser dropout, for the grouping threshold

StreamState = dict[str, WorkerState]
"""JSON: the number of each logical worker -> its state. Those of all ranks joined start a stream of any number of ranks."""


@dataclass(frozen=True)
class Batch:
    """Clips of one micro-batch, padded with zeros to the length of a crop."""

    keys: tuple[str, ...]
    wave_BT: Tensor  # float32; (B, 2, T) where the data are stereo
    num_samples_B: Tensor  # int64
    draws_BN: Tensor  # float32 uniforms in [0, 1), keyed by clip and epoch


@dataclass(frozen=True)
class Batching:
    """What the steps are like. Ranks and micro-batches change nothing of which clips a step gets."""

    seed: int
    sample_rate_hz: int
    batch_size: int  # clips of an optimizer step, all ranks together
    micro_batch_size: int  # clips of a rank that go through the network at a time
    rank: int = 0
    world_size: int = 1


class Stream:
    """Endless pairs of this rank's micro-batches and the state after them. To be closed: it has threads.

    `wait_s` is how long the last step waited for its data. Iteration raises TooManyRejects, and StorageError where a store is
    lost; the other ranks know nothing of it.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        config: DataConfig,
        batching: Batching,
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
        self.wait_s = 0.0
        self.quarantine = Quarantine(sum(source.num_clips for source in sources), config.max_reject_share, quarantine)
        num_samples = round(config.crop_s * batching.sample_rate_hz)
        self._cropping = Cropping(batching.sample_rate_hz, num_samples, config.num_channels, config.peak)
        self._clips_per_worker = batching.batch_size // config.logical_workers
        self._num_ahead = config.prefetch_steps * self._clips_per_worker
        self._micro_batch_size = batching.micro_batch_size
        mixture = Mixture(sources, config.weights, batching.seed)
        self._readers = Readers(self._cropping, config.threads)
        per_rank = config.logical_workers // batching.world_size
        self._workers = [
            LogicalWorker(number, config.logical_workers, mixture, readers=self._readers, state=state and state[str(number)])
            for number in range(batching.rank * per_rank, (batching.rank + 1) * per_rank)
        ]
        for worker in self._workers:
            worker.schedule(self._num_ahead)
        self._assembling = ThreadPoolExecutor(1, "assemble")
        self._next: Future[tuple[list[Batch], StreamState]] = self._assembling.submit(self._assemble)

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> tuple[list[Batch], StreamState]:
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

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _assemble(self) -> tuple[list[Batch], StreamState]:
        """One step: every logical worker's clips in order, cut into micro-batches."""
        crops = []
        for worker in self._workers:
            for _ in range(self._clips_per_worker):
                crops.append(worker.take(self.quarantine))
                worker.schedule(self._num_ahead)
        size = self._micro_batch_size
        batches = [batch(crops[first : first + size], self._cropping) for first in range(0, len(crops), size)]
        return batches, {str(worker.number): worker.state() for worker in self._workers}


def batch(crops: Sequence[Crop], cropping: Cropping) -> Batch:
    """Crops side by side, padded to the length of a whole one."""
    wave = np.empty((len(crops), cropping.num_channels, cropping.num_samples), np.float32)
    for row, crop in zip(wave, crops):
        row[:, : crop.wave.shape[1]] = crop.wave
        row[:, crop.wave.shape[1] :] = 0
    wave_BT = torch.from_numpy(wave[:, 0] if cropping.num_channels == 1 else wave)
    num_samples_B = torch.tensor([crop.wave.shape[1] for crop in crops])
    draws_BN = torch.from_numpy(np.stack([crop.draws for crop in crops]))
    return Batch(tuple(crop.key for crop in crops), wave_BT, num_samples_B, draws_BN)


def _check(config: DataConfig, batching: Batching) -> None:
    workers, ranks, size = config.logical_workers, batching.world_size, batching.batch_size
    if size < 1 or size % workers:
        raise ValueError(f"batch size {size}: give a multiple of data.logical_workers, which is {workers}")
    if workers % ranks:
        raise ValueError(f"{ranks} ranks do not divide data.logical_workers {workers}: take another number of ranks")
    micro, per_rank = batching.micro_batch_size, size // ranks
    if micro < 1 or per_rank % micro:
        raise ValueError(
            f"micro-batch size {micro} does not divide the {per_rank} clips of a rank and step; give a divisor of it"
        )
