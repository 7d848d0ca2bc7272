"""What a run at scale waits for: every limit as hours, the one that binds first, and what moves it.

Figures are measured (tests/bench/RESULTS.md) or parameters of infra/prices.toml.
"""

import math
from dataclasses import dataclass
from typing import Any

TASKS_PER_S = 600.0  # measured: shards that one driver gives out and takes back, on 2 cores that the workers share
ROWS_PER_S = 58_000.0  # measured in a folder: examples whose rows one driver merges into the manifest
MANIFEST_BYTES = 603.0  # of memory for the row of an example while its manifest is made
MOST_EXAMPLES = 1_000_000  # of a dataset, so that its manifest is made in 1 GB and stays one object


@dataclass(frozen=True)
class Bound:
    """One limit: how long the run takes if it is the only one."""

    name: str
    hours: float
    remedy: str


def simulation_bounds(totals: dict[str, float], nodes: int, prices: dict[str, Any], shard_s: float) -> list[Bound]:
    """The limits of a simulation, the one that binds first; `shard_s` is the CPU time of a shard."""
    cores = nodes * prices["cores_per_node"]
    parts = num_datasets(totals["examples"])
    network_h = totals["gigabytes"] * 8 / (nodes * prices["node_gigabits_per_s"]) / 3600
    larger = max(1, math.ceil(cores / shard_s / TASKS_PER_S))
    bounds = [
        Bound("processors", totals["core_hours"] / cores, "more nodes (--nodes)"),
        Bound("network out of the nodes", network_h, "more or better connected nodes; --run.no-stems stores about half"),
        Bound(
            "PUT requests on one prefix",
            totals["put_requests"] / prices["put_per_s_and_prefix"] / 3600,
            "larger shards (--run.examples-per-shard); each dataset is a prefix of its own",
        ),
        Bound(
            "driver: shards given out",
            totals["shards"] / TASKS_PER_S / 3600,
            f"shards {larger} x as large, or datasets made by several drivers at once (--first, --count)",
        ),
        Bound(
            "driver: rows into the manifest",
            totals["examples"] / ROWS_PER_S / 3600,
            f"{parts} datasets (--first, --count) made by several drivers at once, each with a manifest of its own",
        ),
    ]
    return sorted(bounds, key=lambda bound: -bound.hours)


def num_datasets(examples: float) -> int:
    """Parts of a run whose manifest would not fit into memory or one object."""
    return math.ceil(examples / MOST_EXAMPLES)


def show(bounds: list[Bound]) -> None:
    """Print the limits, the first that binds named with its remedy."""
    print("what it waits for, hours if it were the only limit:")
    for bound in bounds:
        print(f"  {bound.name:>32}  {bound.hours:>10,.3f}")
    print(f"  first bottleneck: {bounds[0].name}; moved by {bounds[0].remedy}")
