"""A checkpoint is whole, or it is not there; a damaged one is named and never silently trained over."""

import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
import torch

from infra.s3_store import S3Store
from infra.storage import FolderStore, StorageError, open_store
from tests.infra.faulty_proxy import FaultyProxy
from training import checkpoints as module
from training.checkpoints import Checkpoints, Damaged, KeepConfig, Origin

ROOT = Path(__file__).parents[2]
CONFIG = {"seed": 0, "model": {"width": 8, "layers": (1, 2)}}


def origin(**changes):
    return Origin(CONFIG | changes, {"datasets": ["a", "b"], "code": "c0de"})


def groups(step, size=4):
    yield "generator", {"weight": torch.full((size, 3), float(step)), "steps": torch.tensor(step)}
    yield "optimiser", {"mean": torch.arange(5, dtype=torch.float64) + step, "used": torch.tensor([True, False])}


def saved(checkpoints, *steps, metrics=None):
    for step in steps:
        assert checkpoints.save(
            {"step": step, "stream": {"0": {"position": step}}}, groups(step), (metrics or {}).get(step, {})
        )
    return checkpoints


def steps_in(store):
    return sorted({int(name[5:13]) for name in store.list("step-")})


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def store(request, tmp_path):
    if request.param == "folder":
        return open_store(str(tmp_path / "checkpoints"))
    return open_store(f"{request.getfixturevalue('s3')}/{uuid.uuid4().hex}")


def test_what_was_saved_is_loaded_bit_for_bit(store):
    checkpoints = saved(Checkpoints(store, origin()), 5)
    loaded = checkpoints.newest()
    assert loaded.step == 5 and loaded.state() == {"step": 5, "stream": {"0": {"position": 5}}}
    assert list(loaded) == ["generator", "optimiser"] and len(loaded) == 2
    for name, tensors in groups(5):
        assert loaded[name].keys() == tensors.keys()
        for key, tensor in tensors.items():
            assert loaded[name][key].dtype == tensor.dtype and torch.equal(loaded[name][key], tensor)
    with pytest.raises(KeyError):
        loaded["ema"]


def test_a_checkpoint_names_its_parents_and_its_configuration(store):
    manifest = saved(Checkpoints(store, origin()), 5).newest().manifest
    assert manifest["parents"] == {"datasets": ["a", "b"], "code": "c0de"} and manifest["config"] == json.loads(
        json.dumps(CONFIG)
    )
    assert len(manifest["config_fingerprint"]) == 12
    assert {name: about["num_bytes"] for name, about in manifest["files"].items()}.items() <= {
        name.partition("/")[2]: size for name, size in store.list("step-").items()
    }.items()


def test_the_last_ones_and_the_best_stay(store):
    keep = KeepConfig(last=2, best="valid/distance")
    values = {1: 3.0, 2: 1.0, 3: 2.0, 4: 1.5, 6: 1.0}
    checkpoints = Checkpoints(store, origin(), keep)
    saved(checkpoints, *range(1, 7), metrics={step: {"valid/distance": value} for step, value in values.items()})
    assert steps_in(store) == [2, 5, 6]
    assert checkpoints.best() == {"step": 2, "metric": "valid/distance", "value": 1.0}
    largest = Checkpoints(store, origin(), KeepConfig(last=1, best="valid/stoi", best_is="max"))
    saved(largest, 7, 8, 9, metrics={7: {"valid/stoi": 0.5}, 8: {"valid/stoi": 0.7}, 9: {"valid/stoi": 0.6}})
    assert steps_in(store) == [8, 9] and largest.best()["step"] == 8


def test_large_groups_are_split_and_joined(store, monkeypatch):
    monkeypatch.setattr(module, "PART_BYTES", 100)
    tensors = {f"t{i}": torch.full((10,), float(i)) for i in range(7)} | {"large": torch.ones(200)}
    checkpoints = Checkpoints(store, origin())
    checkpoints.save({"step": 1}, iter([("generator", tensors), ("empty", {})]), {})
    names = {name.partition("/")[2] for name in store.list("step-")}
    assert {"generator.safetensors", "generator.1.safetensors", "generator.4.safetensors", "empty.safetensors"} <= names
    loaded = checkpoints.newest()
    assert list(loaded) == ["generator", "empty"] and loaded["empty"] == {}
    assert loaded["generator"].keys() == tensors.keys()
    assert all(torch.equal(loaded["generator"][key], tensors[key]) for key in tensors)


FILES = ["generator.safetensors", "optimiser.safetensors", "state.json", "manifest.json"]


