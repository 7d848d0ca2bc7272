"""The lock files: every installed package with its version and the sha256 of each of its files on the index.

    python -m infra.hashed_lock        writes requirements.lock and requirements-cpu.lock, -cuda.lock, -image.lock

`pip install --no-deps --require-hashes -r requirements.lock` then takes those bytes and no others, on any platform that the
index has files for. torch is apart, for there are two builds of one version: that for CPUs which pip takes here, and those of
the public index with the packages of CUDA which they need. pip prefers the latter wherever their hashes are allowed.
What only the image of a cluster has is apart, too.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from infra.command_line import run

LOCK, CPU_LOCK, CUDA_LOCK = "requirements.lock", "requirements-cpu.lock", "requirements-cuda.lock"
IMAGE_LOCK = "requirements-image.lock"
NAME = re.compile(r"([A-Za-z0-9._-]+)==")
BUILD = re.compile(r"^(torch==[0-9.]+)\+\w+$")  # which build of torch is installed here is not part of the version
TITLES = {
    LOCK: "Every package but torch, with the hashes of its files. Written by `make lock`, installed by `make setup`.",
    CPU_LOCK: "torch for CPUs: the file that the index of `make lock` has for its machine. Where there is none: the next.",
    IMAGE_LOCK: "boto3, with which the head of `ray up` starts machines, and what it needs. Only the image of nodes has it.",
    CUDA_LOCK: "torch as it is on the public index, and the packages that it needs for GPUs.",
}


def installed() -> list[str]:
    """`name==version` of what is installed beside this interpreter. ValueError for what no index has."""
    lines = [BUILD.sub(r"\1", line) for line in _said("pip", "freeze", "--all", "--exclude", "pip", "--exclude-editable")]
    odd = [line for line in lines if not NAME.match(line)]
    if odd:
        raise ValueError(f"{odd[0]}: not from an index; install a published version of it")
    return sorted(lines, key=str.lower)


def locked(requirements: Iterable[str], *options: str) -> dict[str, str]:
    """Name -> its lines of the lock file: version, where it is wanted, hashes. ValueError for a version that is not there."""
    words = ("pip", "compile", "-", "--generate-hashes", "--no-header", "--no-annotate", "--no-config", "--system-certs", "-q")
    lines = _said("uv", *words, *options, given="\n".join(requirements))
    found: dict[str, str] = {}
    for line in lines:
        if match := NAME.match(line):
            name = match[1]
            found[name] = line
        elif line.strip():
            found[name] += f"\n{line}"
    return found


def beside(packages: dict[str, str], requirement: str, *options: str) -> dict[str, str]:
    """What a requirement needs, itself included, that is not among the packages; those keep their versions."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as others:
        others.write("\n".join(lines.split()[0] for lines in packages.values()))
        others.flush()
        found = locked([requirement], *options, "--constraints", others.name)
    return {name: lines for name, lines in found.items() if name not in packages}


def hash_here(requirement: str) -> str:
    """sha256 of the file that pip takes on this machine."""
    words = ("install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps", "--report", "-", requirement)
    (taken,) = json.loads("\n".join(_said("pip", *words)))["install"]
    return taken["download_info"]["archive_info"]["hashes"]["sha256"]


def write(folder: Path) -> None:
    """All four files, from what is installed and what the index says of it."""
    versions = installed()
    torch = next(line for line in versions if line.startswith("torch=="))
    packages = locked([line for line in versions if line != torch], "--no-deps")
    cuda = beside(packages, torch, "--universal")
    image = beside(packages, next(line for line in versions if line.startswith("botocore==")).replace("botocore", "boto3"))
    cpu = {"torch": f"{torch} \\\n    --hash=sha256:{hash_here(torch)}"}
    for name, some in ((LOCK, packages), (CPU_LOCK, cpu), (CUDA_LOCK, cuda), (IMAGE_LOCK, image)):
        (folder / name).write_text("\n".join([f"# {TITLES[name]}", *(some[key] for key in sorted(some, key=str.lower))]) + "\n")
        print(f"{folder / name}: {len(some)} packages, {sum(lines.count('--hash') for lines in some.values())} files")


def _said(module: str, *words: str, given: str | None = None) -> list[str]:
    """Lines on stdout of `python -m module ...`. ValueError with its last lines if it fails."""
    command = [sys.executable, "-m", module, *words]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{module} {words[0]}: {done.stderr.strip()[-600:]}")
    return done.stdout.splitlines()


def main(argv: list[str]) -> None:
    write(Path(__file__).resolve().parents[1])


if __name__ == "__main__":
    run(main)
