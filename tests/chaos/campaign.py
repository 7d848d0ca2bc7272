"""A campaign of faults: `make chaos`. Every scenario so many times; the report is a table of Markdown.

It must read: present as many as expected, none duplicated, none lost, hashes equal. Exit code 6 if it does not.
"""

import os
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import tyro

from infra import s3_server
from infra.command_line import run
from tests.chaos.arena import Arena, Outcome
from tests.chaos.faults import SCENARIOS

HEAD = "work | fault | runs | faults | expected | present | duplicated | lost | recovered after, s | hashes equal"


@dataclass(frozen=True)
class Chaos:
    """What to disturb."""

    scenarios: tuple[str, ...] = tuple(SCENARIOS)
    """Which of the faults."""
    rounds: int = 1
    """How often each."""
    count: int = 96
    """Examples of a simulation."""

    def __post_init__(self) -> None:
        unknown = set(self.scenarios) - set(SCENARIOS)
        if unknown:
            raise ValueError(f"--scenarios {', '.join(unknown)}: there are {', '.join(SCENARIOS)}")


def row(outcomes: list[Outcome]) -> str:
    """One line of the report: sums over the rounds, the slowest recovery."""
    first = outcomes[0]
    sums = [sum(getattr(one, name) for one in outcomes) for name in ("faults", "expected", "present", "duplicated", "lost")]
    slowest = max(one.recover_s for one in outcomes)
    recovered = f"{slowest:.1f}" if slowest == slowest else "-"
    equal = "yes" if all(one.equal for one in outcomes) else "NO"
    return " | ".join(map(str, (first.what, first.fault, len(outcomes), *sums, recovered, equal)))


def campaign(config: Chaos, arena: Arena) -> bool:
    """Run it all and print the table as it grows; whether all is well."""
    is_well = True
    print(f"| {HEAD} |\n|{'---|' * (HEAD.count('|') + 1)}", flush=True)
    for name in config.scenarios:
        outcomes = []
        for number in range(config.rounds):
            try:
                outcomes.append(SCENARIOS[name](arena, arena.folder / f"{name}-{number}"))
            except Exception:  # the others are worth knowing
                traceback.print_exc()
                print(f"| {name} | NOT ENDED, round {number}: see above |", flush=True)
                is_well = False
        if outcomes:
            is_well &= all(outcome.is_well for outcome in outcomes)
            print(f"| {row(outcomes)} |", flush=True)
    return is_well


def main(argv: list[str]) -> int:
    config, started = tyro.cli(Chaos, args=argv, prog="tests.chaos.campaign"), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        arena = Arena(Path(folder), config.count)
        try:
            if any(name.startswith("s3") for name in config.scenarios):
                arena.server = s3_server.Server(Path(folder, "s3"), port=0)
                arena.server.start()
                os.environ |= arena.server.environment() | {"QUARKLINE_CACHE": str(Path(folder, "cache"))}
                s3_server.make_bucket(arena.server, arena.bucket)
            is_well = campaign(config, arena)
        finally:
            arena.close()
            if arena.server:
                arena.server.stop()
    print(f"\n{'all is well' if is_well else 'NOT ALL IS WELL'}, {time.monotonic() - started:.0f} s", file=sys.stderr)
    return 0 if is_well else 6


if __name__ == "__main__":
    run(main)
