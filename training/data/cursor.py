"""One logical worker's way through one source: clips fetched and decoded ahead in threads, given in order."""

import bisect
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from infra.command_line import TooManyRejects
from training.data.quarantine import Quarantine, Rejected
from training.data.sources import Source
from training.data.windows import Order

WINDOWS_FETCHED = 4  # at a time, of a rank

T = TypeVar("T")  # what a clip is decoded to
Window = dict[int, Any]  # clip number -> what the source fetched, or Rejected
Parts = tuple[int, str, int, int]
"""Seed, source, epoch and clip: what the keys of all draws of a clip begin with."""
Decode = Callable[[Any, Parts], T]
"""From what a source fetched. Rejected for what cannot serve."""


class Readers(Generic[T]):
    """The threads of a rank: some wait for disk and network, some decode."""

    def __init__(self, decode: Decode[T], num_decoding: int):
        self._decode_one = decode
        self._fetching = ThreadPoolExecutor(WINDOWS_FETCHED, "fetch")
        self._decoding = ThreadPoolExecutor(num_decoding, "decode")

    def fetch(self, source: Source, clips: np.ndarray) -> Future[Window]:
        return self._fetching.submit(source.fetch, clips)

    def decode(self, window: Future[Window], clip: int, order: Order) -> Future[T]:
        return self._decoding.submit(self._decode, window, clip, order)

    def close(self) -> None:
        """Drop what waits and wait for what runs: no thread is left."""
        for pool in (self._fetching, self._decoding):
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in (self._fetching, self._decoding):
            pool.shutdown(wait=True)

    def _decode(self, window: Future[Window], clip: int, order: Order) -> T:
        found = window.result().pop(clip)  # its bytes are given up once it is decoded
        if isinstance(found, Rejected):
            raise found.with_traceback(None)  # one reject may stand for all clips of a shard
        return self._decode_one(found, (order.seed, order.source, order.epoch, clip))


class Mark(NamedTuple):
    """A place in a source: a logical worker's epoch, and how many of its clips are behind."""

    epoch: int
    position: int


class Cursor(Generic[T]):
    """Clips of a source in a logical worker's order, from a position on. `mark` is the place behind the last that was taken."""

    def __init__(self, source: Source, order: Order, position: int, readers: Readers[T]):
        self.source, self.mark = source, Mark(order.epoch, position)
        self._readers, self._position = readers, position
        self._ahead: deque[tuple[Mark, int, Future[T]]] = deque()
        self._open(order)

    def schedule(self) -> None:
        """Have one more clip decoded."""
        while self._position >= self._ends[-1]:  # more than once where a source has fewer clips than there are workers
            self._open(replace(self._order, epoch=self._order.epoch + 1))
            self._position = 0
        number = bisect.bisect_right(self._ends, self._position)
        offset = self._position - self._ends[number] + len(self._windows[number])
        clip = int(self._windows[number][offset])
        window = self._fetched(number)
        if offset >= len(self._windows[number]) // 2 and number + 1 < len(self._windows):
            self._fetched(number + 1)
        self._position += 1
        if self._position == self._ends[number]:
            del self._fetching[number]  # what decodes its clips still holds it
        decoded = self._readers.decode(window, clip, self._order)
        self._ahead.append((Mark(self._order.epoch, self._position), clip, decoded))

    def take(self, quarantine: Quarantine) -> T:
        """The next crop in order; clips that cannot serve are skipped, a row each. TooManyRejects, StorageError."""
        num_rejected = 0
        while num_rejected < 2 * self.source.num_clips + 20:
            self.mark, clip, decoded = self._ahead.popleft()
            try:
                return decoded.result()
            except Rejected as rejected:
                quarantine.add(self.source.id, clip, rejected)
                num_rejected += 1
                self.schedule()
        raise TooManyRejects(
            f"{self.source.where}: none of its {self.source.num_clips} clips of {self.source.domain} can serve"
        )

    def _open(self, order: Order) -> None:
        self._order = order
        self._windows = self.source.windows(order)
        self._ends = np.cumsum([len(window) for window in self._windows]).tolist() or [0]
        self._fetching: dict[int, Future[Window]] = {}

    def _fetched(self, number: int) -> Future[Window]:
        if number not in self._fetching:
            self._fetching[number] = self._readers.fetch(self.source, self._windows[number])
        return self._fetching[number]
