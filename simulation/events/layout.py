"""When the sounds of a scene begin, before an edit and after it: integers only, no audio."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulation.seeds import integer

Span = tuple[int, int]
"""First sample and the one past the last."""

GAP_S = 0.2  # between sounds in sequence: an order is heard from some 0.02 s on (Hirsh, JASA 31, 1959), a pause from 0.1 s on
SNUG_S = 0.5  # silence at most before a sound "at the beginning" and after one "at the end"
STEPS_PER_S = 10  # times that an instruction names are whole steps


@dataclass(frozen=True)
class Frame:
    """The time line: its length, and the steps and gaps on it, in samples."""

    num_samples: int
    sample_rate_hz: int

    def samples(self, seconds: float) -> int:
        return round(seconds * self.sample_rate_hz)

    def on_step(self, number: int) -> int:
        """The sample at so many steps."""
        return round(number * self.sample_rate_hz / STEPS_PER_S)

    def steps(self, num_samples: int) -> int:
        """Whole steps in so many samples."""
        return num_samples * STEPS_PER_S // self.sample_rate_hz

    def longest_s(self, num_slots: int) -> float:
        """What sounds in sequence may last so that this many fit, with a step to spare for each."""
        room = self.num_samples / self.sample_rate_hz - (num_slots - 1) * GAP_S
        return math.floor(1000 * (room / num_slots - 1 / STEPS_PER_S)) / 1000 - 0.001  # resampling may round each up


@dataclass(frozen=True)
class Slot:
    """A stretch of the sequence that sound number `sound` has, before the edit, after it, or both."""

    sound: int
    length: int
    before: bool = True
    after: bool = True


def in_sequence(
    generator: np.random.Generator, lengths: Sequence[int], frame: Frame, snug: tuple[bool, bool] = (False, False)
) -> list[int]:
    """Starts of sounds of these lengths one after another, at even odds among all such layouts; `snug` asks for little silence
    before the first, or after the last. They must fit."""
    gap, little = frame.samples(GAP_S), frame.samples(SNUG_S)
    slack = frame.num_samples - sum(lengths) - gap * (len(lengths) - 1)
    assert slack >= 0, (lengths, frame)
    shifts = sorted(integer(generator, (0, slack)) for _ in lengths)
    if snug[0]:
        shifts[0] = min(shifts[0], integer(generator, (0, little)))
    if snug[1]:
        shifts[-1] = max(shifts[-1], slack - integer(generator, (0, min(little, slack))))
    starts, at = [], 0
    for shift, length in zip(shifts, lengths, strict=True):
        starts.append(at + shift)
        at += length + gap
    return starts


def edited_sequence(
    kind: str, lengths: Sequence[tuple[int, int]], frame: Frame, generator: np.random.Generator
) -> list[tuple[Span | None, Span | None]]:
    """Spans before and after an edit of this kind (instructions.KINDS) of sound 0, all sounds in sequence on either side.
    `lengths` are those before and after; sound 1 is the other that the instruction names, or what takes the place."""
    slots = _slots(kind, lengths, frame, generator)
    snug = (kind in ("add_start", "move_first"), kind in ("add_end", "move_last"))
    starts = in_sequence(generator, [slot.length for slot in slots], frame, snug)
    before: list[int | None] = [None] * len(lengths)
    after: list[int | None] = [None] * len(lengths)
    for slot, start in zip(slots, starts, strict=True):
        if slot.before:
            before[slot.sound] = start
        if slot.after:
            after[slot.sound] = start
    if kind == "swap":
        after[0], after[1] = before[1], before[0]
    if kind == "replace":
        before[1], after[1], after[0] = None, before[0], None
    after[0] = _stepped(kind, before[0], after[0], frame)
    return [
        (_span(first, length[0]), _span(second, length[1]))
        for first, second, length in zip(before, after, lengths, strict=True)
    ]


def edited_overlap(
    kind: str, lengths: Sequence[tuple[int, int]], frame: Frame, generator: np.random.Generator
) -> list[tuple[Span | None, Span | None]]:
    """Likewise where sounds may lie anywhere and sound together; sound 0 is added, removed, replaced or changed in its level.
    What is added during sound 1 shares half of the shorter of the two at least."""
    starts = [integer(generator, (0, frame.num_samples - max(length))) for length in lengths]
    if kind == "add_during":
        (_, new), (_, other) = lengths[:2]
        shared = min(new, other) // 2
        latest = min(starts[1] + other - shared, frame.num_samples - new)
        starts[0] = integer(generator, (max(starts[1] - new + shared, 0), latest))
    if kind == "replace":
        starts[1] = starts[0] = min(starts[0], frame.num_samples - max(map(max, lengths[:2])))
    spans = [(_span(start, length[0]), _span(start, length[1])) for start, length in zip(starts, lengths, strict=True)]
    if kind == "add_time":
        starts[0] = frame.on_step(integer(generator, (1, max(frame.steps(frame.num_samples - lengths[0][1]), 1))))
    if kind.startswith("add"):
        spans[0] = (None, _span(starts[0], lengths[0][1]))
    elif kind == "remove":
        spans[0] = (spans[0][0], None)
    elif kind == "replace":
        spans[:2] = [(spans[0][0], None), (None, spans[1][1])]
    return spans


def merged(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Their union, in order."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return tuple(found)


def _slots(kind: str, lengths: Sequence[tuple[int, int]], frame: Frame, generator: np.random.Generator) -> list[Slot]:
    """The stretches of the sequence in order; a sound that moves has one where it is and one where it goes."""
    every = [Slot(number, max(length)) for number, length in enumerate(lengths)]
    new = Slot(0, lengths[0][1] + frame.on_step(1) + 1, before=False)
    if kind.startswith("add"):
        rest = _shuffled(every[1:], generator)
        rest.insert(_position(kind, rest, generator), new)
        return rest
    if kind == "replace":
        return _shuffled([Slot(0, max(every[0].length, every[1].length)), *every[2:]], generator)
    if kind == "remove":
        return _shuffled([Slot(0, every[0].length, after=False), *every[1:]], generator)
    if kind == "swap":
        length = max(every[0].length, every[1].length)
        return _shuffled([Slot(0, length), Slot(1, length), *every[2:]], generator)
    order = _shuffled(every, generator)
    if not kind.startswith(("move", "earlier", "later")):
        return order
    return _with_way(kind, [Slot(0, slot.length, after=False) if slot.sound == 0 else slot for slot in order], new, generator)


def _with_way(kind: str, order: list[Slot], new: Slot, generator: np.random.Generator) -> list[Slot]:
    """The order with a place for sound 0 to move to; it is on the other side of sound 1, or of some other, before."""
    forward = kind in ("move_before", "move_first") or kind.startswith("earlier")
    order = order if forward else order[::-1]  # the mirror image of a move forward
    own, other = _index(order, 0), _index(order, 1)
    if kind in ("move_before", "move_after"):
        if own < other:
            order[own], order[other] = order[other], order[own]
        at = _index(order, 1)
    else:
        if own == 0:
            far = integer(generator, (1, len(order) - 1))
            order[0], order[far] = order[far], order[0]
        at = 0 if kind in ("move_first", "move_last") else integer(generator, (0, _index(order, 0) - 1))
    order.insert(at, new)
    return order if forward else order[::-1]


def _position(kind: str, rest: Sequence[Slot], generator: np.random.Generator) -> int:
    """Where in the sequence of the others a new sound goes."""
    if kind in ("add_before", "add_after"):
        return _index(rest, 1) + (kind == "add_after")
    return {"add_start": 0, "add_end": len(rest)}.get(kind, integer(generator, (0, len(rest))))


def _stepped(kind: str, before: int | None, after: int | None, frame: Frame) -> int | None:
    """The start after the edit, moved by less than a step where the instruction names a time."""
    if kind == "add_time":
        return frame.on_step(max(-frame.steps(-after), 1))
    if kind == "earlier_by":
        return before - frame.on_step(frame.steps(before - after))
    if kind == "later_by":
        return before + frame.on_step(-frame.steps(before - after))
    return after


def _shuffled(slots: Sequence[Slot], generator: np.random.Generator) -> list[Slot]:
    return [slots[int(place)] for place in generator.permutation(len(slots))]


def _index(slots: Sequence[Slot], sound: int) -> int:
    return next(place for place, slot in enumerate(slots) if slot.sound == sound)


def _span(start: int | None, length: int) -> Span | None:
    return None if start is None else (start, start + length)
