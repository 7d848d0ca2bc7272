"""One process, and the processes of torchrun: the same run, killed and continued, on other numbers of ranks too."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from tests.training import lm_ranks
from tests.training.ranks import run_ranks
from tests.training.test_loop import curve, run, weights
from tests.training.toy_trainee import Toy, train_toy
from training.collective import end_group
from training.launch import Resources, Worker, joined, launch, require_absolute

ROOT = Path(__file__).parents[2]
VALUES = {"steps": 12, "checkpoint_steps": 4}


def torchrun(out, ranks=2, **values):
    """The toy's command on so many ranks, running."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks), "--master-port", "0"]
    words = [*launcher, "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "-m", "tests.training.toy_trainee"]
    return subprocess.Popen(
        [*words, json.dumps({"out": str(out)} | VALUES | values)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def finished(process):
    output, errors = process.communicate()
    return process.returncode, output + errors


@pytest.fixture
def no_group():
    """What other tests of this process may have left is gone."""
    if dist.is_initialized():
        end_group()


def test_a_group_that_is_there_is_used_and_left(no_group):
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    assert launch(lambda config, worker: worker.world_size, None, Resources()) == 1
    assert dist.is_initialized()
    end_group()


def test_in_this_process_there_is_a_group_of_one_and_it_is_gone_after(no_group):
    def train(config, worker: Worker):
        total = torch.ones(1)
        dist.all_reduce(total)
        assert not worker.is_stopping() and not worker.heartbeat({})
        return config, worker.rank, worker.world_size, worker.device.type, total.item()

    assert launch(train, "config", Resources()) == ("config", 0, 1, "cpu", 1.0)
    assert not dist.is_initialized() and "TORCH_EXTENSIONS_DIR" in os.environ


def test_one_process_can_train_again_with_deepspeed(no_group):
    def train(config, worker):
        return lm_ranks.run(lm_ranks.trainee(lm_ranks.training()), range(1))[0]["loss"]

    assert launch(train, None, Resources()) == launch(train, None, Resources())


def test_what_the_train_function_raises_comes_through_and_the_group_is_gone(no_group):
    def train(config, worker):
        raise ValueError("no such corpus")

    with pytest.raises(ValueError, match="no such corpus"):
        launch(train, None, Resources())
    assert not dist.is_initialized()


@pytest.mark.parametrize("wrong", [{"workers": -1}, {"max_failures": -1}, {"cpus_per_worker": 0}])
def test_resources_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=rf"--{next(iter(wrong)).replace('_', '-')} is"):
        Resources(**wrong)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said_before_anything_starts():
    with pytest.raises(ValueError, match="--gpu, but torch finds none here"):
        launch(lambda config, worker: None, None, Resources(gpu=True))


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    out = tmp_path_factory.mktemp("two")
    code, output = finished(torchrun(out))
    assert code == 0, output
    return out


@pytest.mark.slow
def test_two_ranks_of_torchrun_record_each_step_once(two_ranks):
    assert [line["step"] for line in curve(two_ranks)] == list(range(1, 13))


@pytest.mark.slow
def test_a_killed_rank_and_a_rerun_give_the_same_curve(two_ranks, tmp_path):
    code, output = finished(torchrun(tmp_path, kill=[1, 7]))
    assert code != 0 and len(curve(tmp_path)) == 6, output
    code, output = finished(torchrun(tmp_path, kill=[1, 7]))
    assert code == 0, output
    assert curve(tmp_path) == curve(two_ranks)
    assert all(torch.equal(value, weights(two_ranks)[name]) for name, value in weights(tmp_path).items())


@pytest.mark.slow
def test_a_signal_to_one_rank_stops_all_at_the_same_step(two_ranks, tmp_path):
    process = torchrun(tmp_path, step_s=0.3)
    while len(curve(tmp_path)) < 2:
        assert process.poll() is None, finished(process)
        time.sleep(0.01)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True).stdout.split()
    os.kill(int(children[-1]), signal.SIGTERM)  # rank 1's node is taken away
    code, output = finished(process)
    assert code != 0 and "stopped at step" in output
    assert len(list((tmp_path / "checkpoints").iterdir())) >= 1
    assert run_ranks(trained, 2, tmp_path / "ranks", Toy(out=str(tmp_path), **VALUES)) == [12, 12]
    assert curve(tmp_path) == curve(two_ranks)


def trained(config):
    return train_toy(config, Worker(torch.device("cpu"))).step


@pytest.mark.slow
def test_another_number_of_ranks_goes_on_from_the_same_weights_and_the_next_clips(tmp_path):
    """Without dropout the joined batch is the same, so that the curve is, too, but for the order of sums."""
    for ranks, steps in ((1, 4), (2, 8)):
        run_ranks(trained, ranks, tmp_path / str(ranks), Toy(out=str(tmp_path / "mixed"), dropout=0.0, steps=steps))
    run(tmp_path / "mixed", **VALUES | {"dropout": 0.0})
    run(tmp_path / "alone", **VALUES | {"dropout": 0.0})
    mixed, alone = curve(tmp_path / "mixed"), curve(tmp_path / "alone")
    assert [line["step"] for line in mixed] == list(range(1, 13))
    assert [line["loss"] for line in mixed] == pytest.approx([line["loss"] for line in alone], rel=1e-5)


@pytest.mark.slow
def test_a_mistake_found_on_one_rank_ends_the_run_with_its_message(tmp_path):
    code, output = finished(torchrun(tmp_path, mistake="no such teacher"))
    assert code != 0 and "error: no such teacher" in output


def test_only_the_ranks_of_torchrun_are_joined_before_the_launch_which_uses_their_group(no_group, monkeypatch):
    with joined(Resources()):
        assert not dist.is_initialized()
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    with joined(Resources()):
        assert launch(lambda config, worker: worker.world_size, None, Resources()) == 1
        assert dist.is_initialized()
    assert not dist.is_initialized()


def test_on_a_cluster_the_folder_of_a_run_is_absolute(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    require_absolute("runs/a", Resources(workers=2))
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    require_absolute("runs/a", Resources())  # without Ray
    require_absolute(str(tmp_path), Resources(workers=2))
    for out, given in (("runs/a", "--out runs/a"), ("", "no --out")):
        with pytest.raises(ValueError, match=f"{given}, and RAY_ADDRESS is set: give the absolute path"):
            require_absolute(out, Resources(workers=2))
