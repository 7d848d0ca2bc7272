"""The doctor sees what was broken on purpose, names the remedy, and finds a sound machine sound."""

import importlib.metadata
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pipelines import doctor
from pipelines.doctor import Doctor, Finding
from tests.pipelines.conftest import command, finished


def found(check, **options):
    return list(check(Doctor(**options)))


def levels(findings):
    return [finding.level for finding in findings]


@pytest.fixture
def extensions(tmp_path, monkeypatch):
    """All places of compiled extensions, empty."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "extensions"))
    monkeypatch.setenv("QUARKLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "extensions"


def planted(folder, age_s):
    lock = folder / "py311_cpu/deepspeed_shm_comm/lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    os.utime(lock, (time.time() - age_s, time.time() - age_s))
    return lock


@pytest.mark.slow
@pytest.mark.cluster
def test_this_machine_is_sound_and_every_check_says_so(extensions):
    code, output = finished(command("pipelines.doctor"))
    assert code == 0 and "0 to mend" in output, output
    for name in (
        "compiler",
        "locks",
        "shared memory",
        "accelerator",
        "deepspeed",
        "threads",
        "disks",
        "s3",
        "ray",
        "libraries",
    ):
        assert f"  {name} " in output
    assert "CPUs" in next(line for line in output.splitlines() if "  ray " in line)


def test_a_missing_compiler_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    (finding,) = found(doctor.compiler)
    assert finding.level == "warn" and finding.what == "no g++ in PATH" and "apt-get install g++" in finding.remedy


def test_a_compiler_that_does_not_compile_fails(tmp_path, monkeypatch):
    broken = tmp_path / "g++"
    broken.write_text("#!/bin/sh\necho 'cc1plus: not found' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    (finding,) = found(doctor.compiler)
    assert finding.level == "fail" and "cc1plus: not found" in finding.what and "set CXX" in finding.remedy


def test_a_compiler_that_compiles_is_shown_with_its_version(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    assert levels(found(doctor.compiler)) == ["ok", "ok"]


def test_a_stale_lock_fails_stays_without_fix_and_goes_with_it(extensions):
    assert levels(found(doctor.locks)) == ["ok"]
    lock = planted(extensions, age_s=3600)
    (finding,) = found(doctor.locks)
    assert finding == Finding(
        "fail", f"{lock}: left by a build that was killed; the next one waits for ever", "make doctor ARGS=--fix"
    )
    assert lock.exists()
    assert levels(found(doctor.locks, fix=True)) == ["ok"] and not lock.exists()
    assert "no lock" in found(doctor.locks)[0].what


def test_the_lock_of_a_running_build_is_left_alone(extensions):
    lock = planted(extensions, age_s=5)
    assert levels(found(doctor.locks, fix=True)) == ["warn"] and lock.exists()


def test_shared_memory_of_dead_processes_goes_and_that_of_living_ones_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "SHARED", tmp_path)
    dead, living = tmp_path / "torch_1_dead", tmp_path / "torch_2_living"
    dead.write_bytes(bytes(2_000_000))
    with open(living, "wb"):
        first, second = found(doctor.shared_memory)
        assert first.level == "ok" and second.level == "warn" and "1 files torch_* of dead processes" in second.what
        assert "2 MB" in second.what and dead.exists()
        found(doctor.shared_memory, fix=True)
        assert not dead.exists() and living.exists()


MAP = """
import mmap, sys
with open(sys.argv[1], "r+b") as file:
    mapped = mmap.mmap(file.fileno(), 0)
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_mapped_file_is_in_use(tmp_path):
    path = tmp_path / "torch_mapped"
    path.write_bytes(bytes(4096))
    words = [sys.executable, "-c", MAP, path]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        assert doctor._is_open(path)
        process.stdin.close()
    assert not doctor._is_open(path)


def test_little_shared_memory_is_a_warning(monkeypatch):
    monkeypatch.setattr(doctor, "LEAST_SHARED_GB", 1e6)
    finding = found(doctor.shared_memory)[0]
    assert finding.level == "warn" and "--shm-size" in finding.remedy


def test_what_torch_computes_with_is_tried():
    findings = found(doctor.accelerator)
    assert set(levels(findings)) == {"ok"} and "bf16 matrix product within" in findings[-1].what


