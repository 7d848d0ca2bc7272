from pathlib import Path

import pytest

from training.step_metrics import export_save, export_step, running


def test_a_step_says_its_losses_its_speed_and_its_waiting(said):
    found = {"loss": 3.5, "valid/loss": 4.0, "skipped": 0.0, "learning_rate_share": 1.0, "tokens_per_s": 900.0, "mfu": 0.4}
    export_step(Path("/shared/lm-tiny"), 7, found, {"step_s": 0.5, "wait_s": 0.1})
    values = {(name, tags.get("name", "")): value for name, value, tags in said}
    assert values == {
        ("quarkline_train_step", ""): 7,
        ("quarkline_train_step_seconds", ""): 0.5,
        ("quarkline_train_wait_seconds_total", ""): 0.1,
        ("quarkline_train_loss", "loss"): 3.5,
        ("quarkline_train_loss", "valid/loss"): 4.0,
        ("quarkline_train_tokens_per_second", ""): 900.0,
        ("quarkline_train_mfu", ""): 0.4,
    }
    assert {tags["run"] for _, _, tags in said} == {"lm-tiny"}


def test_a_skipped_step_is_counted_and_nothing_that_is_not_finite_is_said(said):
    export_step(Path("r"), 8, {"skipped": 1.0, "loss": float("nan")}, {"step_s": 0.5, "wait_s": 0.0})
    assert {name for name, _, _ in said} == {
        "quarkline_train_step",
        "quarkline_train_step_seconds",
        "quarkline_train_skipped_steps_total",
    }


def test_checkpoints_are_observed_by_outcome_and_ranks_without_a_folder_are_silent(said):
    export_save(Path("r"), 1.5, True)
    export_save(Path("r"), 2.5, False)
    export_save(None, 2.5, True)
    export_step(None, 1, {"loss": 1.0}, {"step_s": 1.0, "wait_s": 0.0})
    assert [(value, tags["outcome"]) for _, value, tags in said] == [(1.5, "saved"), (2.5, "failed")]


def test_training_runs_until_it_ends_however_it_ends(said):
    with running(Path("/shared/lm-tiny")):
        assert said == [("quarkline_train_running", 1.0, {"run": "lm-tiny"})]
    assert said[1:] == [("quarkline_train_running", 0.0, {"run": "lm-tiny"})]
    with pytest.raises(KeyboardInterrupt), running(Path("r")):
        raise KeyboardInterrupt
    assert [value for _, value, _ in said] == [1.0, 0.0, 1.0, 0.0]
    with running(None):
        assert len(said) == 4
