"""Ray: this machine's own, or the cluster that RAY_ADDRESS names."""

import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ray

REMEDY = "start that cluster, or unset RAY_ADDRESS to use this machine alone"
# Tasks in flight on a joined cluster, however small it is: an autoscaler adds nodes for tasks that wait, and a cluster that
# grows from zero has no CPU to count. It doubles from there on, as the tasks in flight follow its CPUs.
FEWEST_WAITING = 64
LOOK_S = 2.0  # between two looks at how large the cluster is now


def start(num_cpus: int | None = None) -> int:
    """Connect to RAY_ADDRESS, or start a Ray of this process's own; the number of its CPUs. ConnectionError if unreachable."""
    if not ray.is_initialized():
        address = os.environ.get("RAY_ADDRESS", "")
        if address and address != "auto":
            _probe(address)
        else:  # a private Ray that only this process can reach needs no token
            os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        options = {} if address else {"num_cpus": num_cpus, "include_dashboard": False}
        try:
            ray.init(address=address or "local", logging_level=logging.WARNING, **options)
        except Exception as error:  # Ray raises a bare one where its processes did not come up within 30 s
            ray.shutdown()
            if not address:
                raise ConnectionError(f"Ray did not start: {error}; rerun when this machine is less busy") from error
            raise ConnectionError(f"RAY_ADDRESS={address}: {error}; {REMEDY}") from error
    return int(ray.cluster_resources().get("CPU", 1))


def _probe(address: str) -> None:
    """Fail at once where nobody listens: Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise ConnectionError(f"RAY_ADDRESS={address}: {error}; {REMEDY}") from error


def joined() -> bool:
    """Whether the work runs on a cluster that others started and that may grow: this machine's own Ray stays as it is."""
    return bool(os.environ.get("RAY_ADDRESS"))


def in_flight() -> int:
    """Tasks of one CPU to have in flight on the cluster as it is now: each CPU has its next one waiting."""
    there = ray.cluster_resources().get("CPU", 0)  # no entry at all where nodes have yet to come
    return max(2 * int(there) + 2, FEWEST_WAITING if joined() else 0)


def bounded(
    submit: Callable[[Any], ray.ObjectRef], items: Iterable, limit: Callable[[], int] = in_flight
) -> Iterator[tuple[Any, ray.ObjectRef]]:
    """Submit items with at most `limit` in flight; (item, finished reference) in the order they finish, failed ones too.

    The limit is asked for again every LOOK_S seconds, so that nodes that come later get work.
    All that have finished are taken at once: a look at tens of thousands in flight costs as much for one as for all.
    """
    pending: dict[ray.ObjectRef, Any] = {}
    items = iter(items)
    exhausted = False
    most, looked = limit(), time.monotonic()
    while pending or not exhausted:
        if time.monotonic() - looked > LOOK_S:
            most, looked = limit(), time.monotonic()
        while len(pending) < most and not exhausted:
            item = next(items, StopIteration)
            if item is StopIteration:
                exhausted = True
            else:
                pending[submit(item)] = item
        for done in _finished(list(pending)):
            yield pending.pop(done), done


def _finished(references: list[ray.ObjectRef]) -> list[ray.ObjectRef]:
    """Those that have finished: waits for the first of them, and no longer than LOOK_S."""
    if not references:
        return []
    ray.wait(references, num_returns=1, timeout=LOOK_S)
    return ray.wait(references, num_returns=len(references), timeout=0)[0]
