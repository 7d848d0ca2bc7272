"""The tasks of the language model: which conditions each needs, and how long its target is."""

import difflib
from dataclasses import dataclass
from typing import Literal

Condition = Literal["text", "reference", "input"]
CONDITIONS: tuple[Condition, ...] = ("text", "reference", "input")  # in the order of a row


@dataclass(frozen=True)
class Task:
    """One task. An aligned target has exactly the frames of the input; a free one ends where the model says so."""

    needs: tuple[Condition, ...]
    length: Literal["aligned", "free"]
    guided: Condition  # what classifier-free guidance strengthens: the unconditional rows go without it
    may_have: tuple[Condition, ...] = ()
    num_targets: int = 1  # signals of the target, one after the other, each as long as the input


TASKS = {
    "sr": Task(("input",), "aligned", guided="input"),
    "tse": Task(("reference", "input"), "aligned", guided="reference"),
    "rtse": Task(("reference", "input"), "aligned", guided="reference"),
    "ss": Task(("input",), "aligned", guided="input", num_targets=2),  # both speakers; SS is also the chain of sr, tse, rtse
    "vc": Task(("reference", "input"), "aligned", guided="reference"),
    "aec": Task(("reference", "input"), "aligned", guided="reference"),  # reference: what the loudspeaker plays
    "lass": Task(("text", "input"), "aligned", guided="text"),
    "speech_edit": Task(("text", "input"), "free", guided="text"),
    "event_edit": Task(("text", "input"), "free", guided="text"),
    "tta": Task(("text",), "free", guided="text", may_have=("reference",)),  # reference: the voice of spoken text
}


def task(name: str) -> Task:
    """The task of this name. ValueError with the nearest name for an unknown one."""
    if name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, n=1)
        raise ValueError(f"no task {name!r}: " + (f"did you mean {near[0]!r}?" if near else f"there are {', '.join(TASKS)}"))
    return TASKS[name]


def check_conditions(name: str, given: set[str]) -> None:
    """ValueError if a condition that the task needs is missing, or one is given that it has no use for."""
    of_task = task(name)
    missing = [condition for condition in of_task.needs if condition not in given]
    if missing:
        raise ValueError(f"task {name}: {' and '.join(missing)} missing; it needs {' and '.join(of_task.needs)}")
    useless = sorted(given - {*of_task.needs, *of_task.may_have})
    if useless:
        raise ValueError(
            f"task {name} has no use for {' and '.join(useless)}; it takes {', '.join(of_task.needs + of_task.may_have)}"
        )


def frame_limit(name: str, num_input_frames: int, max_frames: int) -> int:
    """Frames of the target: exactly so many for an aligned task, at most so many for a free one. ValueError if over the cap."""
    of_task = task(name)
    if of_task.length == "free":
        return max_frames
    num_frames = num_input_frames * of_task.num_targets
    if not 0 < num_frames <= max_frames:
        raise ValueError(
            f"task {name}: a target of {num_frames} frames; allowed are 1 to {max_frames}: cut the input into chunks"
        )
    return num_frames