def flipped(data):
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["flipped", "truncated", "emptied", "missing"])
def test_a_damaged_one_is_named_and_the_one_before_it_is_used(tmp_path, caplog, name, how):
    store = open_store(str(tmp_path))
    checkpoints = saved(Checkpoints(store, origin()), 1, 2, 3)
    place = f"step-00000003/{name}"
    data = store.get(place)
    if how == "missing":
        store.delete(place)
    else:
        store.put(place, {"flipped": flipped(data), "truncated": data[:-7], "emptied": b""}[how])
    with caplog.at_level(logging.WARNING):
        loaded = checkpoints.newest()
    assert loaded.step == 2 and torch.equal(loaded["generator"]["weight"], torch.full((4, 3), 2.0))
    if (name, how) != ("manifest.json", "missing"):  # one without a manifest was never a checkpoint
        assert f"{tmp_path}/step-00000003/{name}" in caplog.text and "an older one is used" in caplog.text
    saved(checkpoints, 3)
    assert checkpoints.newest().step == 3


def test_a_flipped_byte_anywhere_in_a_manifest_is_seen(tmp_path):
    store = open_store(str(tmp_path))
    checkpoints = saved(Checkpoints(store, origin()), 1)
    data = store.get("step-00000001/manifest.json")
    for at in range(0, len(data), 7):
        store.put("step-00000001/manifest.json", data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        with pytest.raises(ValueError, match="none is whole"):
            checkpoints.newest()


def test_with_no_whole_one_training_does_not_start_anew(tmp_path):
    store = open_store(str(tmp_path))
    checkpoints = saved(Checkpoints(store, origin()), 1, 2)
    for step in (1, 2):
        store.put(f"step-0000000{step}/generator.safetensors", b"")
    with pytest.raises(
        ValueError, match="there are checkpoints, but none is whole; put back what is missing, or remove"
    ) as caught:
        checkpoints.newest()
    assert "step-00000001/generator.safetensors: 0 bytes instead of" in str(caught.value)
    assert steps_in(store) == [1, 2]  # nothing was touched


def test_checkpoints_that_lost_all_their_manifests_are_no_fresh_start(tmp_path):
    store = open_store(str(tmp_path))
    checkpoints = saved(Checkpoints(store, origin()), 1, 2)
    for step in (1, 2):
        store.delete(f"step-0000000{step}/manifest.json")
    with pytest.raises(ValueError, match="none is whole"):
        checkpoints.newest()


def test_what_a_run_killed_in_its_first_save_has_left_is_swept(tmp_path, caplog):
    store = open_store(str(tmp_path))
    store.put("step-00000004/generator.safetensors", b"half")
    (tmp_path / "step-00000004/.new-0123").write_bytes(b"killed in mid write")
    with caplog.at_level(logging.WARNING):
        assert Checkpoints(store, origin()).newest() is None
    assert "only a half-written checkpoint; training starts at step 0" in caplog.text and list(tmp_path.iterdir()) == []


def test_half_written_leftovers_are_swept_and_old_folders_gone(tmp_path):
    store = open_store(str(tmp_path))
    saved(Checkpoints(store, origin(), KeepConfig(last=1)), 1, 2)
    store.put("step-00000003/generator.safetensors", b"half")
    assert Checkpoints(store, origin()).newest().step == 2
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]


def test_no_checkpoint_at_all_is_a_start(store):
    assert Checkpoints(store, origin()).newest() is None


def test_another_configuration_is_refused_with_the_field(tmp_path, caplog):
    store = open_store(str(tmp_path))
    saved(Checkpoints(store, origin()), 1)
    with pytest.raises(ValueError, match=r"step-00000001 is of another configuration: seed was 0 and is now 1; give the same"):
        Checkpoints(store, origin(seed=1)).newest()
    with pytest.raises(ValueError, match=r"model\.width was 8 and is now 16"):
        Checkpoints(store, origin(model={"width": 16, "layers": [1, 2]})).newest()
    with pytest.raises(ValueError, match=r"ema was None and is now 0\.9"):
        Checkpoints(store, origin(ema=0.9)).newest()
    with caplog.at_level(logging.WARNING):
        assert Checkpoints(store, Origin(CONFIG, {"datasets": ["a"], "code": "c0de"})).newest().step == 1
    assert "training goes on with a change: datasets was ['a', 'b'] and is now ['a']" in caplog.text


def test_a_best_one_that_is_damaged_is_forgotten_when_training_goes_back(tmp_path):
    store = open_store(str(tmp_path))
    checkpoints = Checkpoints(store, origin(), KeepConfig(best="d"))
    saved(checkpoints, 1, 2, metrics={1: {"d": 2.0}, 2: {"d": 1.0}})
    store.put("step-00000002/state.json", b"{}")
    assert checkpoints.newest().step == 1 and checkpoints.best() is None


