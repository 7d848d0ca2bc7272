"""What made an artefact: the meaning of the code and the versions of the libraries under it."""

import ast
import hashlib
import importlib.metadata
import subprocess
from pathlib import Path


def code_hash(root: Path, names: tuple[str, ...]) -> str:
    """Twelve hex digits over the Python code of these files and folders; comments, docstrings and layout do not count."""
    digest = hashlib.sha256()
    for name in names:
        place = root / name
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            tree = ast.parse(file.read_text())
            for node in ast.walk(tree):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                    node.body = [child for child in node.body if not _is_text(child)]
            digest.update(file.relative_to(root).as_posix().encode() + ast.dump(tree).encode())
    return digest.hexdigest()[:12]


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def libraries(names: tuple[str, ...]) -> dict[str, str]:
    """Installed versions by distribution name."""
    return {name: importlib.metadata.version(name) for name in names}


def git_commit(folder: Path) -> str:
    """The checked-out commit, with "-dirty" where files differ from it; "" outside a git checkout."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
