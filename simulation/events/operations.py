"""What is to be done with a sound of a recording: the operation, how it is put, and by how much."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from simulation.descriptions.distinct import pick
from simulation.seeds import Rng, chance, integer

Operation = Literal["add", "remove", "replace", "reorder", "louder", "quieter", "faster", "slower"]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)
SLIGHT_DB, STRONG_DB = 5, 9  # "a little" up to the one, "much" from the other on
SLIGHT_SPEED, STRONG_SPEED = 1.3, 1.7
STEP_PERCENT = 5

# Kinds of instructions: where the sounds come in sequence, and where they may sound together.
ADDED_IN_SEQUENCE = ("add", "add_start", "add_end", "add_before", "add_after", "add_time")
ADDED = ("add", "add_during", "add_time")
MOVED = ("move_before", "move_after", "move_first", "move_last", "swap", "earlier", "later", "earlier_by", "later_by")


@dataclass(frozen=True)
class Edit:
    """What is done: how it is put (a kind of instructions), by how much, and the words for that."""

    operation: Operation
    kind: str
    in_sequence: bool
    """No two sounds together, before or after."""
    gain_db: float = 0.0
    speed: float = 1.0
    words: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class OperationRange:
    """How often each operation is drawn, relative to the others, and how far the gradual ones go; all ours."""

    add: float = 0.2
    remove: float = 0.2
    replace: float = 0.15
    reorder: float = 0.15
    louder: float = 0.075
    quieter: float = 0.075
    faster: float = 0.075
    slower: float = 0.075
    louder_db: tuple[int, int] = (4, 12)
    quieter_db: tuple[int, int] = (4, 10)
    faster_percent: tuple[int, int] = (125, 200)
    """Of the speed before, in steps of 5."""
    slower_percent: tuple[int, int] = (50, 80)
    sequence_probability: float = 0.5
    """Of sounds one after another where they may sound together, too: order and speed are edited in sequences only."""

    def __post_init__(self):
        shares = self.shares()
        if min(shares.values()) < 0 or not sum(shares.values()):
            raise ValueError(f"operations: shares are {shares}: none below 0, at least one above")
        for name in ("louder_db", "quieter_db"):
            low, high = getattr(self, name)
            if not 1 <= low <= high:
                raise ValueError(f"operations: {name} is {(low, high)}: at least 1, and the second not below the first")
        for name, (least, most) in {"faster_percent": (105, 200), "slower_percent": (50, 95)}.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= most or -(-low // STEP_PERCENT) > high // STEP_PERCENT:
                raise ValueError(
                    f"operations: {name} is {(low, high)}: {least} to {most}, with a multiple of 5 between the two"
                )

    def shares(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in OPERATIONS}

    def draw(self, rng: Rng) -> Edit:
        """An edit: "by 6 dB", "a little" or "much", or without saying how much."""
        generator, operation = rng("edit"), pick(rng("operation"), self.shares())
        in_sequence = operation in ("reorder", "faster", "slower") or chance(generator, self.sequence_probability)
        if operation in ("louder", "quieter"):
            return self._level(operation, in_sequence, generator)
        if operation in ("faster", "slower"):
            return self._speed(operation, generator)
        kinds = {"add": ADDED_IN_SEQUENCE if in_sequence else ADDED, "reorder": MOVED}.get(operation, (operation,))
        return Edit(operation, kinds[integer(generator, (0, len(kinds) - 1))], in_sequence)

    def _level(self, operation: Operation, in_sequence: bool, generator: np.random.Generator) -> Edit:
        decibels = integer(generator, self.louder_db if operation == "louder" else self.quieter_db)
        kind = _graded(operation, decibels <= SLIGHT_DB, decibels >= STRONG_DB, generator)
        words = {"decibels": str(decibels)}
        return Edit(operation, kind, in_sequence, float(decibels if operation == "louder" else -decibels), words=words)

    def _speed(self, operation: Operation, generator: np.random.Generator) -> Edit:
        low, high = self.faster_percent if operation == "faster" else self.slower_percent
        percent = STEP_PERCENT * integer(generator, (-(-low // STEP_PERCENT), high // STEP_PERCENT))
        change = max(percent, 10000 / percent) / 100
        kind = _graded(operation, change <= SLIGHT_SPEED, change >= STRONG_SPEED, generator)
        words = {"percent": str(percent), "times": f"{percent / 100:g}"}
        return Edit(operation, kind, True, speed=percent / 100, words=words)


def _graded(operation: Operation, slight: bool, strong: bool, generator: np.random.Generator) -> str:
    """Said by how much, by a little or much where it is so, or not said: a third each."""
    graded = "_slightly" if slight else "_much" if strong else ""
    return operation + ("_by", graded, "")[integer(generator, (0, 2))]
