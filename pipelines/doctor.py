"""Look whether this machine can train: `make doctor`. Lines with remedies; --fix removes what killed runs have left.

Exit code 6 if something fails; what is only worse than it could be is a warning.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from infra.command_line import run
from infra.storage import open_store
from training.launch import extensions_folder

ROOT = Path(__file__).resolve().parents[1]
EXIT_FAILED = 6
LEAST_FREE_GB, GOOD_FREE_GB = 2.0, 20.0
LEAST_SHARED_GB = 1.0  # Ray's object store and DeepSpeed's and torch's shared tensors
STALE_S = 600.0  # no build takes so long
SHARED = Path("/dev/shm")
COMPILE_S, RAY_S, IMPORT_S = 60, 120, 120


@dataclass(frozen=True)
class Finding:
    """What a check has found."""

    level: Literal["ok", "warn", "fail"]
    what: str
    remedy: str = ""


@dataclass(frozen=True)
class Doctor:
    """Look whether this machine can train."""

    s3: str = ""
    """An s3:// prefix to put, get and delete under; not tried if not given."""
    fix: bool = False
    """Remove stale locks and the shared memory of dead processes."""
    ray: bool = True
    """Reach RAY_ADDRESS, or start a Ray on this machine, which takes some seconds."""
    data: str = "data"
    """Where runs are kept: its disk is looked at."""

    def __post_init__(self) -> None:
        if self.s3 and not self.s3.startswith("s3://"):
            raise ValueError(f"--s3 {self.s3}: give s3://bucket/prefix")


def compiler(config: Doctor) -> Iterator[Finding]:
    """DeepSpeed and pesq compile with it; training needs no compiled kernel, unless an option asks for one."""
    name = os.environ.get("CXX", "g++")
    remedy = "apt-get install g++ ninja-build; without them DeepSpeed's own optimizers and offload are not to be had"
    if not shutil.which(name):
        yield Finding("warn", f"no {name} in PATH", remedy)
        return
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "hello.cpp")
        source.write_text("#include <vector>\nint main() { return std::vector<int>(3).size() - 3; }\n")
        command = [name, "-std=c++17", source, "-o", Path(folder, "hello")]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=COMPILE_S)
            subprocess.run([Path(folder, "hello")], check=True, timeout=COMPILE_S)
        except (OSError, subprocess.SubprocessError) as error:
            said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
            yield Finding(
                "fail", f"{name} does not compile: {said[-1] if said else error}", "reinstall it, or set CXX to another"
            )
            return
    version = subprocess.run([name, "--version"], capture_output=True, text=True, check=False).stdout.splitlines()[0]
    yield Finding("ok", version)
    has_ninja = shutil.which("ninja") or Path(sys.executable).with_name("ninja").exists()
    yield Finding("ok", "ninja") if has_ninja else Finding("warn", "no ninja", remedy)


def locks(config: Doctor) -> Iterator[Finding]:
    """A build that was killed leaves a lock, and every later one waits for it for ever."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torch_extensions"
    folders = {extensions_folder(), default}
    if os.environ.get("TORCH_EXTENSIONS_DIR"):
        folders.add(Path(os.environ["TORCH_EXTENSIONS_DIR"]))
    found = [lock for folder in sorted(folders) if folder.is_dir() for lock in sorted(folder.rglob("lock"))]
    stale = [lock for lock in found if time.time() - lock.stat().st_mtime > STALE_S]
    for lock in stale:
        if config.fix:
            lock.unlink(missing_ok=True)
            yield Finding("ok", f"removed {lock}")
        else:
            yield Finding(
                "fail", f"{lock}: left by a build that was killed; the next one waits for ever", "make doctor ARGS=--fix"
            )
    for lock in sorted(set(found) - set(stale)):
        yield Finding("warn", f"{lock}: a build is running", "wait for it")
    if not found:
        yield Finding("ok", f"no lock of a build in {', '.join(map(str, sorted(folders)))}")


def shared_memory(config: Doctor) -> Iterator[Finding]:
    """Ray's object store and shared tensors live there; killed ranks leave theirs."""
    if not SHARED.is_dir():
        yield Finding("warn", f"no {SHARED}", "mount a tmpfs there; in a container give --shm-size 8g")
        return
    free_gb = shutil.disk_usage(SHARED).free / 1e9
    remedy = f"mount -o remount,size=8g {SHARED}; in a container give --shm-size 8g"
    level = "ok" if free_gb >= LEAST_SHARED_GB else "warn"
    yield Finding(level, f"{free_gb:.1f} GB of shared memory free", "" if level == "ok" else remedy)
    left = [path for path in sorted(SHARED.glob("torch_*")) if not _is_open(path)]
    megabytes = sum(path.stat().st_size for path in left) / 1e6
    if left and config.fix:
        for path in left:
            path.unlink(missing_ok=True)
        yield Finding("ok", f"removed {len(left)} files of dead processes from {SHARED}, {megabytes:.0f} MB")
    elif left:
        what = f"{len(left)} files torch_* of dead processes in {SHARED}, {megabytes:.0f} MB"
        yield Finding("warn", what, "make doctor ARGS=--fix")


