"""A dataset folder: shards, the rows of each, one manifest, one description; how it is committed and opened.

<out>/<task>-<fingerprint>/
    run.json                      the resolved configuration, can be given back with --config
    shard-000000.tar ...          one atomic put each
    rows/shard-000000.json ...    put after its shard: the mark that the shard is committed, and its manifest rows
    manifest.parquet              a row an example; put when every shard is committed
    dataset.json                  id, parents, totals; created last and only once: without it there is no dataset
    quarantine.csv                inputs that could not serve, with the reason
    verified.json                 of a retraining: which data were checked by which code; they are not checked again
"""

import collections
import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from infra.shards import Sample, ShardError, encode_json, read
from infra.storage import Store

MANIFEST, DESCRIPTION, RUN, QUARANTINE = "manifest.parquet", "dataset.json", "run.json", "quarantine.csv"
ROWS_PER_BLOCK = 1000  # shards merged at a time: bounds the Python objects alive while the manifest is made
SHARD_COLUMNS = {"shard": pa.types.is_string, "shard_sha256": pa.types.is_string, "shard_num_bytes": pa.types.is_integer}
ROW_SCHEMA = pa.schema(  # what every example has
    [
        ("key", pa.string()),
        ("licences", pa.list_(pa.string())),
        ("num_samples", pa.int64()),
        ("sample_rate_hz", pa.int64()),
    ]
)
QUARANTINE_COLUMNS = ["source", "path", "reason", "detail", "key", "attempt"]


class ShardRows(msgspec.Struct, frozen=True):
    """A committed shard: what it is and one row for each of its examples."""

    shard: str
    sha256: str
    num_bytes: int
    examples: list[dict[str, Any]]
    rejects: list[dict[str, Any]]


class _StoredRows(msgspec.Struct, frozen=True):
    """ShardRows as they are read back: the examples as undecoded JSON, which Arrow parses many times as fast as Python."""

    shard: str
    sha256: str
    num_bytes: int
    examples: list[msgspec.Raw]
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


def shard_rows(store: Store, shards: list[str]) -> Iterator[_StoredRows]:
    """The rows of committed shards, in the order asked for, fetched several at a time."""
    with ThreadPoolExecutor(16) as pool:
        for shard, data in zip(shards, pool.map(lambda shard: store.get(_rows_name(shard)), shards)):
            try:
                yield msgspec.json.decode(data, type=_StoredRows)
            except (ValueError, RecursionError) as error:  # of msgspec, of UTF-8
                raise _bad_rows(store, shard, error) from error


def _bad_rows(store: Store, shard: str, error: Exception) -> ValueError:
    place = f"{store.url}/{_rows_name(shard)}"
    return ValueError(f"{place}: not the rows of a shard ({error!r}); delete it and rerun, which makes its shard again")


@dataclass(frozen=True)
class Totals:
    """What a dataset holds, summed over its rows."""

    table: pa.Table
    rejects: pd.DataFrame
    num_bytes: int
    hours: float
    licences: dict[str, int]


def gather(store: Store, shards: list[str]) -> Totals:
    """Merge the rows of all shards, columnar and block by block. ValueError names rows that are damaged."""
    tables, rejects, num_bytes = [], [], 0
    for start in range(0, len(shards), ROWS_PER_BLOCK):
        names = shards[start : start + ROWS_PER_BLOCK]
        block = list(shard_rows(store, names))
        num_bytes += sum(rows.num_bytes for rows in block)
        rejects += [reject for rows in block for reject in rows.rejects]
        if any(rows.examples for rows in block):
            tables.append(_block_table(store, names, block))
    if not tables:
        raise ValueError(f"{store.url}: no example could be made; {QUARANTINE} says why")
    table = pa.concat_tables(tables, promote_options="permissive")
    licences = collections.Counter(dict(_counts(pc.list_flatten(table["licences"]))))
    hours = pc.sum(table["num_samples"]).as_py() / table["sample_rate_hz"][0].as_py() / 3600
    frame = pd.DataFrame(rejects, columns=QUARANTINE_COLUMNS)
    return Totals(table, frame, num_bytes, hours, dict(sorted(licences.items())))


