"""The loop's laws, with a small real model, and that nothing of a run is lost wherever it is killed."""

import dataclasses
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import distributed as dist

from infra import tracking
from infra.storage import StorageError, open_store
from tests.training import toy_trainee
from tests.training.ranks import run_ranks
from tests.training.toy_trainee import Toy, checkpoints_of, train_toy
from training import budget
from training.budget import LoopConfig
from training.guard import Diverged
from training.launch import Resources, Worker, launch

ROOT = Path(__file__).parents[2]


def run(out, **values):
    return launch(train_toy, Toy(out=str(out), **values), Resources())


def curve(out):
    """All that is recorded but the times."""
    return [{name: value for name, value in line.items() if name != "time"} for line in tracking.read(out)]


def weights(out, **values):
    return checkpoints_of(Toy(out=str(out), **values)).newest()["model"]


def assert_equal_runs(out, other, **values):
    assert curve(out) == curve(other)
    expected, found = weights(other, **values), weights(out, **values)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    state = run(out, steps=30, validation_steps=5)
    assert state.step == 30 and [line["step"] for line in curve(out)] == list(range(31))
    return out


def test_it_learns(undisturbed):
    losses = [line["loss"] for line in curve(undisturbed)[1:]]
    assert sum(losses[-10:]) < sum(losses[:10]) / 2


@pytest.mark.parametrize("stops", [(10, 30), (1, 4, 5, 17, 30), (29, 30)])
def test_a_run_in_parts_is_the_run_in_one(undisturbed, tmp_path, stops):
    for steps in stops:
        assert run(tmp_path, steps=steps, validation_steps=5).step == steps
    assert_equal_runs(tmp_path, undisturbed)


def test_a_finished_run_takes_no_step_more(tmp_path):
    run(tmp_path, steps=3)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    state = run(tmp_path, steps=3)
    assert state.step == 3 and (tmp_path / "metrics.jsonl").read_bytes() == before


def test_steps_past_the_checkpoint_are_recorded_once(undisturbed, tmp_path):
    run(tmp_path, steps=30, validation_steps=5)
    store = open_store(f"{tmp_path}/checkpoints")
    store.put("step-00000030/model.safetensors", b"damaged")
    assert run(tmp_path, steps=30, validation_steps=5).step == 30  # from 28 again
    assert_equal_runs(tmp_path, undisturbed)


def test_prometheus_hears_that_it_runs_before_the_first_step_and_that_it_does_not_after_the_last(tmp_path, said):
    run(tmp_path / "whole", steps=3)
    with pytest.raises(Diverged):
        run(tmp_path / "broken", steps=12, nan_steps=(4, 5, 6))
    for name, steps in (("whole", 3), ("broken", 6)):
        found = [(metric, value) for metric, value, tags in said if tags["run"] == name]
        assert [metric for metric, _ in found].count("quarkline_train_step") == steps
        assert found[0] == ("quarkline_train_running", 1.0) and found[-1] == ("quarkline_train_running", 0.0)


def test_skipped_steps_change_nothing_and_their_clips_are_recorded(tmp_path):
    run(tmp_path, steps=6, nan_steps=(3, 4))
    lines = curve(tmp_path)
    assert [line.get("skipped", 0.0) for line in lines] == [0, 0, 1, 1, 0, 0]
    assert lines[2]["loss"] is None and lines[2]["skipped_keys"][:3] == ["w0-4", "w0-5", "w1-4"]
    assert all(math.isfinite(value) for tensor in weights(tmp_path).values() for value in tensor.flatten().tolist())


def test_too_many_skipped_steps_in_a_row_stop_the_run_and_name_the_clips(tmp_path):
    with pytest.raises(Diverged, match="3 steps in a row") as caught:
        run(tmp_path, steps=12, nan_steps=(4, 5, 6))
    assert "step 6: w0-10, w0-11, w1-10" in str(caught.value)
    assert len(curve(tmp_path)) == 6 and checkpoints_of(Toy(out=str(tmp_path))).newest().step == 4


def test_skipped_steps_before_a_resume_count(tmp_path):
    run(tmp_path, steps=4, nan_steps=(3, 4, 5))
    with pytest.raises(Diverged, match="3 steps in a row"):
        run(tmp_path, steps=12, nan_steps=(3, 4, 5))


def test_the_time_budget_is_that_of_all_restarts(tmp_path, monkeypatch):
    limited = dataclasses.replace  # the budget is the loop's, not the toy's
    real = toy_trainee.LoopConfig
    monkeypatch.setattr(toy_trainee, "LoopConfig", lambda **fields: limited(real(**fields), minutes=0.01))
    first = run(tmp_path, steps=10**6, checkpoint_steps=10**6, step_s=0.02)
    assert first.seconds >= 0.6 and 1 <= first.step <= 30
    assert run(tmp_path, steps=10**6, checkpoint_steps=10**6).step == first.step


