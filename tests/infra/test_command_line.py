import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.command_line import Choice, Stopped, parse, run

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Config:
    """A run."""

    count: int = 1
    """How many."""
    name: str = "a"


CHOICES = {"sr": Choice("sr", Config, Config()), "sr-fast": Choice("sr", Config, Config(count=9))}


def parsed(*argv: str):
    return parse(CHOICES, list(argv), prog="simulate")


def test_a_name_and_its_options_make_a_configuration():
    assert parsed("sr", "--count", "3") == ("sr", Config(count=3))
    assert parsed("sr-fast", "--name", "b") == ("sr", Config(count=9, name="b"))


def test_an_unknown_name_is_refused_with_the_nearest(capsys):
    with pytest.raises(ValueError, match="no task 'srr': did you mean 'sr'"):
        parsed("srr")
    with pytest.raises(ValueError, match="there are sr, sr-fast"):
        parsed("lass")


def test_an_unknown_option_is_refused_with_the_nearest(capsys):
    with pytest.raises(SystemExit) as end:
        parsed("sr", "--cuont", "3")
    assert end.value.code == 2
    assert "--count" in capsys.readouterr().err


def test_a_value_of_the_wrong_type_is_refused(capsys):
    with pytest.raises(SystemExit) as end:
        parsed("sr", "--count", "many")
    assert end.value.code == 2


def test_help_names_every_task(capsys):
    with pytest.raises(SystemExit) as end:
        parsed("--help")
    assert end.value.code == 0
    assert "sr, sr-fast" in capsys.readouterr().out


def test_a_saved_configuration_is_given_back_and_overridden(tmp_path):
    file = tmp_path / "run.json"
    file.write_text(json.dumps({"task": "sr", "config": {"count": 5, "name": "c"}}))
    assert parsed("--config", str(file)) == ("sr", Config(5, "c"))
    assert parsed("sr", "--config", str(file), "--count", "6") == ("sr", Config(6, "c"))


@pytest.mark.parametrize("text", ["", "{}", '{"task": "sr", "config": {"cuont": 1}}', '{"task": "vc", "config": {}}'])
def test_a_bad_saved_configuration_names_its_file(tmp_path, text):
    file = tmp_path / "run.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"run\.json"):
        parsed("--config", str(file))


@pytest.mark.parametrize(("error", "code"), [(ValueError("bad"), 2), (OSError("gone"), 5)])
def test_every_way_to_fail_has_its_exit_code(error, code, capsys):
    def main(argv):
        raise error

    with pytest.raises(SystemExit) as end:
        run(main)
    assert end.value.code == code
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stop", "code"), [(Stopped("stopped at step 3; the same command goes on"), 75), (KeyboardInterrupt(), 130)]
)
def test_a_stop_that_was_asked_for_is_no_error(stop, code, capsys):
    def main(argv):
        raise stop

    with pytest.raises(SystemExit) as end:
        run(main)
    said = capsys.readouterr().err
    assert end.value.code == code and "goes on" in said and "error" not in said


TALKING_WORKER = """
import os, ray, sys, time
from infra import cluster
from infra.command_line import run

@ray.remote
def talk(path):
    open(path, "w").close()
    for number in range(1000):
        print("line", number, file=sys.stderr, flush=True)
        time.sleep(0.01)

def main(argv):
    cluster.start(1)
    talk.remote(argv[0])
    while not os.path.exists(argv[0]):
        time.sleep(0.01)
    time.sleep(1)
    raise ValueError("no such teacher")

run(main)
"""


@pytest.mark.cluster
def test_the_message_is_the_last_line_whatever_workers_log_meanwhile(tmp_path):
    command = [sys.executable, "-c", TALKING_WORKER, str(tmp_path / "talking")]
    done = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 2 and "line 9" in done.stdout
    assert done.stdout.rstrip().endswith("error: no such teacher"), done.stdout
