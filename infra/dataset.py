"""A dataset folder: shards, the rows of each, one manifest, one description; how it is committed and opened.

<out>/<task>-<fingerprint>/
    run.json                      the resolved configuration, can be given back with --config
    shard-000000.tar ...          one atomic put each
    rows/shard-000000.json ...    put after its shard: the mark that the shard is committed, and its manifest rows
    manifest.parquet              a row an example; put when every shard is committed
    dataset.json                  id, parents, totals; created last and only once: without it there is no dataset
    quarantine.csv                inputs that could not serve, with the reason
"""

import collections
import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from infra.shards import Sample, ShardError, encode_json, read
from infra.storage import Store

MANIFEST, DESCRIPTION, RUN, QUARANTINE = "manifest.parquet", "dataset.json", "run.json", "quarantine.csv"
ROWS_PER_BLOCK = 1000  # shards merged at a time: bounds the Python objects alive while the manifest is made
QUARANTINE_COLUMNS = ["source", "path", "reason", "detail", "key", "attempt"]


class ShardRows(msgspec.Struct, frozen=True):
    """A committed shard: what it is and one row for each of its examples."""

    shard: str
    sha256: str
    num_bytes: int
    examples: list[dict[str, Any]]
    rejects: list[dict[str, Any]]


def shard_name(index: int) -> str:
    return f"shard-{index:06d}.tar"


def _rows_name(shard: str) -> str:
    return f"rows/{shard.removesuffix('.tar')}.json"


def commit_shard(store: Store, shard: str, data: bytes, rows: ShardRows) -> None:
    """Put the shard, then its rows. Killed in between, the shard is made again with the same bytes."""
    store.put(shard, data)
    store.put(_rows_name(shard), encode_json(msgspec.to_builtins(rows)))


def committed(store: Store) -> set[str]:
    """Names of the shards that are there with their rows."""
    rows = {name.removeprefix("rows/").replace(".json", ".tar") for name in store.list("rows/")}
    return rows & set(store.list("shard-"))


def shard_rows(store: Store, shards: list[str]) -> Iterator[ShardRows]:
    """The rows of committed shards, in the order asked for, fetched several at a time."""
    with ThreadPoolExecutor(16) as pool:
        for data in pool.map(lambda shard: store.get(_rows_name(shard)), shards):
            yield msgspec.json.decode(data, type=ShardRows)


@dataclass(frozen=True)
class Totals:
    """What a dataset holds, summed over its rows."""

    table: pa.Table
    rejects: pd.DataFrame
    num_bytes: int
    hours: float
    licences: dict[str, int]


def gather(store: Store, shards: list[str]) -> Totals:
    """Merge the rows of all shards, columnar and block by block."""
    tables, rejects, num_bytes = [], [], 0
    licences: collections.Counter = collections.Counter()
    for start in range(0, len(shards), ROWS_PER_BLOCK):
        block = []
        for rows in shard_rows(store, shards[start : start + ROWS_PER_BLOCK]):
            num_bytes += rows.num_bytes
            rejects += rows.rejects
            for row in rows.examples:
                licences.update(row["licences"])
                block.append(row | {"shard": rows.shard, "shard_sha256": rows.sha256, "shard_num_bytes": rows.num_bytes})
        if block:
            tables.append(_columns(block))
    if not tables:
        raise ValueError(f"{store.url}: no example could be made; {QUARANTINE} says why")
    table = pa.concat_tables(tables, promote_options="default")
    hours = sum(table["num_samples"].to_pylist()) / table["sample_rate_hz"][0].as_py() / 3600
    frame = pd.DataFrame(rejects, columns=QUARANTINE_COLUMNS)
    return Totals(table, frame, num_bytes, hours, dict(sorted(licences.items())))


def _columns(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a table with every column that any of them has: `pa.Table.from_pylist` takes those of the first row only."""
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def shards_of(manifest: pa.Table) -> pd.DataFrame:
    """One row a shard, sorted: shard, shard_sha256, shard_num_bytes, num_examples."""
    frame = manifest.select(["shard", "shard_sha256", "shard_num_bytes"]).to_pandas()
    return frame.groupby(list(frame.columns), as_index=False).size().rename(columns={"size": "num_examples"})


def dataset_id(shards: pd.DataFrame) -> str:
    """sha256 over the shards' names, hashes, sizes and counts: the same data has the same id wherever it lies."""
    lines = (f"{row.shard} {row.shard_sha256} {row.shard_num_bytes} {row.num_examples}\n" for row in shards.itertuples())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def find_datasets(store: Store) -> list[Store]:
    """The finished datasets at this place: itself, or those in the folders below it."""
    if store.exists(DESCRIPTION):
        return [store]
    return [store.child(name.removesuffix(f"/{DESCRIPTION}")) for name in store.list() if name.endswith(f"/{DESCRIPTION}")]


def finish(store: Store, totals: Totals, description: dict[str, Any]) -> bool:
    """Put the manifest, then create the description. False if another run created it first; what is there then stands."""
    if len(totals.rejects):
        store.put(QUARANTINE, totals.rejects.to_csv(index=False).encode())
    buffer = io.BytesIO()
    pq.write_table(totals.table, buffer, compression="zstd")
    manifest = buffer.getvalue()
    store.put(MANIFEST, manifest)
    return store.create(DESCRIPTION, encode_json(description | {"manifest_sha256": hashlib.sha256(manifest).hexdigest()}))


@dataclass(frozen=True)
class Dataset:
    """A finished dataset, opened by its manifest."""

    store: Store
    description: dict[str, Any]
    manifest: pa.Table

    def shards(self) -> pd.DataFrame:
        """One row a shard: shard, shard_sha256, shard_num_bytes, num_examples."""
        return shards_of(self.manifest)


def read_shard(store: Store, shard: str, sha256: str, num_examples: int) -> Iterator[Sample]:
    """The samples of one shard, held to its manifest row. ShardError where they differ or the shard is gone."""
    try:
        data = store.get(shard)
    except FileNotFoundError:
        raise ShardError(f"{store.url}/{shard}: it is in the manifest, and not there; rerun what made it") from None
    return read(data, f"{store.url}/{shard}", sha256, num_examples)


def open_dataset(store: Store) -> Dataset:
    """The finished dataset at this place. ValueError if there is none, or its manifest is another than it was finished with."""
    try:
        description = msgspec.json.decode(store.get(DESCRIPTION))
    except FileNotFoundError:
        raise ValueError(f"{store.url}: no {DESCRIPTION} here: not a dataset, or its run is not finished; rerun it") from None
    except msgspec.DecodeError as error:
        raise ValueError(f"{store.url}/{DESCRIPTION}: {error}") from error
    try:
        data = store.get(MANIFEST)
    except FileNotFoundError:
        raise ValueError(f"{store.url}: {MANIFEST} is missing; delete {DESCRIPTION} and rerun to make it again") from None
    if hashlib.sha256(data).hexdigest() != description.get("manifest_sha256"):
        raise ValueError(f"{store.url}/{MANIFEST}: its sha256 is not the one in {DESCRIPTION}: changed or truncated")
    return Dataset(store, description, pq.read_table(io.BytesIO(data)))
