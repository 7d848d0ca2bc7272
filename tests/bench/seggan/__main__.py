"""Segments or the whole? `python -m tests.bench.seggan`: the synthetic benchmark of sequence GANs, several seeds, one table.

Of each form the same training with nested prefixes and with the whole alone, at equal updates and at equal CPU seconds, beside
likelihood alone: as it is, with lower temperatures, and trained for longer. A seed's result is kept: a rerun makes the rest.
The published size is `--size.vocab-size 5000 --size.num-tokens 20`.
"""

import functools
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import tyro

from infra.command_line import run
from tests.bench.seggan.arms import Size, one_seed
from tests.bench.seggan.table import table


@dataclass(frozen=True)
class Bench:
    """What to run."""

    size: Size = field(default_factory=Size)
    seeds: int = 6
    processes: int = 2
    out: str = "data/bench-seggan"
    """Folder of the seeds' results."""


def main(argv: list[str]) -> int:
    config = tyro.cli(Bench, args=argv, prog="tests.bench.seggan")
    one = functools.partial(one_seed, config.size, config.out)
    with ProcessPoolExecutor(config.processes, multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(one, range(config.seeds)))
    size = config.size
    print(f"V {size.vocab_size}, T {size.num_tokens}, {config.seeds} seeds, mean and standard deviation; nats a token\n")
    print(table(found))
    return 0


if __name__ == "__main__":
    run(main)
