"""Encoding on Ray: a shard that fails takes no other with it, and a killed actor's shard is encoded by its successor."""

import time

import psutil
import pytest

from pipelines.encode_job import Resources
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


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"gpus_per_worker": -1.0}])
def test_resources_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="--workers 1 or more"):
        Resources(**wrong)
