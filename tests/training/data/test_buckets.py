import itertools
from collections import Counter

import pytest

from training.data.buckets import Buckets, Dealing


class Numbers:
    """A worker whose clips are numbers, some of them short and some long."""

    def __init__(self, number: int = 0, num_clips: int = 0):
        self.number, self.num_clips, self.ahead = number, num_clips, num_clips

    def schedule(self, num_ahead: int) -> None:
        self.ahead = max(self.ahead, self.num_clips + num_ahead)

    def take(self, quarantine) -> tuple[int, int]:
        assert self.num_clips < self.ahead
        self.num_clips += 1
        return self.num_clips - 1, (self.num_clips * 37 + self.number) % 101

    def state(self) -> dict:
        return {"clips": self.num_clips, "sources": {}}


def length(clip: tuple[int, int]) -> int:
    return clip[1]


def dealing(num_steps: int, seed: int = 0) -> Dealing:
    return Dealing(seed, clips_per_step=4, prefetch_steps=2, num_steps=num_steps, length=length)


def taken(buckets: Buckets, count: int) -> list[list[tuple[int, int]]]:
    return [buckets.take(None) for _ in range(count)]


def test_a_step_alone_gives_the_clips_as_they_come():
    steps = taken(Buckets(Numbers(), Dealing(0, 4, 2)), 3)
    assert [[number for number, _ in step] for step in steps] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_clips_of_like_length_come_together_and_every_clip_once():
    steps = taken(Buckets(Numbers(), dealing(8)), 16)
    for turn in (steps[:8], steps[8:]):
        ranges = sorted((min(map(length, step)), max(map(length, step))) for step in turn)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(ranges))
    assert Counter(number for step in steps for number, _ in step) == Counter(range(64))


def test_all_workers_give_their_short_clips_to_the_same_steps_in_an_order_of_the_seed():
    def order(number: int, seed: int) -> list[int]:
        means = [sum(map(length, step)) for step in taken(Buckets(Numbers(number), dealing(8, seed)), 8)]
        return sorted(range(8), key=means.__getitem__)

    assert order(0, 0) == order(3, 0)
    assert len({tuple(order(0, seed)) for seed in range(4)}) > 1
    steps = taken(Buckets(Numbers(), dealing(8)), 24)
    firsts = [[min(map(length, step)) for step in steps[first : first + 8]] for first in (0, 8, 16)]
    assert len({tuple(sorted(range(8), key=turn.__getitem__)) for turn in firsts}) > 1


@pytest.mark.parametrize("done", range(17))
def test_a_worker_goes_on_from_any_step(done):
    whole = taken(Buckets(Numbers(), dealing(8)), 24)
    first = Buckets(Numbers(), dealing(8))
    taken(first, done)
    state = first.state()
    again = Buckets(Numbers(num_clips=state["clips"]), dealing(8), state.get("given", 0))
    assert taken(again, 24 - done) == whole[done:]
    assert again.state() == {"clips": 96, "sources": {}}


def test_what_is_read_ahead_is_bounded_and_enough():
    numbers = Numbers()
    buckets = Buckets(numbers, dealing(8))
    for _ in range(32):
        buckets.take(None)
        assert 8 <= numbers.ahead - numbers.num_clips <= 32 + 8