def accelerator(config: Doctor) -> Iterator[Finding]:
    """What torch computes with, and in which precisions: tried, not asked."""
    import torch

    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(number)
            yield Finding("ok", f"GPU {number}: {about.name}, {about.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}")
            yield _products(f"cuda:{number}")
        return
    if shutil.which("nvidia-smi"):
        remedy = f"install a build of torch {torch.__version__} for its driver (nvidia-smi shows the version)"
        yield Finding("fail", "there is a GPU, but torch cannot use it", remedy)
    else:
        yield Finding("ok", f"no GPU: training runs on {len(os.sched_getaffinity(0))} CPUs")
    yield _products("cpu")


def _products(device: str) -> Finding:
    """Matrix products on one device: without fp32 nothing trains there, without bf16 it is slower."""
    import torch

    try:
        a = torch.randn(64, 64, device=device)
        exact = (a @ a).cpu()
    except RuntimeError as error:
        remedy = f"install a build of torch {torch.__version__} for it (nvidia-smi shows the driver), or CUDA_VISIBLE_DEVICES"
        return Finding("fail", f"{device} does not compute: {str(error).splitlines()[0]}", f"{remedy} without it")
    try:
        error = float(((a.bfloat16() @ a.bfloat16()).float().cpu() - exact).abs().max() / exact.abs().max())
        native = device != "cpu" and torch.cuda.is_bf16_supported(including_emulation=False)
    except RuntimeError as error:
        return Finding("warn", f"{device}: no bf16: {str(error).splitlines()[0]}", "train in fp32")
    slow = "" if native else ", emulated or slow here: use it on GPUs"
    what = f"{device}: bf16 matrix product within {error:.1%} of fp32{slow}"
    return Finding("ok", what) if error < 0.05 else Finding("fail", what, "train in fp32")


def deepspeed(config: Doctor) -> Iterator[Finding]:
    """Training imports it; where it breaks it does so then, in a process of its own here."""
    try:
        said = _said_by("import deepspeed; print(deepspeed.__version__)", IMPORT_S)
    except subprocess.TimeoutExpired:
        yield Finding("fail", f"import deepspeed: not done in {IMPORT_S} s", "look for stale locks above, then try again")
    except ChildProcessError as error:
        yield Finding("fail", f"import deepspeed: {error}", "make setup")
    else:
        yield Finding("ok", f"DeepSpeed {said.split()[-1]} can be imported")


def _said_by(script: str, limit_s: float) -> str:
    """What Python prints in a process of its own. ChildProcessError with its last line of complaint, TimeoutExpired."""
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=limit_s, check=False)
    if done.returncode:
        complaints = done.stderr.strip().splitlines()
        raise ChildProcessError(complaints[-1] if complaints else "failed")
    return done.stdout


def threads(config: Doctor) -> Iterator[Finding]:
    """More threads than CPUs slow everything down, most of all with several ranks."""
    num_cpus = len(os.sched_getaffinity(0))
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > num_cpus:
        yield Finding("warn", f"OMP_NUM_THREADS={asked} on {num_cpus} CPUs", f"unset it, or at most {num_cpus} over all ranks")
    else:
        yield Finding("ok", f"{num_cpus} CPUs, OMP_NUM_THREADS {asked or 'not set'}")


def disks(config: Doctor) -> Iterator[Finding]:
    """Of temporary files, and of runs with their checkpoints; written to, not only asked."""
    for name, folder in (("TMPDIR", Path(tempfile.gettempdir())), (config.data, Path(config.data))):
        there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.is_dir())
        free_gb = shutil.disk_usage(there).free / 1e9
        try:
            with tempfile.NamedTemporaryFile(dir=there) as file:
                file.write(bytes(2**20))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            yield Finding(
                "fail", f"{name} ({there}): {error.strerror}", "free some space, or choose a place that can be written"
            )
            continue
        level = "ok" if free_gb >= GOOD_FREE_GB else "warn" if free_gb >= LEAST_FREE_GB else "fail"
        remedy = "" if level == "ok" else "free some space: a checkpoint takes 16 bytes a weight and 4 are kept"
        yield Finding(level, f"{name} ({there}): {free_gb:.0f} GB free", remedy)


