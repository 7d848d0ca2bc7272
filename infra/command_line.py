"""Command lines: tyro over frozen dataclasses, a saved configuration given back with --config, one way to end."""

import difflib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from infra.config import from_json

EXIT_USAGE, EXIT_OUTSIDE, EXIT_INTERRUPTED = 2, 5, 130
EXIT_STOPPED = 75  # EX_TEMPFAIL of sysexits.h: saved, run the same command again


class TooManyRejects(ValueError):
    """More of the input cannot serve than the run allows: says what and why."""

    exit_code = 3


class ShardsFailed(ValueError):
    """Some of the work could not be done, the rest is committed: names what."""

    exit_code = 4


class Stopped(ValueError):
    """A signal has ended the run before its budget: all is saved, the same command goes on. No error."""

    exit_code = EXIT_STOPPED


@dataclass(frozen=True)
class Choice:
    """What the first word of a command line can name: the task behind it, the type of its configuration, its defaults."""

    task: str
    kind: Any
    default: Any


def parse(choices: dict[str, Choice], argv: list[str], prog: str) -> tuple[str, Any]:
    """`NAME --option value ...`, or `--config run.json [--option value ...]`, to the task and its configuration.

    ValueError with the nearest name for an unknown NAME; an unknown option ends the process with code 2 likewise.
    """
    argv = list(argv)
    if "--config" in argv:
        at = argv.index("--config")
        path = argv[at + 1] if at + 1 < len(argv) else ""
        del argv[at : at + 2]
        choice = _saved(choices, path)
        named = choices.get(argv.pop(0)) if argv and not argv[0].startswith("-") else choice
        if named is None or named.task != choice.task:
            raise ValueError(f"--config {path} is for the task {choice.task}, the command line names another")
        return choice.task, tyro.cli(choice.kind, default=choice.default, args=argv, prog=f"{prog} {choice.task}")
    if argv and argv[0] in choices:
        choice = choices[argv[0]]
        return choice.task, tyro.cli(choice.kind, default=choice.default, args=argv[1:], prog=f"{prog} {argv[0]}")
    if argv and argv[0] in ("-h", "--help"):
        print(f"usage: {prog} TASK [--option value ...] | --config run.json\n\nTASK is one of {', '.join(choices)};")
        print(f"`{prog} TASK --help` lists its options.")
        sys.exit(0)
    name = argv[0] if argv else ""
    near = difflib.get_close_matches(name, choices, n=1)
    raise ValueError(f"no task {name!r}: " + (f"did you mean {near[0]!r}?" if near else f"there are {', '.join(choices)}"))


def _saved(choices: dict[str, Choice], path: str) -> Choice:
    """The choice that a run.json was saved from, with the file's values as its defaults."""
    try:
        saved = json.loads(Path(path).read_text())
        task, values = saved["task"], saved["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"--config {path}: not a run.json that a run has saved: {error}") from error
    if task not in choices:
        raise ValueError(f"--config {path}: no task {task!r}; there are {', '.join(choices)}")
    kind = choices[task].kind
    return Choice(task, kind, from_json(kind, values, path))


def run(main: Callable[[list[str]], int | None]) -> None:
    """Call main with the process's arguments and exit with what it returns, or with the code of what it raises.

    0 all well, 2 a person's mistake, 3 too many rejects, 4 some shards failed, 5 the outside world fails, 6 a check failed,
    75 stopped by a signal with all saved, 130 interrupted.
    """
    try:
        sys.exit(main(sys.argv[1:]))
    except Stopped as stopped:
        _end(stopped, stopped.exit_code)
    except ValueError as error:
        _end(f"error: {error}", getattr(error, "exit_code", EXIT_USAGE))
    except OSError as error:
        _end(f"error: {error}", EXIT_OUTSIDE)
    except KeyboardInterrupt:
        _end("interrupted; what is committed stays, a rerun goes on", EXIT_INTERRUPTED)


def _end(message: object, code: int) -> None:
    ray = sys.modules.get("ray")  # imported by who uses it: it takes a second
    if ray is not None and ray.is_initialized():
        ray.shutdown()  # what its workers logged is printed until then, and the message is to be the last line
    print(message, file=sys.stderr)
    sys.exit(code)
