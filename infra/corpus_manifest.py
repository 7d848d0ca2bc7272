"""The corpus manifest: one row a file, columns in Arrow, as Parquet or CSV in a folder or under an S3 prefix.

    <corpus>/
        manifest.parquet    a row a file; its metadata name the root that the paths are relative to
        corpus.json         name, format, root, id, totals per role, licences, reject counts: for people and for provenance
        quarantine.csv      files that could not serve: id, path, reason, detail

infra/corpus_schema.py has the columns. Others of a hand-made manifest are left out. No Python object per row is made here.
"""

import contextlib
import csv
import io
import json
import os
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from infra.corpus_schema import REQUIRED, SPLITS, content_id, nearest, validate
from infra.storage import Store, open_store

MANIFEST, CSV_MANIFEST, DESCRIPTION, QUARANTINE = "manifest.parquet", "manifest.csv", "corpus.json", "quarantine.csv"
METADATA_KEY = b"quarkline.corpus"
ROWS_PER_CHUNK = 100_000
BLOCK_BYTES = 2**24  # of a CSV, parsed at a time


@dataclass(frozen=True)
class Corpus:
    """A manifest in memory. `root` is the folder or S3 prefix that the paths are relative to; `id` names the content."""

    table: pa.Table
    root: str
    id: str
    name: str
    location: str  # what `read` was given

    def of_split(self, split: str) -> pa.Table:
        """The rows of one split. ValueError if the split is unknown or has none."""
        if split not in SPLITS:
            raise ValueError(f"split {split!r}: {nearest(split, SPLITS)}")
        rows = self.table.filter(pc.equal(self.table["split"], split))
        if not rows.num_rows:
            counts = pc.value_counts(self.table["split"]).to_pylist()
            there = ", ".join(f"{entry['values']} ({entry['counts']} files)" for entry in counts)
            raise ValueError(f"{self.location}: no file has split {split!r}; choose another --split: there is {there}")
        return rows


def read(location: str) -> Corpus:
    """The corpus of a .parquet or .csv manifest, or of a folder or s3:// prefix that holds one.

    FileNotFoundError if there is none; ValueError naming file, column, row (the first is 1) and remedy if it is not sound.
    """
    store, name = _find(location)
    where = f"{store.url}/{name}"
    table, about = _parse(store.get(name), where)
    about = about or description(store)
    table = validate(table, where)
    root = about.get("root", ".")
    if "://" not in root:
        root = store.url if root == "." else root if os.path.isabs(root) else f"{store.url}/{root}"
        root = root if "://" in root else os.path.abspath(root)
    title = about.get("name") or os.path.basename(os.path.abspath(store.url) if "://" not in store.url else store.url)
    return Corpus(table, root, content_id(table), title, location)


def has_manifest(store: Store) -> bool:
    """True where `read` would find a manifest of ours: a CSV counts only if it has the required columns."""
    if store.exists(MANIFEST):
        return True
    if not store.exists(CSV_MANIFEST):
        return False
    with contextlib.suppress(csv.Error, UnicodeDecodeError):
        return set(REQUIRED) <= set(_header(store.get(CSV_MANIFEST)))
    return False


def write(table: pa.Table, location: str, *, root: str = "", name: str = "", about: dict[str, Any] | None = None) -> Corpus:
    """Check the table and put corpus.json, then manifest.parquet, into the folder or prefix; the corpus as `read` gives it.

    `root` is where the audio lies, if elsewhere; `about` goes into corpus.json (format, rejects ...).
    """
    store = open_store(location)
    table = validate(table, f"{location}/{MANIFEST}")
    identity = {"name": name or os.path.basename(location.rstrip("/")), "root": _stored_root(root, location)}
    described = {**(about or {}), **identity, "id": content_id(table), "totals": totals(table)}
    buffer = io.BytesIO()
    stored = table.replace_schema_metadata({METADATA_KEY: json.dumps(identity)})
    pq.write_table(stored, buffer, compression="zstd", row_group_size=ROWS_PER_CHUNK)
    store.put(DESCRIPTION, json.dumps(described, indent=1, ensure_ascii=False).encode())
    store.put(MANIFEST, buffer.getvalue())  # last: a corpus without it is not there
    return read(location)


