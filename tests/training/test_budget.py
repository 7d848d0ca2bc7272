import pytest

from training import budget
from training.budget import Clock, LoopConfig, State


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"checkpoint_steps": 0}, {"validation_steps": -1}, {"max_skipped": 0}, {"minutes": 0.0}]
)
def test_a_budget_that_cannot_be_is_refused_with_its_name(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=rf"{name.replace('_', '-')} is {wrong[name]}: give"):
        LoopConfig(**wrong)


def test_a_run_is_finished_by_steps_or_by_the_time_of_all_restarts():
    assert not State(step=9).is_finished(LoopConfig(steps=10))
    assert State(step=10).is_finished(LoopConfig(steps=10))
    assert not State(step=1, seconds=59).is_finished(LoopConfig(minutes=1))
    assert State(step=1, seconds=60).is_finished(LoopConfig(minutes=1))


def test_what_is_due_by_count_and_by_the_clock(monkeypatch):
    now_s = [50.0]
    monkeypatch.setattr(budget.time, "monotonic", lambda: now_s[0])
    clock = Clock(LoopConfig(checkpoint_steps=10, checkpoint_minutes=1.0, validation_steps=4), State(seconds=100.0))
    assert clock.seconds() == 100.0
    assert clock.due(10) == (True, False) and clock.due(11) == (False, False)
    assert [step for step in range(9) if clock.validation_is_due(step)] == [0, 4, 8]
    now_s[0] += 6
    assert clock.due(11) == (False, True) and clock.seconds() == 106.0
    clock.beaten()
    assert clock.due(11) == (False, False)
    now_s[0] += 55
    assert clock.due(11)[0]
    clock.saved()
    assert not clock.due(11)[0]


def test_without_an_interval_nothing_is_validated():
    assert not Clock(LoopConfig(validation_steps=0), State()).validation_is_due(0)
