"""Make an earlier champion the champion again: `python -m pipelines.rollback --registry s3://bucket/registry`."""

from dataclasses import dataclass

import tyro

from infra.command_line import run
from infra.registry import Entry, Registry


@dataclass(frozen=True)
class Rollback:
    """Go back. It is a change of the champion like any other: by compare-and-swap, with an entry in the history."""

    registry: str = ""
    """Folder or s3:// prefix of the registry."""
    to: str = ""
    """Id of an earlier champion, or its beginning; the one before the current one came, if not given."""
    reason: str = "rolled back by hand"
    """For the history."""
    show: bool = False
    """Print the history and change nothing."""


def line(entry: Entry) -> str:
    return f"{entry.number:6d}  {entry.at}  {entry.kind:<10} {entry.model}  {entry.reason}"


def main(argv: list[str]) -> int:
    config = tyro.cli(Rollback, args=argv, prog="pipelines.rollback")
    registry = Registry(config.registry)
    if not config.show:
        registry.rollback(config.to, config.reason)
    for entry in registry.history():
        print(line(entry))
    champion = registry.champion()
    print(f"champion: {champion.model if champion else 'none yet'}")
    return 0


if __name__ == "__main__":
    run(main)