def _stored_root(root: str, location: str) -> str:
    """ "." where the audio lies beside the manifest, so that both can be moved together; else the absolute place."""
    if not root or root.rstrip("/") == location.rstrip("/"):
        return "."
    return root.rstrip("/") if "://" in root else os.path.abspath(root)


def totals(table: pa.Table) -> dict[str, Any]:
    """Files, hours and groups by role, files by split and by licence: plain JSON."""
    frame = table.select(["role", "split", "licence", "group"]).to_pandas()
    frame["hours"] = table["num_frames"].to_numpy() / table["sample_rate_hz"].to_numpy() / 3600
    by_role = frame.groupby("role").agg(files=("hours", "size"), hours=("hours", "sum"), groups=("group", "nunique"))
    return {
        "files": len(frame),
        "hours": round(float(frame["hours"].sum()), 6),
        "roles": by_role.round({"hours": 6}).to_dict("index"),
        "splits": frame["split"].value_counts().sort_index().to_dict(),
        "licences": frame["licence"].value_counts().sort_index().to_dict(),
    }


def _find(location: str) -> tuple[Store, str]:
    """The store and the manifest's name in it."""
    folder, _, file = location.rpartition("/")
    if file.endswith((".parquet", ".csv")):
        store = open_store(folder or ("/" if location.startswith("/") else "."))
        if store.exists(file):
            return store, file
        raise FileNotFoundError(f"{location}: no such manifest")
    store = open_store(location.rstrip("/") or "/")
    for name in (MANIFEST, CSV_MANIFEST):
        if store.exists(name):
            return store, name
    raise FileNotFoundError(f"{location}: neither {MANIFEST} nor {CSV_MANIFEST} in it; `make corpus ROOT={location}` makes one")


def description(store: Store) -> dict[str, Any]:
    """What corpus.json says; {} if there is none. ValueError if it is damaged."""
    if not store.exists(DESCRIPTION):
        return {}
    try:
        return _about(store.get(DESCRIPTION))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{store.url}/{DESCRIPTION}: not a JSON object ({error}); delete it or make the corpus again"
        ) from error


def _about(data: bytes) -> dict[str, Any]:
    """A JSON object whose root and name, if it has them, are texts. ValueError, RecursionError."""
    about = json.loads(data)
    if not isinstance(about, dict) or not all(isinstance(about.get(name, ""), str) for name in ("root", "name")):
        raise ValueError("wanted is an object in which root and name are texts")
    return about


def _parse(data: bytes, where: str) -> tuple[pa.Table, dict[str, Any]]:
    """The table as it was stored, and what the file's metadata say of it."""
    try:
        table = _parse_csv(data) if where.endswith(".csv") else pq.read_table(pa.BufferReader(data))
        table.validate(full=True)
        str(table.schema)  # decodes the columns' names
        return table, _about((table.schema.metadata or {}).get(METADATA_KEY, b"{}"))
    except (ValueError, pa.ArrowException, OSError, RecursionError, csv.Error) as error:
        raise ValueError(f"{where}: cannot be read as {where.rpartition('.')[2]}: {error}; make it again") from error


def _header(data: bytes) -> list[str]:
    line = data[: data.find(b"\n") + 1 or None].decode("utf-8-sig")
    return next(csv.reader([line]), [])


def _parse_csv(data: bytes) -> pa.Table:
    """Every cell as text; a row with more or fewer fields than the header is refused."""
    header = _header(data)
    twice = {name for name in header if header.count(name) > 1}
    if twice:
        raise ValueError(f"column {sorted(twice)[0]!r} is there twice")
    texts = pa_csv.ConvertOptions(
        column_types={name: pa.string() for name in header}, null_values=[], strings_can_be_null=False
    )
    block = pa_csv.ReadOptions(block_size=min(len(data), BLOCK_BYTES) or 1, use_threads=False)  # which count the rows
    return pa_csv.read_csv(pa.BufferReader(data), block, pa_csv.ParseOptions(newlines_in_values=True), texts)