def _counts(column: pa.ChunkedArray) -> Iterator[tuple[str, int]]:
    for entry in pc.value_counts(column).to_pylist():
        yield entry["values"], entry["counts"]


def _block_table(store: Store, names: list[str], block: list[_StoredRows]) -> pa.Table:
    """A row an example, with every column that any of them has, and the shard that it is in."""
    try:
        table = _rows_table([example for rows in block for example in rows.examples])
    except (pa.ArrowException, UnicodeDecodeError):
        for name, rows in zip(names, block):  # which of them is it?
            try:
                _rows_table(rows.examples)
            except (pa.ArrowException, UnicodeDecodeError) as error:
                raise _bad_rows(store, name, error) from error
        raise
    table = table.drop_columns([name for name in SHARD_COLUMNS if name in table.column_names])  # rows of an earlier manifest
    counts = [len(rows.examples) for rows in block]
    for name, field in (("shard", "shard"), ("shard_sha256", "sha256"), ("shard_num_bytes", "num_bytes")):
        values = pa.array([getattr(rows, field) for rows in block])
        table = table.append_column(name, values.take(pa.array(np.repeat(np.arange(len(block)), counts))))
    return table


def _rows_table(rows: list[msgspec.Raw]) -> pa.Table:
    """JSON objects to a table. pa.ArrowInvalid if columns that every example has are missing or of another type."""
    if not rows:
        return ROW_SCHEMA.empty_table()
    data = b"\n".join(bytes(row) for row in rows)
    block = pa_json.ReadOptions(
        use_threads=False, block_size=max(2**24, max(map(len, rows)) + 1)
    )  # whose order is always the same
    table = pa_json.read_json(pa.BufferReader(data), block, pa_json.ParseOptions(explicit_schema=ROW_SCHEMA))
    times = [field for field in table.schema if "timestamp" in str(field.type)]  # what looks like one is text
    if times:
        schema = pa.schema([*ROW_SCHEMA, *((field.name, _as_text(field.type)) for field in times)])
        table = pa_json.read_json(pa.BufferReader(data), block, pa_json.ParseOptions(explicit_schema=schema))
    table.validate(full=True)
    if table.num_rows != len(rows) or any(table[field.name].null_count for field in ROW_SCHEMA):
        raise pa.ArrowInvalid(f"{table.num_rows} examples with {', '.join(ROW_SCHEMA.names)} instead of {len(rows)}")
    return table


def _as_text(kind: pa.DataType) -> pa.DataType:
    """The type with texts where Arrow found times."""
    if pa.types.is_list(kind):
        return pa.list_(_as_text(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _as_text(field.type)) for field in kind])
    return pa.string() if pa.types.is_timestamp(kind) else kind


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
        description = msgspec.json.decode(store.get(DESCRIPTION), type=dict[str, Any])
    except FileNotFoundError:
        raise ValueError(f"{store.url}: no {DESCRIPTION} here: not a dataset, or its run is not finished; rerun it") from None
    except (ValueError, RecursionError) as error:  # of msgspec, of UTF-8
        raise ValueError(f"{store.url}/{DESCRIPTION}: {error}") from error
    try:
        data = store.get(MANIFEST)
    except FileNotFoundError:
        raise ValueError(f"{store.url}: {MANIFEST} is missing; delete {DESCRIPTION} and rerun to make it again") from None
    if hashlib.sha256(data).hexdigest() != description.get("manifest_sha256"):
        raise ValueError(f"{store.url}/{MANIFEST}: its sha256 is not the one in {DESCRIPTION}: changed or truncated")
    return Dataset(store, description, _table(data, f"{store.url}/{MANIFEST}"))


def _table(data: bytes, where: str) -> pa.Table:
    """The manifest's table. ValueError for what `finish` did not write."""
    try:
        table = pq.read_table(io.BytesIO(data))
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{where}: cannot be read as parquet: {error}") from error
    for name, is_kind in SHARD_COLUMNS.items():
        if name not in table.column_names or not is_kind(table.schema.field(name).type):
            raise ValueError(f"{where}: no column {name} of its type: not a manifest of ours")
    return table
