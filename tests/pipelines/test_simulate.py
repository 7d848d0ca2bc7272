"""The main job as a user runs it. Every run is a process of its own with a Ray of its own."""

import json
import os
import signal
import subprocess
import time

import psutil
import pytest
import ray

from infra.dataset import open_dataset
from infra.storage import open_store
from pipelines.simulate import main
from tests.pipelines.conftest import command, contents, finished

pytestmark = pytest.mark.cluster
SMALL = ("--count", 24, "--examples-per-shard", 4, "--task.duration-s", 1.0)


def simulate(task, corpus, out, *arguments, **options):
    return command("pipelines.simulate", task, "--corpus", corpus, "--out", out, *SMALL, *arguments, **options)


def dataset_in(out):
    (folder,) = [path for path in out.iterdir() if path.is_dir()]
    return folder


@pytest.fixture(scope="module")
def first_run(corpus, tmp_path_factory):
    """The folder of a run with one worker, forward: what every other way to run must equal."""
    out = tmp_path_factory.mktemp("one")
    code, output = finished(simulate("sr", corpus, out, "--workers", 1))
    assert code == 0, output
    assert "24 examples of sr" in output
    return dataset_in(out)


@pytest.fixture(scope="module")
def undisturbed(first_run):
    return contents(first_run)


@pytest.mark.parametrize(("workers", "order"), [(2, "forward"), (4, "backward")])
def test_workers_and_order_do_not_show_in_the_data(undisturbed, corpus, tmp_path, workers, order):
    code, output = finished(simulate("sr", corpus, tmp_path, "--workers", workers, "--order", order))
    assert code == 0, output
    assert contents(dataset_in(tmp_path)) == undisturbed


