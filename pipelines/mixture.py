"""Data of several tasks in one go: `make simulate TASK=all`, `python -m pipelines.mixture --shares mixture.toml`.

Each task has a dataset folder of its own; <out>/all-<fingerprint>/ has one manifest over all of them.
"""

import io
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import tyro

from infra.command_line import run
from infra.config import fingerprint
from infra.corpus_schema import nearest
from infra.dataset import MANIFEST, Dataset
from infra.shards import encode_json
from infra.storage import open_store
from pipelines.simulate import Simulate, simulate
from pipelines.verify import Verify, verify
from simulation.registry import configurations, names

DESCRIPTION = "mixture.json"


@dataclass(frozen=True)
class Mixture:
    """How much of which task; the other options are those of `pipelines.simulate` and hold for every task."""

    shares: str = ""
    """A TOML file with a table [shares], such as `sr = 3` and `lass-published = 1`; every task alike if empty."""
    corpus: str = ""
    """A manifest, a folder or an s3:// prefix; the synthetic starter corpus if empty."""
    out: str = "data"
    """Folder or s3://bucket/prefix for the datasets."""
    count: int = 1024
    """Examples of all tasks together."""
    seed: int = 0
    """Another seed is other data."""
    sample_rate_hz: int = 16000
    """Of all audio."""
    split: str = "train"
    """Part of the corpus to draw from."""
    examples_per_shard: int = 64
    """Of every dataset."""
    stems: bool = True
    """Store the parts of each mixture too."""
    workers: int | None = None
    """CPUs of this machine to use, all if not given."""
    rerender: int = 2
    """Examples of each dataset that the final verification renders again."""


def read_shares(path: str) -> dict[str, float]:
    """Shares by what a command line can name. ValueError with the file and the nearest name."""
    if not path:
        return dict.fromkeys(names(), 1.0)
    try:
        shares = tomllib.loads(Path(path).read_text())["shares"]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise ValueError(f"--shares {path}: give a TOML file with a table [shares]: {error}") from error
    for name, share in shares.items():
        if name not in configurations():
            raise ValueError(f"--shares {path}: no task {name!r}: {nearest(name, tuple(configurations()))}")
        if isinstance(share, bool) or not isinstance(share, int | float) or not share > 0:
            raise ValueError(f"--shares {path}: {name} = {share!r}: give a number above 0")
    tasks = [configurations()[name][0] for name in shares]
    if len(set(tasks)) < len(tasks):
        raise ValueError(
            f"--shares {path}: {', '.join(shares)}: two kinds of one task would draw the same scenes; give one of them"
        )
    if not shares:
        raise ValueError(f"--shares {path}: the table [shares] is empty")
    return shares


def counts(shares: dict[str, float], total: int) -> dict[str, int]:
    """Examples by name, `total` in all: rounded down, what is left goes to the largest remainders."""
    exact = {name: total * share / sum(shares.values()) for name, share in shares.items()}
    found = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (found[name] - exact[name], name))
    for name in by_remainder[: total - sum(found.values())]:
        found[name] += 1
    return {name: count for name, count in found.items() if count}


def combine(datasets: dict[str, Dataset]) -> tuple[pa.Table, dict[str, Any]]:
    """One manifest over all, with the folder of each example's dataset, and what the mixture is made of."""
    tables, parts = [], {}
    for name, dataset in datasets.items():
        folder = dataset.store.url.rstrip("/").rpartition("/")[2]
        column = pa.array([folder]).take(pa.array([0] * dataset.manifest.num_rows))
        tables.append(dataset.manifest.append_column("dataset", column))
        parts[name] = {"folder": folder, "id": dataset.description["id"], "totals": dataset.description["totals"]}
    return pa.concat_tables(tables, promote_options="default"), parts


def mix(config: Mixture) -> int:
    """Make every dataset that is not there yet, verify all, then write the manifest over them; the exit code."""
    shares = read_shares(config.shares)
    datasets = {}
    for name, count in counts(shares, config.count).items():
        task, ranges = configurations()[name]
        options = {key: getattr(config, key) for key in vars(config) if key not in ("shares", "count", "rerender")}
        datasets[name] = simulate(Simulate(ranges, count=count, **options), task)
    code = max(
        verify(Verify(out=dataset.store.url, rerender=config.rerender, workers=config.workers)) for dataset in datasets.values()
    )
    if code:
        return code
    table, parts = combine(datasets)
    url = f"{config.out.rstrip('/')}/all-{fingerprint(parts)}"
    store = open_store(url)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    store.put(MANIFEST, buffer.getvalue())
    store.put(DESCRIPTION, encode_json({"parts": parts, "shares": shares, "examples": table.num_rows}))
    print(f"\n{table.num_rows} examples of {len(parts)} tasks: {url}/{MANIFEST}")
    for name, part in parts.items():
        print(f"  {name:<16} {part['totals']['examples']:>8} examples  {part['totals']['hours']:>9.2f} hours  {part['folder']}")
    return 0


def main(argv: list[str]) -> int:
    return mix(tyro.cli(Mixture, args=argv, prog="pipelines.mixture"))


if __name__ == "__main__":
    run(main)