def test_checkpoints_are_made_by_the_clock_too(tmp_path, monkeypatch):
    real = toy_trainee.LoopConfig
    monkeypatch.setattr(
        toy_trainee, "LoopConfig", lambda **fields: dataclasses.replace(real(**fields), checkpoint_minutes=1e-5)
    )
    run(tmp_path, steps=3, checkpoint_steps=10**6)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-00000002", "step-00000003"]


def test_another_seed_or_shape_in_the_same_folder_is_refused(tmp_path):
    run(tmp_path, steps=2)
    with pytest.raises(ValueError, match="seed was 0 and is now 1"):
        run(tmp_path, steps=4, seed=1)
    with pytest.raises(ValueError, match=r"model\.width was 8 and is now 9"):
        run(tmp_path, steps=4, width=9)
    assert len(curve(tmp_path)) == 2


def test_a_full_disk_at_a_save_leaves_the_training_as_it_was(undisturbed, tmp_path, caplog):
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", place]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no small disk: mounting is not allowed")
    try:
        (place / "big").write_bytes(bytes(2**20 - 8192))
        values = {"steps": 30, "validation_steps": 5, "checkpoints": str(place / "checkpoints")}
        with pytest.raises(StorageError, match="No space left on device; free some space"):
            run(tmp_path / "run", max_failed_saves=100, **values)  # the last one must succeed
        assert caplog.text.count("no checkpoint at step") == 7
        assert curve(tmp_path / "run") == curve(undisturbed)  # it went on as if nothing were
        (place / "big").unlink()
        run(tmp_path / "run", **values)
        assert curve(tmp_path / "run") == curve(undisturbed)
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def toy(out, **values):
    """The toy's command, running."""
    words = [sys.executable, "-m", "tests.training.toy_trainee", json.dumps({"out": str(out)} | values)]
    return subprocess.Popen(words, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for_step(out, step, process):
    while not any(line["step"] >= step for line in tracking.read(out)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.mark.slow
def test_killed_at_random_moments_and_rerun_the_curve_is_bit_equal(tmp_path):
    values = {"steps": 40, "checkpoint_steps": 2, "validation_steps": 7, "step_s": 0.02}
    with toy(tmp_path / "whole", **values) as whole:
        assert whole.wait() == 0, whole.stderr.read()
    moments, kills = random.Random(0), 0
    while True:
        with toy(tmp_path / "killed", **values) as process:
            seen = len(tracking.read(tmp_path / "killed"))
            while process.poll() is None and len(tracking.read(tmp_path / "killed")) <= seen:
                time.sleep(0.005)
            try:
                assert process.wait(moments.uniform(0.0, 0.6)) == 0, process.stderr.read()
                break
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
    assert kills >= 2
    assert_equal_runs(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_saves_ends_with_a_code_of_its_own_and_loses_no_step(undisturbed, tmp_path, number, code):
    values = {"steps": 30, "checkpoint_steps": 1000, "validation_steps": 5}
    with toy(tmp_path, step_s=0.1, **values) as process:
        wait_for_step(tmp_path, 3, process)
        process.send_signal(number)
        _, errors = process.communicate()
    assert process.returncode == code, errors
    assert "goes on" in errors.splitlines()[-1] and "error:" not in errors
    stopped = checkpoints_of(Toy(out=str(tmp_path))).newest().step
    assert stopped == len(curve(tmp_path)) - 1 and 3 <= stopped < 30
    run(tmp_path, **values)
    assert_equal_runs(tmp_path, undisturbed)


def test_a_second_signal_ends_at_once(tmp_path):
    with toy(tmp_path, step_s=30.0) as process:
        while not (tmp_path / "metrics.jsonl").exists():
            time.sleep(0.01)
        time.sleep(0.3)
        began_s = time.monotonic()
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130 and time.monotonic() - began_s < 20


def test_no_process_is_left_with_the_lock(tmp_path):
    run(tmp_path, steps=1)
    assert os.listdir(tmp_path / "checkpoints") == ["step-00000001"]
    tracking.Tracker(tmp_path).close()


def minutes_on_skewed_clocks(out, fast_rank):
    """What each rank believes in the end, where one's clock has run through the minutes after its first step."""
    with pytest.MonkeyPatch.context() as patch:
        if dist.get_rank() == fast_rank:
            patch.setattr(budget, "time", SimpleNamespace(monotonic=lambda: 1e6 * time.monotonic()))
        state = train_toy(Toy(out=str(out), steps=1000, minutes=10.0), Worker(torch.device("cpu")))
    return state.step, state.seconds, state.is_finished(LoopConfig(minutes=10.0))


@pytest.mark.parametrize("fast_rank", [0, 1])
def test_ranks_whose_clocks_differ_agree_whether_the_minutes_are_over(tmp_path, fast_rank):
    first, second = run_ranks(minutes_on_skewed_clocks, 2, tmp_path / "ranks", tmp_path, fast_rank)
    assert first == second
    assert first[0] == 1 and first[2]
