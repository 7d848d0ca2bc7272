"""What ranks decide together, and when a run that learns nothing any more is stopped."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")
MAX_NAMED = 20  # keys in a message


class Diverged(ValueError):
    """Too many steps in a row were not finite: names their batches."""

    exit_code = 6


class SkipGuard:
    """Counts the skipped steps in a row and remembers what they were made of; a step that counts clears it."""

    def __init__(self, limit: int, in_a_row: int = 0):
        self.limit, self.in_a_row = limit, in_a_row
        self._keys: dict[int, list[str]] = {}

    def watch(self, step: int, skipped: bool, batches: Iterable[Any]) -> dict[str, list[str]]:
        """What to record of a skipped step: the keys of its clips on all ranks. Collective; `skipped` is the same on all."""
        if not skipped:
            self.in_a_row = 0
            self._keys.clear()
            return {}
        keys = [key for found in gathered([key for batch in batches for key in batch.keys]) for key in found]
        self.in_a_row += 1
        self._keys[step] = keys
        return {"skipped_keys": keys}

    def check(self) -> None:
        """Diverged if the limit is reached."""
        if self.in_a_row < self.limit:
            return
        named = "\n".join(f"  step {step}: {_some(keys)}" for step, keys in self._keys.items())
        raise Diverged(
            f"{self.in_a_row} steps in a row had a loss or gradient that is not finite; the weights are those before them."
            " Look at these clips; if they are sound, lower the learning rate or go back to an earlier checkpoint (remove the"
            f" later ones):\n{named}"
        )


def agreed(*flags: bool) -> list[bool]:
    """Each flag is true on all ranks if it is on any. Collective."""
    if world_size() == 1:
        return list(flags)
    flags_N = torch.tensor(flags, dtype=torch.int32)
    dist.all_reduce(flags_N, op=dist.ReduceOp.MAX)
    return [bool(flag) for flag in flags_N]


def longest(seconds: float) -> float:
    """The most that any rank's clock says, bit for bit the same on all. Collective."""
    if world_size() == 1:
        return seconds
    seconds_1 = torch.tensor([seconds], dtype=torch.float64)
    dist.all_reduce(seconds_1, op=dist.ReduceOp.MAX)
    return seconds_1.item()


def gathered(value: T) -> list[T]:
    """The plain value (strings, numbers, lists, dicts) of every rank, in their order. Collective."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def on_first_rank(make: Callable[[], T], patience: timedelta | None = None) -> T:
    """What rank 0 makes, on all ranks; its ValueError or OSError likewise. Collective.

    Give `patience` for what may take longer than any collective of a step should.
    """
    group = dist.new_group(backend="gloo", timeout=patience) if patience and world_size() > 1 else None
    made: list[Any] = [None, None]
    if rank() == 0:
        try:
            made[0] = make()
        except (ValueError, OSError) as error:
            made[1] = error
    if world_size() > 1:
        dist.broadcast_object_list(made, src=0, group=group)
    if group is not None:
        dist.destroy_process_group(group)
    if made[1] is not None:
        raise made[1]
    return made[0]


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def _some(keys: list[str]) -> str:
    more = len(keys) - MAX_NAMED
    return ", ".join(keys[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
