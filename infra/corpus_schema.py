"""The columns of a corpus manifest: what is allowed in them, and the id of their content.

Millions of rows: every check is one pass over a column, no Python object per row.
"""

import difflib
import hashlib
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("path", pa.string()),  # of the file, below the corpus root, forward slashes
        ("role", pa.string()),  # one of ROLES
        ("speaker", pa.string()),
        ("group", pa.string()),  # never split: the speaker, the source recording, the room
        ("label", pa.string()),  # primary class
        ("text", pa.string()),  # transcript
        ("caption", pa.string()),
        ("labels", pa.string()),  # JSON object with whatever else is known
        ("words", pa.string()),  # JSON [[word, start_s, end_s], ...]
        ("sample_rate_hz", pa.int32()),
        ("num_frames", pa.int64()),
        ("num_channels", pa.int32()),
        ("licence", pa.string()),
        ("sha256", pa.string()),  # of the file's bytes
        ("split", pa.string()),  # one of SPLITS
    ]
)
DEFAULTS = dict.fromkeys(("speaker", "group", "label", "text", "caption", "labels", "words"), "") | {"num_channels": 1}
REQUIRED = [name for name in SCHEMA.names if name not in DEFAULTS]
ROLES = ("speech", "event", "music", "noise", "rir")
SPLITS = ("train", "valid", "test")
ESCAPES = r"(^|[/\\])\.{0,2}([/\\]|$)|^[A-Za-z]:[/\\]|://|[\x00-\x1f\x7f]"  # of paths: parts "", "." and "..", and other roots
REMEDY = "mend it where it comes from, or have the manifest made by `make corpus`"


def validate(table: pa.Table, where: str) -> pa.Table:
    """The table with exactly the columns and types of SCHEMA, defaults filled in. ValueError for what is not sound."""
    _check_names(table.column_names, where)
    if not table.num_rows:
        raise ValueError(f"{where}: has no rows; {REMEDY}")
    columns = []
    for field in SCHEMA:
        if field.name not in table.column_names:
            columns.append(pa.repeat(pa.scalar(DEFAULTS[field.name], field.type), table.num_rows))
        elif pa.types.is_string(field.type):
            columns.append(_as_text(table[field.name], field.name, where))
        else:
            columns.append(_as_integers(table[field.name], field, where))
    table = pa.Table.from_arrays(columns, schema=SCHEMA)
    _check_values(table, where)
    _check_unique(table, where)
    _check_groups(table, where)
    return table


def _check_names(names: list[str], where: str) -> None:
    absent = [name for name in SCHEMA.names if name not in names]
    for name in names:
        near = difflib.get_close_matches(name, absent, n=1, cutoff=0.8) if name not in SCHEMA.names else []
        if near:
            raise ValueError(f"{where}: unknown column {name!r}, did you mean {near[0]!r}? Rename it")
    missing = [name for name in absent if name in REQUIRED]
    if missing:
        others = [name for name in names if name not in SCHEMA.names]
        near = difflib.get_close_matches(missing[0], others, n=1, cutoff=0.5)
        hint = f"; {near[0]!r} looks nearest" if near else ""
        raise ValueError(f"{where}: no column {', '.join(missing)} (it has {', '.join(names)}){hint}; {REMEDY}")


def _as_text(column: pa.ChunkedArray, name: str, where: str) -> pa.ChunkedArray:
    try:
        return pc.fill_null(column.cast(pa.string()), "")
    except pa.ArrowException as error:
        raise ValueError(f"{where}: column {name!r} is {column.type}, must be text: {error}; {REMEDY}") from error


def _as_integers(column: pa.ChunkedArray, field: pa.Field, where: str) -> pa.ChunkedArray:
    if pa.types.is_large_string(column.type) or pa.types.is_string(column.type):
        whole = pc.match_substring_regex(column, r"^[0-9]{1,18}$")
    elif pa.types.is_floating(column.type):
        whole = pc.equal(column, pc.floor(column))
    elif pa.types.is_integer(column.type):
        whole = pc.is_valid(column)
    else:
        raise ValueError(f"{where}: column {field.name!r} is {column.type}, must be whole numbers; {REMEDY}")
    _refuse(column, pc.invert(pc.fill_null(whole, False)), f"{where}: column {field.name!r}", "must be a whole number")
    try:
        return column.cast(pa.int64()).cast(field.type)
    except pa.ArrowException as error:
        raise ValueError(f"{where}: column {field.name!r} does not fit {field.type}: {error}; {REMEDY}") from error