def wait_for(found, process, timeout_s=120):
    """What `found` returns as soon as it returns something."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end and process.poll() is None:
        result = found()
        if result:
            return result
        time.sleep(0.02)
    pytest.fail(f"waited in vain; the process says: {finished(process)[1]}")


@pytest.mark.slow
def test_a_killed_driver_is_rerun_and_does_only_what_is_missing(undisturbed, corpus, tmp_path):
    process = simulate("sr", corpus, tmp_path, "--workers", 1)
    some = wait_for(lambda: sorted(tmp_path.glob("*/rows/*.json"))[:2], process)
    os.kill(process.pid, signal.SIGKILL)
    finished(process)
    assert not list(tmp_path.glob("*/dataset.json"))
    made = {path: path.stat().st_mtime_ns for path in some}
    code, output = finished(simulate("sr", corpus, tmp_path, "--workers", 1))
    assert code == 0, output
    assert {path: path.stat().st_mtime_ns for path in some} == made
    assert contents(dataset_in(tmp_path)) == undisturbed
    (dataset_in(tmp_path) / "shard-000003.tar").unlink()  # a finished dataset that has lost a shard is mended likewise
    code, output = finished(simulate("sr", corpus, tmp_path, "--workers", 1))
    assert code == 0, output
    assert contents(dataset_in(tmp_path)) == undisturbed


@pytest.mark.slow
def test_a_killed_worker_is_made_up_for(undisturbed, corpus, tmp_path):
    process = simulate("sr", corpus, tmp_path, "--workers", 2)

    def worker():
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if "shard_task" in " ".join(child.cmdline())]

    wait_for(worker, process)[0].kill()
    code, output = finished(process)
    assert code == 0, output
    assert contents(dataset_in(tmp_path)) == undisturbed


def test_a_finished_dataset_is_not_made_again(first_run, undisturbed, corpus):
    times = {path: path.stat().st_mtime_ns for path in first_run.rglob("*")}
    code, output = finished(simulate("sr", corpus, first_run.parent))
    assert code == 0, output
    assert "verify" in output
    assert {path: path.stat().st_mtime_ns for path in first_run.rglob("*")} == times


@pytest.mark.slow
def test_the_saved_configuration_makes_the_same_data_elsewhere(first_run, undisturbed, corpus, tmp_path):
    saved = json.loads((first_run / "run.json").read_text())
    assert saved["task"] == "sr"
    assert saved["config"]["task"]["duration_s"] == 1.0
    assert saved["config"]["corpus"] == str(corpus)
    code, output = finished(
        command("pipelines.simulate", "--config", first_run / "run.json", "--out", tmp_path, "--workers", 2)
    )
    assert code == 0, output
    assert contents(dataset_in(tmp_path)) == undisturbed


def test_a_damaged_source_is_quarantined_by_name_and_costs_no_example(own_corpus, tmp_path):
    bad = own_corpus / "speech/s1/1.flac"
    bad.write_bytes(bad.read_bytes()[:2000])
    out = tmp_path / "out"
    code, output = finished(simulate("sr", own_corpus, out, "--workers", 2, "--max-reject-share", 0.9))
    assert code == 0, output
    dataset = open_dataset(open_store(str(dataset_in(out))))
    assert dataset.manifest.num_rows == 24
    rows = (dataset_in(out) / "quarantine.csv").read_text()
    assert "speech/s1/1.flac" in rows
    assert dataset.description["totals"]["rejects_by_reason"]


@pytest.mark.slow
def test_too_many_damaged_sources_stop_the_run_with_a_code_of_their_own(own_corpus, tmp_path):
    for bad in own_corpus.glob("speech/s[123]/*.flac"):
        bad.unlink()
    code, output = finished(simulate("sr", own_corpus, tmp_path / "out", "--workers", 2))
    assert code == 3, output
    assert "max-reject-share" in output
    assert "missing" in output
    assert not list(tmp_path.glob("out/*/dataset.json"))


CRASHING = '''
"""A task whose example 5 kills its process."""
import os, signal
from simulation.tasks.sr import Config, Scene, draw as draw_sr, render as render_sr

def draw(config, bank, rng):
    scene = draw_sr(config, bank, rng)
    import msgspec
    return msgspec.structs.replace(scene, voices=()) if rng.index == 5 and rng.attempt == 0 else scene

def render(scene, load):
    if not scene.voices:
        os.kill(os.getpid(), signal.SIGSEGV)
    return render_sr(scene, load)
'''


@pytest.mark.slow
def test_an_example_that_kills_its_worker_is_found_and_named(corpus, tmp_path):
    extra = tmp_path / "extra"
    (extra / "tasks").mkdir(parents=True)
    (extra / "tasks" / "crashing.py").write_text(CRASHING)
    (extra / "sitecustomize.py").write_text(
        f"import sys; sys.path.append({os.getcwd()!r})\nimport simulation.tasks\n"
        f"simulation.tasks.__path__.append({str(extra / 'tasks')!r})\n"
    )
    environment = {"PYTHONPATH": str(extra), "RAY_task_retry_delay_ms": "0"}
    out = tmp_path / "out"
    code, output = finished(simulate("crashing", corpus, out, "--workers", 2, environment=environment))
    assert code == 0, output
    dataset = open_dataset(open_store(str(dataset_in(out))))
    assert dataset.manifest.num_rows == 24
    assert dataset.description["totals"]["rejects_by_reason"] == {"crash": 1}
    assert "crashing-s0-00000005" in (dataset_in(out) / "quarantine.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("lasss",), "did you mean 'lass'"),
        (("sr", "--cuont", "3"), "--count"),
        (("sr", "--count", "0"), "--count is 0"),
        (("sr", "--task.snr-db", "loud", "5"), "snr-db"),
        (("sr", "--corpus", "/nowhere"), "/nowhere"),
        (("sr", "--split", "tran"), "train"),
        (("sr", "--sample-rate-hz", "48000"), "min-source-rate-hz"),
        (("sr", "--config", "/nowhere/run.json"), "/nowhere/run.json"),
    ],
)
def test_a_mistake_is_named_before_ray_starts(corpus, tmp_path, capsys, arguments, named):
    ray.shutdown()  # that of another test
    if "--corpus" not in arguments:
        arguments = (*arguments, "--corpus", str(corpus))
    with pytest.raises((ValueError, OSError, SystemExit)) as error:
        main([*arguments, "--out", str(tmp_path)])
    assert getattr(error.value, "code", 2) == 2
    assert named in f"{error.value}{capsys.readouterr().err}"
    assert not ray.is_initialized()


def test_an_unwritable_place_is_named(corpus, tmp_path):
    ray.shutdown()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file/out"):
        main(["sr", "--corpus", str(corpus), "--out", str(tmp_path / "file" / "out")])
    assert not ray.is_initialized()


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, text=True)
    if mount.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mount.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.slow
def test_a_full_disk_is_named_leaves_nothing_partial_and_a_rerun_goes_on(undisturbed, corpus, tiny_disk, tmp_path):
    code, output = finished(simulate("sr", corpus, tiny_disk, "--workers", 1))
    assert code == 4, output
    assert "No space left" in output
    folder = dataset_in(tiny_disk)
    rows = {path.name.replace(".json", ".tar") for path in (folder / "rows").iterdir()}
    assert rows  # what fitted is committed
    assert not (folder / "dataset.json").exists()
    made = contents(folder)
    assert {name: made[name] for name in rows} == {name: undisturbed[name] for name in rows}
    assert {path.name for path in folder.iterdir() if path.is_file()} >= rows
    assert all(made[name] == undisturbed[name] for name in made if name.startswith("shard"))
    subprocess.run(["mount", "-o", "remount,size=64m", tiny_disk], check=True)
    code, output = finished(simulate("sr", corpus, tiny_disk, "--workers", 1))
    assert code == 0, output
    assert contents(folder) == undisturbed