def test_too_many_threads_are_a_warning(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4096")
    assert levels(found(doctor.threads)) == ["warn"]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert levels(found(doctor.threads)) == ["ok"]


def test_disks_that_are_full_or_cannot_be_written_fail(tmp_path, monkeypatch):
    assert "fail" not in levels(found(doctor.disks, data=str(tmp_path / "not/there/yet")))
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", small]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no small disk: mounting is not allowed")
    try:
        finding = found(doctor.disks, data=str(small))[1]
        assert finding.level == "fail" and "No space left on device" in finding.what and str(small) in finding.what
    finally:
        subprocess.run(["umount", small], check=True)
    monkeypatch.setattr(doctor, "GOOD_FREE_GB", 1e9)
    monkeypatch.setattr(doctor, "LEAST_FREE_GB", 1e8)
    assert found(doctor.disks)[0].level == "fail"


def test_an_s3_endpoint_that_cannot_be_reached_fails(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr("infra.s3_store.S3Store.__init__.__defaults__", (0.2,))
    (finding,) = found(doctor.s3, s3="s3://bucket/prefix")
    assert finding.level == "fail" and "http://127.0.0.1:9 cannot be reached" in finding.what
    assert "secret" not in finding.what


@pytest.mark.s3
def test_an_s3_server_that_works_is_left_as_it_was(s3):
    place = f"{s3}/{uuid.uuid4().hex}"
    assert found(doctor.s3, s3=place) == [Finding("ok", f"{place}: put, get, list, conditional puts, delete")]
    assert doctor.open_store(place).list() == {}


def test_without_s3_it_is_said_how_to_try_it():
    assert "--s3 s3://bucket/prefix" in found(doctor.s3)[0].what
    with pytest.raises(ValueError, match="give s3://bucket/prefix"):
        Doctor(s3="bucket")


def test_a_ray_address_where_nobody_listens_fails(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    (finding,) = found(doctor.ray)
    assert finding.level == "fail" and "Ray on 127.0.0.1:9" in finding.what and "refused" in finding.what


def test_other_and_missing_libraries_are_named(tmp_path, monkeypatch):
    assert set(levels(found(doctor.libraries))) <= {"ok", "warn"}
    (tmp_path / "requirements.lock").write_text("numpy==0.0.1\nno-such-library==1.0\nray==2.0 \n# a==1\n")
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    first, second = found(doctor.libraries)
    assert first == Finding("fail", "not installed: no-such-library", "make setup")
    assert second.level == "warn" and "(tested 0.0.1)" in second.what and "ray" in second.what


def test_a_failure_ends_with_code_6(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "CHECKS", (lambda config: iter([Finding("fail", "broken", "mend it")]),))
    assert doctor.main(["--no-ray"]) == 6
    said = capsys.readouterr().out
    assert "fail" in said and "-> mend it" in said and "1 to mend" in said


def test_the_repository_is_where_the_lock_is():
    assert (doctor.ROOT / "requirements.lock").is_file() and Path(doctor.__file__).is_relative_to(doctor.ROOT)


def broken(*arguments, **options):
    raise RuntimeError("no kernel image is available\nfor execution on the device")


def test_a_device_that_does_not_compute_fails_and_one_without_bf16_is_a_warning(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "bfloat16", broken)
        finding = doctor._products("cpu")
        assert finding == Finding("warn", "cpu: no bf16: no kernel image is available", "train in fp32")
    monkeypatch.setattr(torch, "randn", broken)
    finding = doctor._products("cpu")
    assert finding.level == "fail" and finding.what == "cpu does not compute: no kernel image is available"


def test_every_gpu_is_tried(monkeypatch):
    tried = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: SimpleNamespace(name="A", total_memory=8e10))
    monkeypatch.setattr(doctor, "_products", lambda device: tried.append(device) or Finding("ok", device))
    assert len(found(doctor.accelerator)) == 6 and tried == ["cuda:0", "cuda:1", "cuda:2"]


def test_a_deepspeed_that_cannot_be_imported_fails(tmp_path, monkeypatch):
    (tmp_path / "deepspeed.py").write_text("raise OSError('libcudart.so.12: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (finding,) = found(doctor.deepspeed)
    assert finding.level == "fail" and "libcudart.so.12" in finding.what


@pytest.mark.slow
def test_a_deepspeed_that_can_be_imported_is_shown_with_its_version():
    (finding,) = found(doctor.deepspeed)
    assert finding == Finding("ok", f"DeepSpeed {importlib.metadata.version('deepspeed')} can be imported")