def _refuse(column: pa.ChunkedArray, bad: pa.ChunkedArray, where: str, rule: str) -> None:
    """ValueError naming the first row that is bad."""
    row = pc.index(bad, True).as_py()
    if row >= 0:
        count = pc.sum(bad).as_py()
        others = f" (and {count - 1} more rows)" if count > 1 else ""
        raise ValueError(f"{where}, row {row + 1}: {column[row].as_py()!r} {rule}{others}; {REMEDY}")


def _check_values(table: pa.Table, where: str) -> None:
    matches = {
        "id": (r"^[^\x00-\x1f]+$", "must be a name without control characters"),
        "labels": (r"(?s)^(\{.*\})?$", "must be a JSON object or empty"),
        "words": (r"(?s)^(\[.*\])?$", "must be a JSON list or empty"),
        "sha256": (r"^[0-9a-f]{64}$", "must be 64 hex digits in lower case"),
    }
    for name, (pattern, rule) in matches.items():
        _refuse(table[name], pc.invert(pc.match_substring_regex(table[name], pattern)), f"{where}: column {name!r}", rule)
    rule = "is no path below the corpus root: relative to it, with forward slashes, without '..' or empty parts"
    _refuse(table["path"], pc.match_substring_regex(table["path"], ESCAPES), f"{where}: column 'path'", rule)
    for name, allowed in (("role", ROLES), ("split", SPLITS)):
        known = pc.is_in(table[name], value_set=pa.array(allowed))
        rule = f"is not allowed, must be one of {', '.join(allowed)}"
        _refuse(table[name], pc.invert(known), f"{where}: column {name!r}", rule)
    for name in ("sample_rate_hz", "num_frames", "num_channels"):
        _refuse(table[name], pc.less(table[name], 1), f"{where}: column {name!r}", "must be 1 or more")


def _check_unique(table: pa.Table, where: str) -> None:
    if pc.count_distinct(table["id"]).as_py() == table.num_rows:
        return
    counts = pc.value_counts(table["id"])
    twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    rows = pc.indices_nonzero(pc.equal(table["id"], twice[0])).to_pylist()
    raise ValueError(
        f"{where}: column 'id', rows {rows[0] + 1} and {rows[1] + 1}: {twice[0].as_py()!r} is there twice"
        f" ({len(twice)} ids are); give every file its own id"
    )


def _check_groups(table: pa.Table, where: str) -> None:
    for column in ("group", "speaker"):
        _check_whole(table, column, where)


def _check_whole(table: pa.Table, column: str, where: str) -> None:
    pairs = pa.table({"group": table[column], "split": table["split"]}).filter(pc.not_equal(table[column], ""))
    found = pairs.group_by("group").aggregate([("split", "count_distinct")])
    torn = found.filter(pc.greater(found["split_count_distinct"], 1))["group"]
    if len(torn):
        first = torn[0].as_py()
        splits = pc.unique(pairs.filter(pc.equal(pairs["group"], first))["split"]).to_pylist()
        raise ValueError(
            f"{where}: column {column!r}: {first!r} is in splits {' and '.join(sorted(splits))} ({len(torn)} groups are torn);"
            " a speaker or source recording belongs to one split: mend the split column"
        )


def nearest(name: str, known: Iterable[str]) -> str:
    """What to say of a name that is not known."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"


def content_id(table: pa.Table) -> str:
    """sha256 over the columns in the order of the ids: the same for any row order, file format or place."""
    table = table.take(pc.sort_indices(table["id"]))
    digest = hashlib.sha256()
    for name in SCHEMA.names:
        digest.update(f"{name}\n".encode())
        for part in _canonical(table[name]):
            digest.update(part)
    return digest.hexdigest()


def _canonical(column: pa.ChunkedArray) -> Iterator[memoryview | bytes]:
    """The column's values as bytes, however it is chunked: numbers as little-endian, texts as all lengths, then all bytes."""
    if not pa.types.is_string(column.type):
        yield column.to_numpy().astype("<i8").tobytes()
        return
    for chunk in column.chunks:
        yield pc.binary_length(chunk).to_numpy(zero_copy_only=False).astype("<i4").tobytes()
    for chunk in column.chunks:
        if len(chunk):
            _, offsets, data = chunk.buffers()
            ends = np.frombuffer(offsets, np.int32)[[chunk.offset, chunk.offset + len(chunk)]]
            yield memoryview(data)[ends[0] : ends[1]] if data else b""
