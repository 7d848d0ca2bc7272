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
READ_AHEAD_FROM = 0.25  # of a window, the next one is fetched: not at its start, or the first step would wait for two windows

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
        self._epoch = _Epoch(source, order, readers)
        self._following: _Epoch | None = None

    def schedule(self) -> None:
        """Have one more clip decoded."""
        while self._position >= self._epoch.num_clips:  # more than once where a source has fewer clips than there are workers
            self._epoch, self._following, self._position = self._next_epoch(), None, 0
        epoch = self._epoch
        number, offset = epoch.find(self._position)
        window, clip = epoch.fetched(number), int(epoch.windows[number][offset])
        if offset >= READ_AHEAD_FROM * (len(epoch.windows[number]) - 1):
            self._fetch_after(number)
        self._position += 1
        if offset == len(epoch.windows[number]) - 1:
            epoch.drop(number)
        decoded = self._readers.decode(window, clip, epoch.order)
        self._ahead.append((Mark(epoch.order.epoch, self._position), clip, decoded))

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

    def _fetch_after(self, number: int) -> None:
        """Have the window behind this one read, be it the first of the next epoch: or all would wait there for the store."""
        epoch, following = self._epoch, number + 1
        if following == len(epoch.windows):
            epoch, following = self._next_epoch(), 0
        if following < len(epoch.windows):
            epoch.fetched(following)

    def _next_epoch(self) -> "_Epoch":
        if self._following is None:
            order = replace(self._epoch.order, epoch=self._epoch.order.epoch + 1)
            self._following = _Epoch(self.source, order, self._readers)
        return self._following


class _Epoch:
    """A logical worker's windows of one epoch, those in use with what is fetched of them."""

    def __init__(self, source: Source, order: Order, readers: Readers[Any]):
        self.order, self.windows = order, source.windows(order)
        self._source, self._readers = source, readers
        self._ends = np.cumsum([len(window) for window in self.windows]).tolist()
        self._fetching: dict[int, Future[Window]] = {}

    @property
    def num_clips(self) -> int:
        return self._ends[-1] if self._ends else 0

    def find(self, position: int) -> tuple[int, int]:
        """The window of a position, and the place in it."""
        number = bisect.bisect_right(self._ends, position)
        return number, position - self._ends[number] + len(self.windows[number])

    def fetched(self, number: int) -> Future[Window]:
        if number not in self._fetching:
            self._fetching[number] = self._readers.fetch(self._source, self.windows[number])
        return self._fetching[number]

    def drop(self, number: int) -> None:
        """Give up a window whose clips are all scheduled: what decodes them still holds it."""
        del self._fetching[number]
