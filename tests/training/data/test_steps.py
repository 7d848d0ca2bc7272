"""What holds for any clips and batches; that it holds for crops and tokens say test_stream.py and test_token_stream.py."""

import threading
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import pytest

from infra.command_line import TooManyRejects
from training.data.config import ReadingConfig
from training.data.quarantine import Rejected
from training.data.steps import Batching, Form, Steps
from training.data.windows import file_windows
from training.keys import generator

BATCHING = Batching(seed=0, sample_rate_hz=1, batch_size=8, micro_batch_size=2)


@dataclass(frozen=True)
class Weights:
    number: float = 1.0


@dataclass(frozen=True)
class Config(ReadingConfig):
    weights: Weights = field(default_factory=Weights)
    logical_workers: int = 4


class Numbers:
    """A source whose clips are their own numbers."""

    id, where, domain, num_clips = "numbers", "nowhere", "number", 40

    def windows(self, order):
        return file_windows(self.num_clips, order)

    def fetch(self, clips: np.ndarray) -> dict:
        return {clip: clip for clip in clips.tolist()}


def decode(found: int, parts: tuple) -> SimpleNamespace:
    if found % 10 == 3:
        raise Rejected("undecodable", "a three", file=str(found))
    return SimpleNamespace(number=found, length=int(generator(*parts[:2], parts[3], "length").integers(100)))


def batch(clips) -> list[tuple[int, int]]:
    return [(clip.number, clip.length) for clip in clips]


FORM = Form(decode, batch)
SORTED = Form(decode, batch, lambda clip: clip.length, 4)
CONFIG = Config(max_reject_share=0.5)


def taken(form: Form, count: int, batching: Batching = BATCHING, **options) -> tuple[list, dict]:
    with Steps([Numbers()], CONFIG, batching, form, **options) as steps:
        found = [next(steps) for _ in range(count)]
    return [batches for batches, _ in found], found[-1][1]


def joined(form: Form, count: int, world_size: int, **options) -> tuple[list[list], dict]:
    ranks = [taken(form, count, replace(BATCHING, rank=rank, world_size=world_size), **options) for rank in range(world_size)]
    clips = [sorted(clip for batches, _ in ranks for micro in batches[step] for clip in micro) for step in range(count)]
    return clips, {number: state for _, states in ranks for number, state in states.items()}


@pytest.mark.parametrize("form", [FORM, SORTED])
@pytest.mark.parametrize("done", [1, 4, 7])
def test_steps_are_the_same_on_any_number_of_ranks_and_after_any_restart(form, done):
    whole, last = joined(form, 11, 1)
    first, state = joined(form, done, 4)
    assert first == whole[:done]
    assert joined(form, 11 - done, 2, state=state) == (whole[done:], last)


def test_sorted_clips_of_a_step_are_alike_and_micro_batches_in_order():
    batches, _ = taken(SORTED, 8)
    for micro in batches:
        lengths = [length for clips in micro for _, length in clips]
        assert lengths == sorted(lengths)

    def spread(form):
        steps = [[length for micro in batches for _, length in micro] for batches in taken(form, 16)[0]]
        return np.mean([max(step) - min(step) for step in steps])

    assert spread(SORTED) < 0.7 * spread(FORM)


def test_what_cannot_serve_is_replaced_and_too_much_of_it_ends_the_threads():
    batches, _ = taken(FORM, 10)
    numbers = {number for step in batches for micro in step for number, _ in micro}
    assert numbers == {number for number in range(40) if number % 10 != 3}
    steps = Steps([Numbers()], replace(CONFIG, max_reject_share=0.05), BATCHING, FORM)
    with pytest.raises(TooManyRejects, match="3 of 40 clips cannot serve"):
        for _ in range(10):
            next(steps)
    assert not {thread.name for thread in threading.enumerate() if thread.name.startswith(("fetch", "decode", "assemble"))}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 6}, r"batch size 6: give a multiple of --clips.logical-workers, which is 4"),
        ({"world_size": 3}, r"3 ranks do not divide --clips.logical-workers, which is 4"),
        ({"micro_batch_size": 3}, "micro-batch size 3 does not divide the 8 clips of a rank"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Steps([Numbers()], CONFIG, replace(BATCHING, **changes), FORM)
