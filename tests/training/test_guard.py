"""What ranks decide together: in this process, and on real gloo ranks."""

import re
from datetime import timedelta
from types import SimpleNamespace

import pytest
from torch import distributed as dist

from infra.storage import StorageError
from tests.training.ranks import run_ranks
from training.guard import Diverged, SkipGuard, agreed, gathered, longest, on_first_rank


def batch(*keys):
    return SimpleNamespace(keys=keys)


def test_after_so_many_skipped_steps_in_a_row_the_error_names_their_clips():
    guard = SkipGuard(limit=2)
    assert guard.watch(1, True, [batch("a", "b"), batch("c")]) == {"skipped_keys": ["a", "b", "c"]}
    guard.check()
    guard.watch(2, True, [batch("d")])
    with pytest.raises(Diverged, match=re.escape("2 steps in a row")) as caught:
        guard.check()
    assert "  step 1: a, b, c\n  step 2: d" in str(caught.value) and caught.value.exit_code == 6


def test_a_step_that_counts_clears_the_row():
    guard = SkipGuard(limit=2)
    for step in range(10):
        assert bool(guard.watch(step, step % 2 == 0, [batch("a")])) == (step % 2 == 0)
        guard.check()


def test_a_resumed_guard_goes_on_counting():
    guard = SkipGuard(limit=3, in_a_row=2)
    guard.watch(8, True, [batch("a")])
    with pytest.raises(Diverged, match="3 steps in a row"):
        guard.check()


def test_many_keys_are_shortened():
    guard = SkipGuard(limit=1)
    guard.watch(1, True, [batch(*(f"k{i}" for i in range(50)))])
    with pytest.raises(Diverged, match=r"k19 and 30 more$"):
        guard.check()


def test_alone_everything_is_agreed():
    assert agreed(True, False) == [True, False] and gathered("a") == ["a"] and on_first_rank(lambda: 7) == 7
    assert longest(1.5) == 1.5 and on_first_rank(lambda: 7, timedelta(days=1)) == 7
    with pytest.raises(StorageError, match="full"):
        on_first_rank(lambda: (_ for _ in ()).throw(StorageError(28, "full")))


def decided():
    """What a rank finds of each kind of decision."""
    rank, found = dist.get_rank(), []
    found += [agreed(rank == 1, False, True), gathered({"rank": rank}), on_first_rank(lambda: f"made by {rank}")]
    found.append(SkipGuard(2).watch(1, True, [batch(f"clip-{rank}")]))
    with pytest.raises(StorageError) as caught:
        on_first_rank(lambda: (_ for _ in ()).throw(StorageError(28, f"full, says {rank}")))
    found.append([caught.value.errno, caught.value.strerror])
    return [*found, longest(0.1 + rank), on_first_rank(lambda: f"slowly by {rank}", timedelta(minutes=1))]


@pytest.mark.slow
def test_on_two_ranks_both_decide_and_fail_alike(tmp_path):
    first, second = run_ranks(decided, 2, tmp_path)
    assert first == second
    keys = {"skipped_keys": ["clip-0", "clip-1"]}
    assert first == [
        [True, False, True],
        [{"rank": 0}, {"rank": 1}],
        "made by 0",
        keys,
        [28, "full, says 0"],
        1.1,
        "slowly by 0",
    ]
