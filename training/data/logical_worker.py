"""A logical worker: one fixed part of the data, whichever rank it runs on."""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from training.data.cursor import Cursor, Readers
from training.data.quarantine import Quarantine
from training.data.sources import Mixture, Source
from training.data.windows import Order

T = TypeVar("T")
WorkerState = dict[str, Any]
"""JSON: "clips" taken since the run began, and "sources": source id -> [epoch, position]."""


class LogicalWorker(Generic[T]):
    """Clips of all sources, drawn by key. It starts behind `state`, at the beginning if that is None."""

    def __init__(self, number: int, num_workers: int, mixture: Mixture, *, readers: Readers[T], state: WorkerState | None):
        self.number = number
        self.num_clips, places = (state["clips"], state["sources"]) if state else (0, {})
        self._mixture, self._scheduled = mixture, self.num_clips
        self._cursors = []
        for source in mixture.sources:
            epoch, position = places.get(source.id, (0, 0))
            order = Order(mixture.seed, source.id, epoch, number, num_workers)
            self._cursors.append(Cursor(source, order, position, readers))

    def schedule(self, num_ahead: int) -> None:
        """Have clips decoded until so many are ahead."""
        while self._scheduled < self.num_clips + num_ahead:
            self._cursors[self._mixture(self.number, self._scheduled)].schedule()
            self._scheduled += 1

    def take(self, quarantine: Quarantine) -> T:
        """The next clip, which was scheduled before. TooManyRejects, StorageError."""
        assert self.num_clips < self._scheduled
        taken = self._cursors[self._mixture(self.number, self.num_clips)].take(quarantine)
        self.num_clips += 1
        return taken

    def state(self) -> WorkerState:
        return {"clips": self.num_clips, "sources": {cursor.source.id: list(cursor.mark) for cursor in self._cursors}}


def check_states(states: dict[str, WorkerState], sources: Sequence[Source], num_workers: int) -> None:
    """ValueError if these are not the states of all logical workers of a run on these sources."""
    if sorted(map(int, states)) != list(range(num_workers)):
        raise ValueError(
            f"the data's state is of {len(states)} logical workers, not of {num_workers}: keep the option logical-workers"
        )
    there = {source.id for source in sources}
    for state in states.values():
        if set(state["sources"]) != there:
            changed = ", ".join(source.where for source in sources if source.id not in state["sources"])
            raise ValueError(
                "the data are not those of the checkpoint"
                + (f" (new or changed: {changed})" if changed else " (some are missing)")
                + ": give back what the run was started with, or start another run"
            )
