"""Turn task data into tokens: `python -m pipelines.encode --data data/lass-... --codec data/codec-tiny-.../model`.

Each audio shard becomes the token shard of the same name, by the rules of simulate: one atomic commit a shard, a rerun does
only what is missing, the manifest last. The codec is frozen; its id is in the dataset's description and in every example.
"""

import itertools
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro

from codec.model import Codec
from infra import versions
from infra.actors import Resources
from infra.command_line import run
from infra.config import fingerprint, to_json
from infra.dataset import (
    DESCRIPTION,
    RUN,
    Dataset,
    committed,
    dataset_id,
    find_datasets,
    finish,
    gather,
    open_dataset,
    shards_of,
)
from infra.model_folder import local_folder, model_id
from infra.shards import encode_json
from infra.storage import Store, open_store
from lm.audio_encoder import open_audio_encoder
from pipelines.encode_job import Job, code_version, make
from pipelines.encoding import Recipe
from pipelines.rendering import ROOT

KIND = "tokens"


@dataclass(frozen=True)
class Encode:
    """Encode the targets of task datasets with a frozen codec."""

    data: str = "data"
    """A dataset, or a folder or s3:// prefix of datasets: the audio ones below it are encoded."""
    codec: str = ""
    """Folder or s3:// prefix of a published codec (config.json, model.safetensors)."""
    out: str = "data"
    """Folder or s3:// prefix for the token datasets."""
    threshold: float | None = None
    """Similarity above which frames merge, for a codec with a dynamic rate; its own if not given."""
    batch_s: float = 60.0
    """Seconds of audio in a batch, padding included."""
    features: str = ""
    """Keep the features of inputs and references in float16, too: of `log-mel`, or of the transformers speech model of this
    path or hub id. A model with this audio encoder then trains without running it."""
    input_codes: bool = False
    """Keep the tokens of the inputs, too: a model with `--model.copies` learns to copy them."""
    resources: tyro.conf.OmitArgPrefixes[Resources] = field(default_factory=Resources)

    def __post_init__(self) -> None:
        if not self.codec:
            raise ValueError("--codec is missing: give the folder of a trained codec, such as data/codec-tiny-.../model")
        if self.batch_s <= 0:
            raise ValueError(f"--batch-s is {self.batch_s}: give a number above 0")


def encode_all(config: Encode) -> list[Dataset]:
    """The token dataset of each audio dataset, made as far as it is not there. ValueError for what a person can mend."""
    sources = [store for store in find_datasets(open_store(config.data)) if not is_tokens(open_dataset(store))]
    if not sources:
        raise ValueError(f"{config.data}: no finished dataset of audio here; make one with `make simulate TASK=...`")
    folder = local_folder(config.codec)
    codec_id, codec = model_id(folder), Codec.from_pretrained(folder)
    if config.features:
        open_audio_encoder(config.features)  # ValueError here, not in every worker
    return [encode(config, open_dataset(store), codec, codec_id) for store in sources]


def is_tokens(dataset: Dataset) -> bool:
    return dataset.description.get("kind") == KIND


def encode(config: Encode, source: Dataset, codec: Codec, codec_id: str) -> Dataset:
    """One dataset's tokens, finished."""
    task = source.manifest["task"][0].as_py()
    rate_hz = source.manifest["sample_rate_hz"][0].as_py()
    if rate_hz != codec.config.sample_rate_hz:
        raise ValueError(
            f"{source.store.url} is at {rate_hz} Hz, the codec {config.codec} takes {codec.config.sample_rate_hz} Hz: "
            f"simulate with --sample-rate-hz {codec.config.sample_rate_hz}, or take another codec"
        )
    if config.input_codes and codec.config.grouping:
        raise ValueError(f"--input-codes is for codecs of a constant rate, {config.codec} has a dynamic one")
    recipe = Recipe(config.threshold, config.batch_s, config.features, config.input_codes)
    described = describe(recipe, source, codec, codec_id)
    url = f"{config.out.rstrip('/')}/{task}-tokens-{fingerprint(described)}"
    store = open_store(url)
    where, there = places(source), committed(store)
    shards = list(where)
    missing = [place for shard, place in where.items() if shard not in there]
    if not store.exists(DESCRIPTION) or missing:
        store.put(RUN, encode_json({"task": task, "config": to_json(config)}))
        print(f"{url}: {len(shards)} shards to make, {len(shards) - len(missing)} there already")
        job = Job(recipe, config.codec, codec_id, source.store.url, url, code_version(), config.resources.device)
        make(job, source.manifest, missing, config.resources)
        conclude(store, described, shards)
    return open_dataset(store)


def describe(recipe: Recipe, source: Dataset, codec: Codec, codec_id: str) -> dict[str, Any]:
    """What is known of the tokens before they are made; the fingerprint of this names their folder."""
    settings = codec.config
    return {
        "kind": KIND,
        "task": source.description["recipe"]["task"],
        "split": source.description["recipe"]["split"],
        "recipe": {"threshold": recipe.threshold, "batch_s": recipe.batch_s},
        **({"features": recipe.features} if recipe.features else {}),
        **({"input_codes": True} if recipe.input_codes else {}),
        "codec": {
            "id": codec_id,
            "sample_rate_hz": settings.sample_rate_hz,
            "frame_rate_hz": settings.frame_rate_hz,
            "num_acoustic": settings.quantiser.num_acoustic,
            "num_semantic": settings.quantiser.num_semantic,
            "codebook_size": settings.quantiser.codebook_size,
            "max_frames": settings.grouping.max_frames if settings.grouping else 1,
        },
        "parents": {
            "dataset": {"id": source.description["id"], "name": Path(source.store.url).name},
            "codec": codec_id,
            "code": code_version(),
        },
        "libraries": versions.libraries(("torch", "numpy", "soundfile")),
    }


def places(source: Dataset) -> dict[str, tuple[int, int]]:
    """First row and number of rows of each shard: a manifest lists shard after shard."""
    counts = source.shards().set_index("shard")["num_examples"]
    order = source.manifest["shard"].unique().to_pylist()
    starts = itertools.accumulate((counts[shard] for shard in order), initial=0)
    return {shard: (int(start), int(counts[shard])) for shard, start in zip(order, starts)}


def conclude(store: Store, described: dict[str, Any], shards: list[str]) -> None:
    """Manifest and description, from the rows of all shards."""
    totals = gather(store, shards)
    counts = {
        "examples": totals.table.num_rows,
        "hours": round(totals.hours, 6),
        "frames": sum(totals.table["num_frames"].to_pylist()),
        "shards": len(shards),
        "num_bytes": totals.num_bytes,
        "clips_by_licence": totals.licences,
    }
    about = {"id": dataset_id(shards_of(totals.table)), **described, "commit": versions.git_commit(ROOT), "totals": counts}
    finish(store, totals, about)


def main(argv: list[str]) -> int:
    started = time.monotonic()
    config = tyro.cli(Encode, args=argv, prog="pipelines.encode")
    for dataset in encode_all(config):
        totals = dataset.description["totals"]
        print(
            f"{dataset.store.url}: {totals['examples']} examples, {totals['hours']:.2f} hours, {totals['frames']} frames, "
            f"{totals['num_bytes'] / 1e6:.0f} MB"
        )
    print(f"done in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    run(main)
