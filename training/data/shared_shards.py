"""Shards that several logical workers use, each a part: read once, while their windows are close in time.

Parts of an epoch end within shards, so two neighbours share one; where there are fewer shards than logical workers, more do.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class _Kept(Generic[T]):
    num_bytes: int
    num_left: int  # clips that nobody has asked for
    content: Future[T] = field(default_factory=Future)


class SharedShards(Generic[T]):
    """Contents of shards that are not used up, the latest of them, up to `max_bytes`. Safe in threads."""

    def __init__(self, max_bytes: float):
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Kept[T]] = OrderedDict()

    def get(self, name: str, num_bytes: int, used: tuple[int, int], read: Callable[[], T]) -> T:
        """What `read` gives or gave; `used` is how many clips are taken now, of how many. An error is raised, not kept."""
        num_taken, num_clips = used
        with self._lock:
            kept = self._kept.pop(name, None)
            is_first = kept is None
            if kept is None:
                kept = _Kept(num_bytes, num_clips)
            kept.num_left -= num_taken
            if kept.num_left > 0:
                self._kept[name] = kept
                self._make_room()
        if is_first:
            try:
                kept.content.set_result(read())
            except BaseException as error:
                self._forget(name, kept)
                kept.content.set_exception(error)
        return kept.content.result()

    def __len__(self) -> int:
        return len(self._kept)

    def _make_room(self) -> None:
        while sum(kept.num_bytes for kept in self._kept.values()) > self._max_bytes:
            self._kept.popitem(last=False)

    def _forget(self, name: str, kept: _Kept[T]) -> None:
        with self._lock:
            if self._kept.get(name) is kept:
                del self._kept[name]