def test_a_file_that_changes_after_it_was_checked_is_not_parsed(tmp_path):
    store = open_store(str(tmp_path))
    loaded = saved(Checkpoints(store, origin()), 1).newest()
    data = store.get("step-00000001/generator.safetensors")
    store.put("step-00000001/generator.safetensors", flipped(data))
    with pytest.raises(Damaged, match=r"generator\.safetensors: its bytes have changed"):
        loaded["generator"]


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 1 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", place]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no small disk: mounting is not allowed")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_leaves_the_older_checkpoint_no_trace_and_the_training_as_it_was(small_disk, caplog):
    store = open_store(str(small_disk))
    checkpoints = saved(Checkpoints(store, origin(), KeepConfig(max_failed_saves=3)), 1)
    for step in (2, 3):
        with caplog.at_level(logging.WARNING):
            given = groups(step, size=200_000)
            assert not checkpoints.save({"step": step}, given, {})
            assert list(given) == []  # the other ranks' collectives went on to their end
        assert (
            f"no checkpoint at step {step}: {small_disk}/step-0000000{step}/generator.safetensors: No space left" in caplog.text
        )
        assert steps_in(store) == [1] and [path.name for path in small_disk.iterdir()] == ["step-00000001"]
    assert checkpoints.newest().step == 1
    saved(checkpoints, 4)  # there is room for a small one: the count begins anew
    for step in (5, 6):
        assert not checkpoints.save({"step": step}, groups(step, size=200_000), {})
    with pytest.raises(StorageError, match="free some space"):
        checkpoints.save({"step": 7}, groups(7, size=200_000), {})
    assert checkpoints.newest().step == 4


def test_a_save_that_must_succeed_fails_at_once(small_disk):
    with pytest.raises(StorageError, match="No space left on device; free some space"):
        Checkpoints(open_store(str(small_disk)), origin()).save({"step": 1}, groups(1, size=200_000), {}, must=True)


@pytest.mark.s3
def test_while_s3_is_lost_training_goes_on_and_the_next_save_commits(s3, s3_server_at, monkeypatch, caplog):
    with FaultyProxy(s3_server_at.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        store = S3Store(f"{s3}/{uuid.uuid4().hex}", retry_s=0.2)
        checkpoints = saved(Checkpoints(store, origin()), 1)
        proxy.refuse()
        assert not checkpoints.save({"step": 2}, groups(2), {})
        assert "no checkpoint at step 2" in caplog.text and "cannot be reached" in caplog.text
        with pytest.raises(StorageError, match="cannot be reached"):
            checkpoints.newest()  # not seen is not the same as not there
        proxy.accept()
        saved(checkpoints, 3)
        assert checkpoints.newest().step == 3
        proxy.cut_upload(300, times=100)
        assert not checkpoints.save({"step": 4}, groups(4), {})
        proxy.cut_upload(0, times=0)
        assert checkpoints.newest().step == 3


SAVE_FOR_EVER = """
import sys, torch
from infra.storage import open_store
from tests.training.test_checkpoints import groups, origin
from training.checkpoints import Checkpoints, KeepConfig
checkpoints = Checkpoints(open_store(sys.argv[1]), origin(), KeepConfig(last=2, best="d"))
first = checkpoints.newest()
step = first.step if first else 0
print("ready", flush=True)
while True:
    step += 1
    checkpoints.save({"step": step}, groups(step, size=50_000), {"d": float(-step % 5)})
"""


def test_a_run_killed_at_any_moment_of_its_saves_has_a_whole_last_checkpoint(tmp_path):
    before = 0
    for number in itertools.count():
        with subprocess.Popen([sys.executable, "-c", SAVE_FOR_EVER, tmp_path], stdout=subprocess.PIPE, cwd=ROOT) as process:
            assert process.stdout.readline() == b"ready\n"
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.05 + 0.037 * number)
            os.kill(process.pid, signal.SIGKILL)
        loaded = Checkpoints(FolderStore(tmp_path), origin(), KeepConfig(last=2, best="d")).newest()
        if loaded:
            assert loaded.step >= before and loaded["generator"]["steps"] == loaded.step
            before = loaded.step
        assert len(steps_in(FolderStore(tmp_path))) <= 4
        assert len(list(tmp_path.rglob(".new-*"))) <= number + 1  # what each kill may have cut; swept when it is an hour old
        if number >= 4 and before:
            return


def test_nothing_is_ever_unpickled(tmp_path):
    store = open_store(str(tmp_path))
    checkpoints = saved(Checkpoints(store, origin()), 1)
    names = {name.rpartition(".")[2] for name in store.list()}
    assert names == {"safetensors", "json"}
    assert json.loads(store.get("step-00000001/state.json"))["step"] == 1
    with pytest.raises(ValueError, match="give 1 or more"):
        KeepConfig(last=0)
    assert checkpoints.newest().step == 1
