"""Examples in token shards: the datasets of `make encode`, all made with one codec, each of one task."""

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from infra.dataset import Dataset, find_datasets, open_dataset
from infra.storage import open_store
from lm.config import TokenConfig
from lm.layout import num_slots
from lm.tasks import TASKS, task
from lm.text_encoder import check_text
from training.data.quarantine import Rejected
from training.data.shard_source import ShardSource, read_whole
from training.data.sources import check_distinct
from training.data.token_config import TokenData
from training.data.token_examples import RATE_HZ, Cutting, Encoded, num_prefix

KIND = "tokens"
TEXTS = {  # of an example's texts, the first that it has is the condition
    "lass": ("caption",),
    "speech_edit": ("instruction",),
    "event_edit": ("instruction",),
    "tta": ("transcript", "caption"),
}
COLUMNS = ("key", "sample_rate_hz", "target_roles", "num_frames", "input_num_samples", "reference_num_samples")
CheckText = Callable[[str], None]  # ValueError for a text that cannot serve


@dataclass(frozen=True, eq=False)
class TokenSource(ShardSource):
    """The examples of one dataset that can serve; the domain is the task."""

    tokens: TokenConfig
    left_out: tuple[Rejected, ...]
    kept: frozenset[str] = frozenset()
    """What it keeps that the model takes: has_features of its audio encoder, has_input_codes."""

    def _cut(self, shard: int, rows: list[dict]) -> list[Encoded | Rejected]:
        url, sha256 = self.shards["url"].iat[shard], self.shards["sha256"].iat[shard]
        num_bytes, num_clips = self.shards["num_bytes"].iat[shard], self.shards["num_clips"].iat[shard]
        try:
            examples = self.shared.get(url, num_bytes, (len(rows), num_clips), lambda: read_whole(url, sha256))
        except Rejected as rejected:
            return [rejected] * len(rows)
        about = {"task": self.domain} | dict.fromkeys(self.kept, True)
        return [_encoded(row | about, examples, url) for row in rows]


@dataclass(frozen=True)
class Wanted:
    """What examples are opened for."""

    max_positions: int
    splits: tuple[str, ...] = ("train",)
    codec: TokenConfig | None = None
    """Of the model; None takes the codec of the first dataset."""
    check_text: CheckText = check_text
    audio_encoder: str = ""
    """Of the model: features that were kept of it are used, others are made."""
    input_codes: bool = False
    """The model copies: the data must have the tokens of the inputs."""


def open_token_sources(data: TokenData, wanted: Wanted) -> list[TokenSource]:
    """What the configuration names, of the tasks with a weight; a printed note says what is left out of it.

    ValueError for what a person can mend: nothing there, tokens of different codecs, another split, data named twice.
    """
    datasets = [open_dataset(store) for place in data.datasets for store in find_datasets(open_store(place))]
    datasets = [dataset for dataset in datasets if dataset.description.get("kind") == KIND]
    if not datasets:
        places = ", ".join(data.datasets) or "any place (name --data)"
        raise ValueError(f"no finished dataset of tokens at {places}; make one with `make encode`")
    codec = wanted.codec or tokens_of(datasets[0])
    sources = []
    for dataset in datasets:
        _check(dataset, codec, wanted)
        if getattr(data.weights, _task(dataset)):
            sources.append(_opened(dataset, data, wanted))
    if not sources:
        there = ", ".join(sorted({_task(dataset) for dataset in datasets}))
        raise ValueError(f"no data to train on: none of the tasks that are there ({there}) has a weight")
    check_distinct(sources)
    return sources


def tokens_of(dataset: Dataset) -> TokenConfig:
    """The codec that a token dataset was made with."""
    found = dataset.description["codec"]
    return TokenConfig(
        num_acoustic=found["num_acoustic"],
        num_semantic=found["num_semantic"],
        codebook_size=found["codebook_size"],
        max_duration_frames=found["max_frames"],
        frame_rate_hz=float(found["frame_rate_hz"]),
        codec=found["id"],
    )


def _task(dataset: Dataset) -> str:
    return dataset.manifest["task"][0].as_py()


def _check(dataset: Dataset, codec: TokenConfig, wanted: Wanted) -> None:
    """ValueError for a task that is unknown, tokens of another codec, or another split than one wanted."""
    where = dataset.store.url
    try:
        task(_task(dataset))
        codec.check_codec(tokens_of(dataset))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if wanted.input_codes and not dataset.description.get("input_codes"):
        raise ValueError(f"{where}: without the inputs' tokens, which this model copies: `make encode` with ARGS=--input-codes")
    split = dataset.description.get("split")
    if split not in wanted.splits:
        raise ValueError(
            f"{where}: it is of the split {split!r} of its corpus, {' or '.join(wanted.splits)} is wanted here"
            + ("" if split else "; it was encoded before datasets said their split: encode again")
        )