def s3(config: Doctor) -> Iterator[Finding]:
    """Put, get, the two conditional puts that decide races, list, delete."""
    if not config.s3:
        yield Finding("ok", "S3 not tried: make doctor ARGS='--s3 s3://bucket/prefix'")
        return
    store = open_store(config.s3)
    name = f"doctor-{uuid.uuid4().hex}"
    try:
        store.put(name, b"one")
        _, tag = store.get_with_tag(name)
        right = [store.get(name) == b"one", name in store.list("doctor-"), not store.create(name, b"two")]
        right += [store.replace(name, b"two", tag), not store.replace(name, b"three", tag)]
        store.delete(name)
        right.append(not store.exists(name))
    except OSError as error:
        yield Finding("fail", str(error).splitlines()[0], "see the AWS_ variables in the README")
        return
    if all(right):
        yield Finding("ok", f"{config.s3}: put, get, list, conditional puts, delete")
    else:
        yield Finding("fail", f"{config.s3}: it does not keep to conditions of puts", "use a server that knows If-None-Match")


def ray(config: Doctor) -> Iterator[Finding]:
    """The cluster that RAY_ADDRESS names, or one of this machine, in a process of its own."""
    if importlib.util.find_spec("ray") is None:
        yield Finding("warn", "Ray is not installed", "torchrun starts the ranks of a training; the other pipelines need Ray")
        return
    where = os.environ.get("RAY_ADDRESS") or "this machine"
    if not config.ray:
        yield Finding("ok", "Ray not tried")
        return
    # On a cluster that grows from zero there is no entry for CPUs yet.
    script = (
        "from infra import cluster; import ray; cluster.start(); "
        "print(ray.__version__, int(ray.cluster_resources().get('CPU', 0)))"
    )
    try:
        version, num_cpus = _said_by(script, RAY_S).split()[-2:]
    except subprocess.TimeoutExpired:
        yield Finding("fail", f"Ray on {where}: no answer in {RAY_S} s", "ray stop --force, then try again")
    except ChildProcessError as error:
        yield Finding("fail", f"Ray on {where}: {error}", "unset RAY_ADDRESS, or start that cluster")
    else:
        yield Finding("ok", f"Ray {version} on {where}: {num_cpus} CPUs")


def libraries(config: Doctor) -> Iterator[Finding]:
    """Installed versions against those that the tests ran with."""
    lock = ROOT / "requirements.lock"
    pins = [line.split("==") for line in lock.read_text().splitlines() if "==" in line and not line.startswith("#")]
    missing, other = [], []
    for name, version in pins:
        try:
            found = importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if found != version.strip().partition("+")[0]:
            other.append(f"{name} {found} (tested {version.strip()})")
    if missing:
        yield Finding("fail", f"not installed: {', '.join(missing)}", "make setup")
    if other:
        yield Finding("warn", f"other versions than the tested: {', '.join(other)}", "make setup")
    if not missing and not other:
        yield Finding("ok", f"{len(pins)} libraries as in {lock.name}, Python {sys.version.split()[0]}")


CHECKS: tuple[Callable[[Doctor], Iterator[Finding]], ...] = (
    *(compiler, locks, shared_memory, accelerator, deepspeed, threads),
    *(disks, s3, ray, libraries),
)


def examine(config: Doctor) -> list[Finding]:
    """All findings, printed as they come."""
    found = []
    for check in CHECKS:
        for finding in check(config):
            remedy = f"\n       -> {finding.remedy}" if finding.remedy else ""
            print(f"{finding.level:4}  {check.__name__.replace('_', ' '):14} {finding.what}{remedy}", flush=True)
            found.append(finding)
    return found


def _is_open(path: Path) -> bool:
    """Whether a process that can be looked at has the file open or mapped."""
    identity = (path.stat().st_dev, path.stat().st_ino)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(path) in (process / "maps").read_text():
                return True
            for handle in (process / "fd").iterdir():
                about = handle.stat()
                if (about.st_dev, about.st_ino) == identity:
                    return True
        except OSError:  # it has ended, or is another's
            continue
    return False


def main(argv: list[str]) -> int:
    levels = [finding.level for finding in examine(tyro.cli(Doctor, args=argv, prog="pipelines.doctor"))]
    print(f"\n{levels.count('ok')} ok, {levels.count('warn')} to look at, {levels.count('fail')} to mend")
    return EXIT_FAILED if "fail" in levels else 0


if __name__ == "__main__":
    run(main)
