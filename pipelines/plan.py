"""What a dataset will cost: `python -m pipelines.plan sr --hours 1000` measures a few examples here and multiplies."""

import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from infra.command_line import Choice, parse, run
from pipelines import bounds
from pipelines import corpus as corpora
from pipelines.rendering import Recipe, loader, make_shard, render
from pipelines.simulate import Simulate, bank_of
from simulation.registry import configurations

T = TypeVar("T")
PRICES = Path(__file__).resolve().parents[1] / "infra" / "prices.toml"
RAY_SHARE = 0.04  # of the CPU time, at 64 examples a task (tests/bench/RESULTS.md)


@dataclass(frozen=True)
class Plan(Generic[T]):
    """How much of which data, and the prices to reckon with."""

    run: Simulate[T]
    """The run to plan; its count is not used."""
    hours: float = 1000.0
    """Hours of examples to make."""
    measure: int = 64
    """Examples to render on this machine."""
    nodes: int = 10
    """Nodes to spread it over."""
    prices: str = str(PRICES)
    """A TOML file like infra/prices.toml."""
    price: tuple[str, ...] = ()
    """Single prices instead of the file's: cpu_core_hour=0.03 cores_per_node=64 ..."""


@dataclass(frozen=True)
class Measured:
    """One example, on average."""

    cpu_s: float
    num_bytes: float
    duration_s: float
    sources: float
    num_rejects: int


def measure(recipe: Recipe, corpus: corpora.Corpus) -> Measured:
    """Make one shard of the recipe in this process and divide; the first example pays for imports and is made before."""
    bank = bank_of(corpus, recipe)
    load = loader(corpus.root, recipe.sample_rate_hz)

    def attempt(index: int, number: int):
        return render(recipe, bank, load, index, number)

    make_shard(Recipe(**{**vars(recipe), "count": 1}), 0, attempt)
    started = time.process_time()
    data, rows = make_shard(recipe, 0, attempt)
    cpu_s = time.process_time() - started
    count = len(rows.examples)
    seconds = sum(row["num_samples"] for row in rows.examples) / recipe.sample_rate_hz
    sources = sum(len(row["sources"]) for row in rows.examples)
    return Measured(cpu_s / count, len(data) / count, seconds / count, sources / count, len(rows.rejects))


def estimate(one: Measured, recipe: Recipe, hours: float, nodes: int, prices: dict[str, Any]) -> dict[str, float]:
    """Totals of a run of so many hours of audio."""
    examples = hours * 3600 / one.duration_s
    shards = examples / recipe.examples_per_shard
    core_hours = examples * one.cpu_s * (1 + RAY_SHARE) / 3600
    gigabytes = examples * one.num_bytes / 1e9
    puts, gets = 2 * shards + 3, shards + examples * one.sources
    return {
        "examples": examples,
        "shards": shards,
        "core_hours": core_hours,
        "wall_hours": core_hours / (nodes * prices["cores_per_node"]),
        "gigabytes": gigabytes,
        "put_requests": puts,
        "get_requests": gets,
        "cost_compute": core_hours * prices["cpu_core_hour"],
        "cost_requests": puts / 1000 * prices["put_per_1000"] + gets / 1000 * prices["get_per_1000"],
        "cost_storage_month": gigabytes * prices["storage_gb_month"],
    }


def read_prices(path: str) -> dict[str, Any]:
    """The price file. ValueError names what is missing in it."""
    try:
        prices = tomllib.loads(Path(path).read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"--prices {path}: {error}") from error
    wanted = tomllib.loads(PRICES.read_text())
    missing = sorted(set(wanted) - set(prices))
    if missing:
        raise ValueError(f"--prices {path}: {', '.join(missing)} not given; see {PRICES}")
    return prices


def with_changes(prices: dict[str, Any], changes: tuple[str, ...]) -> dict[str, Any]:
    """The prices with some of them replaced. ValueError for a name that is not one, or no number."""
    changed = dict(prices)
    for change in changes:
        name, _, value = change.partition("=")
        try:
            if name not in prices or name == "currency":
                raise ValueError(f"there are {', '.join(name for name in prices if name != 'currency')}")
            changed[name] = float(value)
        except ValueError as error:
            raise ValueError(f"--price {change}: give NAME=NUMBER ({error})") from error
    return changed


def show(task: str, config: Plan, one: Measured, totals: dict[str, float], currency: str) -> None:
    """Print what was measured, then what follows from it."""
    speed = one.duration_s / one.cpu_s
    print(f"{task}, {config.measure} examples of {one.duration_s:.1f} s measured on one core of this machine:")
    kilobytes = one.num_bytes / 1e3
    print(f"  {one.cpu_s * 1e3:.1f} ms CPU, {kilobytes:.0f} kB, {one.sources:.1f} sources an example; {speed:.0f} x real time")
    print(f"{config.hours:,.0f} hours on {config.nodes} nodes:")
    for name, value in totals.items():
        unit = f" {currency}" if name.startswith("cost") else ""
        print(f"  {name.replace('_', ' '):>18}  {value:>14,.2f}{unit}")


def main(argv: list[str]) -> int:
    choices = {
        name: Choice(task, Plan[type(config)], Plan(Simulate(config))) for name, (task, config) in configurations().items()
    }
    task, config = parse(choices, argv, prog="pipelines.plan")
    if config.hours <= 0 or config.measure < 1 or config.nodes < 1:
        raise ValueError("--hours must be more than 0, --measure and --nodes 1 or more")
    prices = with_changes(read_prices(config.prices), config.price)
    recipe = config.run.recipe(task)
    few = Recipe(**{**vars(recipe), "count": config.measure, "examples_per_shard": config.measure})
    one = measure(few, corpora.resolve(config.run.corpus))
    if one.num_rejects:
        print(f"{one.num_rejects} draws were thrown away; `make corpus` finds the files", file=sys.stderr)
    totals = estimate(one, recipe, config.hours, config.nodes, prices)
    show(task, config, one, totals, prices["currency"])
    bounds.show(bounds.simulation_bounds(totals, config.nodes, prices, one.cpu_s * recipe.examples_per_shard))
    parts = bounds.num_datasets(totals["examples"])
    if parts > 1:
        most = bounds.MOST_EXAMPLES
        print(f"  make it as {parts} datasets of at most {most:,} examples: --count {most} --first 0, {most}, {2 * most} ...")
    return 0


if __name__ == "__main__":
    run(main)
