"""Ray Train places two ranks: the curve of other ranks, through a killed rank, a killed driver, and a signal."""

import signal

import pytest
import ray
import torch

from tests.training.ranks import run_ranks
from tests.training.test_launch import finished, trained
from tests.training.test_loop import curve, toy, wait_for_step
from tests.training.toy_trainee import Toy
from training import ray_launch
from training.launch import Resources

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
VALUES = {"steps": 12, "checkpoint_steps": 4, "workers": 2}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    go_on(out)
    return out


def go_on(out):
    """Two ranks that Ray has not placed."""
    assert run_ranks(trained, 2, out / "ranks", Toy(out=str(out), steps=12, checkpoint_steps=4)) == [12, 12]


def test_a_rank_killed_in_mid_run_is_started_again_and_the_curve_is_bit_equal(undisturbed, tmp_path):
    code, output = finished(toy(tmp_path, kill=[1, 7], **VALUES))
    assert code == 0 and "all are started again from the last checkpoint (start 2)" in output, output
    assert (tmp_path / "killed").exists() and curve(tmp_path) == curve(undisturbed)


def test_a_killed_driver_loses_no_step_and_other_ranks_go_on_from_its_checkpoint(undisturbed, tmp_path):
    process = toy(tmp_path, step_s=0.2, **VALUES)
    wait_for_step(tmp_path, 6, process)
    process.kill()
    process.communicate()
    go_on(tmp_path)
    assert curve(tmp_path) == curve(undisturbed)


def test_a_signal_to_the_driver_saves_on_all_ranks_and_loses_no_step(undisturbed, tmp_path):
    process = toy(tmp_path, step_s=1.0, **VALUES | {"checkpoint_steps": 1000})
    wait_for_step(tmp_path, 1, process)
    process.send_signal(signal.SIGTERM)
    code, output = finished(process)
    assert code == 75 and "goes on" in output, output
    done = len(curve(tmp_path))
    assert 1 <= done < 12 and (tmp_path / f"checkpoints/step-{done:08d}/manifest.json").exists()
    go_on(tmp_path)
    assert curve(tmp_path) == curve(undisturbed)


def test_a_mistake_of_a_person_is_not_made_again_and_ends_with_its_message(tmp_path):
    code, output = finished(toy(tmp_path, mistake="no such teacher", **VALUES))
    assert code == 2 and output.rstrip().endswith("error: no such teacher"), output


def test_ranks_that_die_too_often_end_the_run(tmp_path):
    code, output = finished(toy(tmp_path, kill=[0, 2], max_failures=0, **VALUES))
    assert code == 1 and "ranks died more than 0 times" in output, output


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_more_gpus_than_this_machine_has_are_refused():
    ray.init(num_cpus=2, include_dashboard=False, logging_level="WARNING")
    try:
        with pytest.raises(
            ValueError, match=r"2 workers need 2 GPUs, this machine has 0; give fewer workers, or set RAY_ADDRESS"
        ):
            ray_launch._check(Resources(workers=2, gpu=True), 1, own=True)
    finally:
        ray.shutdown()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_whether_there_are_gpus_is_asked_where_the_ranks_will_run(monkeypatch, capsys):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    ray.init("local", num_cpus=2, num_gpus=2, include_dashboard=False, logging_level="WARNING")
    try:
        assert ray_launch._uses_gpu(Resources(workers=2), own=False)
        assert "2 ranks on the cluster 10.0.0.1:6379, which has 2 GPUs: a GPU each" in capsys.readouterr().out
        assert not ray_launch._uses_gpu(Resources(workers=2, gpu=False), own=False)
        assert not ray_launch._uses_gpu(Resources(workers=2), own=True)  # this build of torch cannot use them
        assert "CPUs only" in capsys.readouterr().out
    finally:
        ray.shutdown()
