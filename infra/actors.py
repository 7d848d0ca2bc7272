"""A crew of Ray actors: each item of work goes to one that is alive and free, and one that has died for good is replaced."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from infra import cluster

TRIES = 2  # of an item whose actor died for good: the actor may have been lost for another reason
FEWEST_DEATHS = 8  # in a row, beside two of each actor: so many, with nothing done between them, are not the items' fault


@dataclass(frozen=True)
class Resources:
    """What the actors run on."""

    workers: int | None = None
    """CPUs of this machine to use, all if not given. A cluster (RAY_ADDRESS) brings its own."""
    gpus_per_worker: float = 0.0
    """GPUs of each actor; fractions share one. 0 works on the CPU."""
    max_workers: int | None = None
    """Actors on a cluster (RAY_ADDRESS) that grows with the work: those that have no room yet wait for nodes. If not given,
    as many as there is room for at the start."""

    def __post_init__(self) -> None:
        if self.gpus_per_worker < 0 or any(count is not None and count < 1 for count in (self.workers, self.max_workers)):
            raise ValueError("--gpus-per-worker must be 0 or more, --workers and --max-workers 1 or more")

    @property
    def device(self) -> str:
        """Where an actor computes: Ray does not hide a machine's GPUs from one that asked for none."""
        return "cuda" if self.gpus_per_worker else "cpu"

    def count(self, most: int) -> int:
        """How many of at most `most` actors to start on the connected Ray. ValueError where there are no such GPUs."""
        if self.max_workers and cluster.joined():
            return min(most, self.max_workers)
        there, gpus = ray.cluster_resources(), self.gpus_per_worker
        if not gpus:
            if there.get("GPU", 0):
                print("Ray has GPUs, and the work is done on CPUs: --gpus-per-worker 1 uses them")
            return min(most, max(1, int(there.get("CPU", 0))))  # no CPU yet where a cluster grows from zero
        room = int(there.get("GPU", 0) // gpus)
        if not room:
            remedy = "use 0 for CPUs" + ", or say with --max-workers how far this cluster may grow" * cluster.joined()
            raise ValueError(f"--gpus-per-worker {gpus}: Ray has {there.get('GPU', 0):g} GPUs here; {remedy}")
        return min(most, room)


class ActorsLost(RayError):
    """An item was not worked on to its end, as the actors that had it, or all of them, have died."""


class Crew:
    """`count` actors that `start` makes; those that wait for a node get no work before they live. They end with the `with`."""

    def __init__(self, start: Callable[[], Any], count: int):
        self._start = start
        self._free: list = []
        self._coming: dict[ray.ObjectRef, Any] = {}  # actors, by what is there as soon as they live
        self._busy: dict[ray.ObjectRef, tuple[Any, Any, int]] = {}  # actor, item, number of its try
        self._deaths, self._most_deaths = 0, FEWEST_DEATHS + 2 * count
        self._last_words = ""
        for _ in range(count):
            self._hire()

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *_) -> None:
        for actor in (*self._free, *self._coming.values(), *(actor for actor, _, _ in self._busy.values())):
            ray.kill(actor)

    def work(self, method: str, items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """(item, what the method makes of it) in the order they finish; a RayError where it failed, `said` tells why.

        An item whose actor has died for good is tried once more, by another and after all others. Once all have died and
        their successors, too, each item that is left fails.
        """
        fresh, again = iter(items), deque()
        while True:
            while self._free and (taken := _take(fresh, again)):
                item, tries = taken
                actor = self._free.pop()
                self._busy[getattr(actor, method).remote(item)] = actor, item, tries
            if not self._busy and not self._coming and not self._free:
                while taken := _take(fresh, again):
                    yield taken[0], ActorsLost(f"{self._deaths} actors died one after the other: {self._last_words}")
            if not self._busy and (self._free or not self._coming):
                return
            (reference,), _ = ray.wait([*self._coming, *self._busy], num_returns=1)
            if reference in self._coming:
                self._arrived(reference)
            else:
                yield from self._finished(reference, again)

    def _hire(self) -> None:
        actor = self._start()
        self._coming[actor.__ray_ready__.remote()] = actor

    def _arrived(self, reference: ray.ObjectRef) -> None:
        actor, result = self._coming.pop(reference), _result(reference)
        if isinstance(result, RayError):
            self._replace(actor, result)
        else:
            self._free.append(actor)

    def _finished(self, reference: ray.ObjectRef, again: deque) -> Iterator[tuple[Any, Any]]:
        result = _result(reference)
        actor, item, tries = self._busy.pop(reference)
        if not isinstance(result, RayError) or isinstance(result, RayTaskError):  # its own exception: the actor lives
            self._deaths = 0
            self._free.append(actor)
            yield item, result
            return
        self._replace(actor, result)
        if tries < TRIES:
            again.append((item, tries + 1))
        else:
            yield item, ActorsLost(f"{tries} actors died with it, restarted ones too: {self._last_words}")

    def _replace(self, actor: Any, error: RayError) -> None:
        ray.kill(actor)  # it may only be out of reach
        self._deaths += 1
        self._last_words = f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"
        if self._deaths <= self._most_deaths:
            self._hire()


def _take(fresh: Iterator[Any], again: deque) -> tuple[Any, int] | None:
    """The next item and the number of its try."""
    for item in fresh:
        return item, 1
    return again.popleft() if again else None


def _result(reference: ray.ObjectRef) -> Any:
    try:
        return ray.get(reference)
    except RayError as error:
        return error


def said(error: RayError) -> str:
    """Kind and text of what failed, for one line of a report."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    return f"{type(cause).__name__}: {cause}"