def _opened(dataset: Dataset, data: TokenData, wanted: Wanted) -> TokenSource:
    name, where = _task(dataset), dataset.store.url
    cutting = Cutting(tokens_of(dataset), wanted.max_positions, data.crop_s, data.reference_s)
    readable = functools.cache(functools.partial(_unreadable, wanted.check_text))
    shards = dataset.shards().rename(columns=lambda column: column.removeprefix("shard_"))
    number_of = {shard: number for number, shard in enumerate(shards["shard"])}
    kept, left_out = [], []
    for row in _rows(dataset, name):
        reason, detail = _fault(name, row, cutting, readable)
        if reason:
            left_out.append(Rejected(reason, detail, file=f"{where}/{row['shard']}", key=row["key"]))
        else:
            kept.append(row | {"shard": number_of[row["shard"]]})
    _tell(where, len(kept), left_out)
    kept.sort(key=lambda row: row["shard"])
    identity = hashlib.sha256("\n".join([dataset.description["id"], *(row["key"] for row in kept)]).encode()).hexdigest()
    table = pa.Table.from_pylist(kept)
    num_clips = np.bincount(table["shard"].to_numpy(), minlength=len(shards))
    sized = shards[["num_bytes"]].assign(url=where + "/" + shards["shard"], sha256=shards["sha256"], num_clips=num_clips)
    window = (data.window_shards, data.window_mb * 1e6)
    split = dataset.description["split"]
    has_features = bool(wanted.audio_encoder) and dataset.description.get("features") == wanted.audio_encoder
    kept_too = {"has_features": has_features, "has_input_codes": wanted.input_codes}
    of_model = frozenset(one for one, there in kept_too.items() if there)
    return TokenSource(identity[:12], where, name, split, table, sized, window, cutting.tokens, tuple(left_out), of_model)


def _rows(dataset: Dataset, name: str) -> list[dict[str, Any]]:
    """The manifest's rows: COLUMNS, shard, and the text that is the condition, None if there is none.

    Audio that the task has no use for is not there.
    """
    texts = [f"text_{text}" for text in TEXTS.get(name, ()) if f"text_{text}" in dataset.manifest.column_names]
    useless = {"reference", "input"} - {*task(name).needs, *task(name).may_have}
    rows = dataset.manifest.select(["shard", *COLUMNS, *texts]).to_pylist()
    for row in rows:
        row["text"] = next((text for column in texts if (text := row[column])), None)
        for column in texts:
            del row[column]
        for condition in useless:
            row[f"{condition}_num_samples"] = 0
    return rows


def _fault(name: str, row: dict[str, Any], cutting: Cutting, unreadable: Callable[[str], str]) -> tuple[str, str]:
    """Reason and detail why an example cannot serve, as far as its row says; empty if it can."""
    of_task, text = task(name), row["text"]
    given = {"text": bool(text), "reference": row["reference_num_samples"] > 0, "input": row["input_num_samples"] > 0}
    missing = [condition for condition in of_task.needs if not given[condition]]
    if missing:
        return "missing_condition", f"no {' and no '.join(missing)}"
    if text and (detail := unreadable(text)):
        return "bad_text", detail
    if len(row["target_roles"]) != of_task.num_targets:
        return "other_sources", f"{len(row['target_roles'])} sources, the task has {of_task.num_targets} targets"
    most = _most_positions(name, row, cutting)
    return ("too_long", most) if most else ("", "")


def _most_positions(name: str, row: dict[str, Any], cutting: Cutting) -> str:
    """What is too long; "" if the example fits, or can be cut."""
    in_16k = {part: -(-row[f"{part}_num_samples"] * RATE_HZ // row["sample_rate_hz"]) for part in ("input", "reference")}
    if task(name).length == "aligned":
        most = cutting.most_frames(name, row["text"], in_16k["reference"])
        num_frames = -(-in_16k["input"] // cutting.samples_per_frame)
        must_be_whole = task(name).num_targets > 1 and cutting.tokens.max_duration_frames > 1  # groups of the targets differ
        if most < 1 or (must_be_whole and num_frames > most):
            return f"{num_frames:g} frames, {most} are possible"
        return ""
    reference = min(in_16k["reference"], round(cutting.reference_s * RATE_HZ))
    waves = [count for count in (reference, in_16k["input"]) if count]
    wanted = num_prefix(row["text"], waves) + num_slots(row["num_frames"], cutting.tokens.num_layers)
    return f"{wanted} positions, the model has {cutting.max_positions}" if wanted > cutting.max_positions else ""


def _unreadable(check: CheckText, text: str) -> str:
    try:
        check(text)
    except ValueError as error:
        return str(error)
    return ""


def _tell(where: str, num_kept: int, left_out: Sequence[Rejected]) -> None:
    """A printed note. ValueError if nothing is left."""
    if not left_out:
        return
    reasons: dict[str, int] = {}
    for rejected in left_out:
        reasons[rejected.reason] = reasons.get(rejected.reason, 0) + 1
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    text = f"{where}: {len(left_out)} of {num_kept + len(left_out)} examples are left out ({counts}), such as {left_out[0]}"
    if not num_kept:
        raise ValueError(f"{text}; no example is left to train on")
    print(text)


def _encoded(row: dict[str, Any], examples: dict[str, dict[str, bytes]], url: str) -> Encoded | Rejected:
    where = f"{url}/{row['key']}"
    if row["key"] not in examples:
        return Rejected("missing", "the manifest names it, the shard does not have it", file=where, key=row["key"])
    return Encoded(row, examples[row["key"]], where)


assert TEXTS.keys() <= TASKS.keys()
