"""The table of an evaluation: what `evaluate` writes and what decides about a promotion reads.

<folder>/
    clips.parquet     a row for each system and clip; the same bytes for the same models, data, settings and code
    evaluation.json   what it was made from and what it says in the mean; put last: without it the evaluation is not finished

clips.parquet, wide:
    system            "model" (of several models each one's name), "input", "oracle", "mask", "target": see SYSTEMS
    task, dataset     the task's name; the dataset's id
    key               of the example in its dataset
    cluster           what is drawn together in a bootstrap: clips of one speaker or recording
    duration_s        of what the metrics heard
    slice.<name>      text; null where the slice says nothing of the clip
    metric.<name>     number; null where the metric did not run or has no value for this clip
    reason.<name>     text; why `metric.<name>` is null; "" otherwise. A failed generation has its reason in all of them

evaluation.json:
    id                sha256 of clips.parquet and the parents: the same evaluation has the same id wherever it is made
    clips_sha256      of clips.parquet
    parents           {models: {system: {id, codec, lm}}, datasets: [{id, task, manifest_sha256, examples}], settings, code}
    systems           {name: {kind: "model" | "baseline" | "oracle", about, place}}; place: where a model was, "" for others
    metrics           {name: {title, unit, better: "higher" | "lower", about, versions, why_not}}
    aggregates        [{system, task, slice, value, metric, mean, low, high, num_clips, num_clusters, reasons}]; slice "": all
    differences       [{a, b, task, metric, mean, low, high, num_clips, num_clusters}]: paired, a over b; above 0: a is better
    codebooks         {system: [{stream, layer, share, perplexity, num_codes, codebook_size}]}
    real_time_factor  {system: seconds of work for a second of audio}
    seconds           {total, systems: {name: s}, metrics: {name: s}}
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from infra.shards import encode_json
from infra.storage import Store

CLIPS, DESCRIPTION = "clips.parquet", "evaluation.json"
MODEL, INPUT, ORACLE, MASK, TARGET = "model", "input", "oracle", "mask", "target"
SYSTEMS = {
    INPUT: "what the model is given, as it is",
    ORACLE: "the target through the codec and back: what no language model over this codec can exceed by much",
    MASK: "the input through the ideal ratio mask of the target (STFT, 32 ms): what masking could reach if it knew the target",
    TARGET: "the target itself; only metrics that hear no reference say anything of it",
}
SLICE, METRIC, REASON = "slice.", "metric.", "reason."
FIRST = ("system", "task", "dataset", "key", "cluster", "duration_s")


@dataclass(frozen=True)
class ClipRow:
    """One clip of one system."""

    system: str
    task: str
    dataset: str
    key: str
    cluster: str
    duration_s: float
    slices: Mapping[str, str]
    metrics: Mapping[str, float | None]
    reasons: Mapping[str, str]  # of metrics without a value


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation, read back."""

    description: dict[str, Any]
    clips: pa.Table

    @property
    def id(self) -> str:
        return self.description["id"]

    def better(self, metric: str) -> str:
        """ "higher" or "lower". ValueError for a metric that it does not have."""
        if metric not in self.description["metrics"]:
            raise ValueError(f"no metric {metric!r} here; there are {', '.join(self.description['metrics'])}")
        return self.description["metrics"][metric]["better"]


def table(rows: Sequence[ClipRow]) -> pa.Table:
    """The wide table; rows and columns in one order, whoever made them in whichever order."""
    rows = sorted(rows, key=lambda row: (row.task, row.dataset, row.key, row.system))
    columns = {name: pa.array([getattr(row, name) for row in rows], _kind(name)) for name in FIRST}
    for prefix, of, kind in (
        (SLICE, "slices", pa.string()),
        (METRIC, "metrics", pa.float64()),
        (REASON, "reasons", pa.string()),
    ):
        names = sorted({name for row in rows for name in getattr(row, of)})
        blank = "" if prefix == REASON else None
        for name in names:
            columns[prefix + name] = pa.array([getattr(row, of).get(name, blank) for row in rows], kind)
    return pa.table(columns)


def _kind(name: str) -> pa.DataType:
    return pa.float64() if name == "duration_s" else pa.string()


def write(store: Store, clips: pa.Table, description: Mapping[str, Any]) -> Evaluation:
    """Put the table, then its description with `clips_sha256` and `id`."""
    buffer = io.BytesIO()
    pq.write_table(clips, buffer, compression="zstd")
    data = buffer.getvalue()
    sha256 = hashlib.sha256(data).hexdigest()
    made_from = encode_json(description.get("parents", {}))
    about = {**description, "clips_sha256": sha256, "id": hashlib.sha256(sha256.encode() + made_from).hexdigest()}
    store.put(CLIPS, data)
    store.put(DESCRIPTION, encode_json(about))
    return Evaluation(about, clips)


def read(store: Store) -> Evaluation:
    """The finished evaluation at this place. ValueError if there is none, or its table is not the one that it was made with."""
    try:
        description = msgspec.json.decode(store.get(DESCRIPTION))
    except FileNotFoundError:
        raise ValueError(f"{store.url}: no {DESCRIPTION} here: no evaluation, or not finished; rerun `make evaluate`") from None
    except msgspec.DecodeError as error:
        raise ValueError(f"{store.url}/{DESCRIPTION}: {error}") from error
    try:
        data = store.get(CLIPS)
    except FileNotFoundError:
        raise ValueError(f"{store.url}: {CLIPS} is missing; delete {DESCRIPTION} and rerun to make it again") from None
    if not isinstance(description, dict) or hashlib.sha256(data).hexdigest() != description.get("clips_sha256"):
        raise ValueError(f"{store.url}/{CLIPS}: its sha256 is not the one in {DESCRIPTION}: changed or truncated")
    return Evaluation(description, pq.read_table(io.BytesIO(data)))


def metric_names(clips: pa.Table) -> list[str]:
    return [name.removeprefix(METRIC) for name in clips.column_names if name.startswith(METRIC)]


def slice_names(clips: pa.Table) -> list[str]:
    return [name.removeprefix(SLICE) for name in clips.column_names if name.startswith(SLICE)]
