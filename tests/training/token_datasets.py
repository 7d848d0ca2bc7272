"""Token datasets as `make simulate` and `make encode` make them, small enough to make in a moment, without Ray."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from codec.model import Codec
from infra.dataset import RUN, Dataset, ShardRows, commit_shard, dataset_id, finish, gather, open_dataset, shard_name, shards_of
from infra.model_folder import model_id
from infra.shards import encode_json
from infra.storage import Store, open_store
from lm.audio_encoder import open_audio_encoder
from pipelines import corpus as corpora
from pipelines.encode import Encode, describe
from pipelines.encoding import Networks, Recipe, encode_shard
from pipelines.rendering import loader, make_shard, render
from pipelines.simulate import Simulate, bank_of, described_by
from simulation.registry import task

PER_SHARD = 4


def simulated(name: str, folder: Path, corpus: Path, *, count: int = 8, seed: int = 0, **config) -> Dataset:
    """A dataset of a task, in shards of PER_SHARD examples."""
    settings = Simulate(task(name).Config(**config), count=count, seed=seed, examples_per_shard=PER_SHARD, gate="redraw")
    recipe, source = settings.recipe(name), corpora.resolve(str(corpus))
    bank, load = bank_of(source, recipe), loader(source.root, recipe.sample_rate_hz)
    store = open_store(str(folder))
    for number in range(recipe.num_shards()):
        data, rows = make_shard(recipe, number, lambda index, attempt: render(recipe, bank, load, index, attempt))
        commit_shard(store, shard_name(number), data, rows)
    return _finished(store, recipe.num_shards(), described_by(recipe, source), name)


def encoded(source: Dataset, folder: Path, codec_folder: Path, *, split: str = "train", codec_id: str = "", **changes) -> Store:
    """The tokens of a dataset; `changes` are of the recipe."""
    codec, config = Codec.from_pretrained(codec_folder).eval(), Encode(data="data", codec=str(codec_folder))
    codec_id, recipe = codec_id or model_id(codec_folder), replace(Recipe(config.threshold, config.batch_s), **changes)
    networks = Networks(codec, codec_id, open_audio_encoder(recipe.features) if recipe.features else None)
    store, manifest = open_store(str(folder)), source.manifest.to_pylist()
    shards = list(dict.fromkeys(row["shard"] for row in manifest))
    for shard in shards:
        rows = [row for row in manifest if row["shard"] == shard]
        data, done = encode_shard(networks, recipe, source.store.get(shard), rows)
        commit_shard(store, shard, data, done)
    described = describe(recipe, source, codec, codec_id) | {"split": split}
    return _finished(store, len(shards), described, rows[0]["task"]).store


def rewritten(store: Store, folder: Path, change: Callable[[list[dict], dict], None]) -> Store:
    """A copy of a token dataset whose manifest rows and description went through `change(rows, description)`."""
    dataset, copy = open_dataset(store), open_store(str(folder))
    rows, description = dataset.manifest.to_pylist(), dict(dataset.description)
    change(rows, description)
    shards = dataset.shards()
    for shard in shards.itertuples():
        examples = [row for row in rows if row["shard"] == shard.shard]
        data = store.get(shard.shard)
        sha256 = hashlib.sha256(data).hexdigest()
        commit_shard(copy, shard.shard, data, ShardRows(shard.shard, sha256, len(data), examples, []))
    return _finished(copy, len(shards), description, rows[0]["task"]).store


def _finished(store: Store, num_shards: int, described: dict, name: str) -> Dataset:
    totals = gather(store, [shard_name(number) for number in range(num_shards)])
    store.put(RUN, encode_json({"task": name, "config": {}}))
    finish(store, totals, {"id": dataset_id(shards_of(totals.table))} | described)
    return open_dataset(store)
