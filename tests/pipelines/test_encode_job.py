"""Encoding on Ray: a shard that fails takes no other with it, and a killed actor's shard is encoded by its successor."""

import time

import psutil
import pytest
import torch

from infra.actors import Resources
from infra.command_line import ShardsFailed
from infra.model_folder import model_id
from pipelines.encode import Encode, encode_all
from pipelines.encode_job import Job, code_version, open_networks
from pipelines.encoding import Recipe
from tests.pipelines.conftest import command, contents, finished
from tests.pipelines.test_encode import encode, only


@pytest.mark.cluster
@pytest.mark.slow
def test_a_damaged_shard_is_named_and_the_others_are_committed(dataset, codec_folder, tmp_path):
    data = dataset.get("shard-000000.tar")
    dataset.put("shard-000000.tar", data[: len(data) // 2])
    code, output = encode(dataset, codec_folder, tmp_path / "out", "--workers", 1)
    assert code == 4 and "shard-000000.tar: ShardError" in output
    assert (only(tmp_path / "out") / "shard-000001.tar").is_file()
    assert not (only(tmp_path / "out") / "dataset.json").exists()
    dataset.put("shard-000000.tar", data)
    code, output = encode(dataset, codec_folder, tmp_path / "out", "--workers", 1)
    assert code == 0 and "1 there already" in output


@pytest.mark.cluster
@pytest.mark.slow
def test_a_killed_actor_is_started_again_and_the_tokens_are_the_same(dataset, codec_folder, tmp_path):
    assert encode(dataset, codec_folder, tmp_path / "whole", "--workers", 1)[0] == 0
    words = ("--data", dataset.url, "--codec", codec_folder, "--out", tmp_path / "killed", "--workers", 1)
    run = command("pipelines.encode", *words)
    kill_first_encoder_of(run.pid)
    code, output = finished(run)
    assert code == 0, output
    assert contents(only(tmp_path / "killed")) == contents(only(tmp_path / "whole"))


def kill_first_encoder_of(pid: int) -> None:
    """Wait until an actor runs below the process, and kill it."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for process in psutil.Process(pid).children(recursive=True):
            if "ray::Encoder" in " ".join(process.cmdline()):
                process.kill()
                return
        time.sleep(0.05)
    raise AssertionError("no actor was started")


@pytest.mark.parametrize(("gpus_per_worker", "device"), [(0.0, "cpu"), (0.5, "cuda")])
def test_networks_go_where_the_job_says_even_if_the_machine_has_a_gpu(gpus_per_worker, device, codec_folder, monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.nn.Module, "to", lambda module, place: (asked.append((type(module).__name__, place)), module)[1])
    about = (str(codec_folder), model_id(codec_folder), "data", "out", code_version())
    open_networks.__wrapped__(Job(Recipe(None, 60.0, "log-mel"), *about, Resources(gpus_per_worker=gpus_per_worker).device))
    assert asked[-1] == ("Codec", device) and {place for _, place in asked} == {device}


def test_the_driver_gives_the_device_of_the_resources_to_its_job(dataset, codec_folder, tmp_path, monkeypatch):
    jobs = []

    def stop(job, *_):
        jobs.append(job)
        raise ShardsFailed("none is made here")

    monkeypatch.setattr("pipelines.encode.make", stop)
    for gpus_per_worker in (0.0, 1.0):
        config = Encode(dataset.url, str(codec_folder), str(tmp_path), resources=Resources(gpus_per_worker=gpus_per_worker))
        with pytest.raises(ShardsFailed):
            encode_all(config)
    assert [job.device for job in jobs] == ["cpu", "cuda"]
