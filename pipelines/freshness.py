"""What there is to train on now, and what of it the champion has not seen. Looks only; makes nothing.

An input is a stretch of a task's examples from one corpus, or a finished dataset from elsewhere. Its key is made of what it
is (id of the corpus, recipe; id of the dataset), not of where it lies: moved or copied data are not new.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow.compute as pc

from infra import corpus_manifest
from infra.config import fingerprint, from_json, to_json
from infra.corpus_manifest import Corpus
from infra.dataset import Dataset, find_datasets, open_dataset
from infra.storage import open_store
from lm.tasks import TASKS
from pipelines.encode import is_tokens
from pipelines.retrain_config import Data
from pipelines.simulate import Simulate, bank_of
from simulation.registry import configurations

CORPUS_FILES = (corpus_manifest.DESCRIPTION, corpus_manifest.MANIFEST)


@dataclass(frozen=True)
class Input:
    """Something to train on."""

    key: str
    name: str  # of the corpus, or the folder of the dataset
    place: str  # of the corpus, or of the dataset
    parent: str  # id of the corpus, or of the dataset
    task: str = ""  # to be simulated; "" for a dataset that is there
    first: int = 0
    count: int = 0


@dataclass(frozen=True)
class Found:
    """All inputs in one order, and what cannot serve, with the reason."""

    inputs: tuple[Input, ...]
    left_out: tuple[str, ...]

    def unseen(self, keys: Sequence[str]) -> list[Input]:
        return [one for one in self.inputs if one.key not in set(keys)]


def look(data: Data, tasks: Sequence[str] = tuple(TASKS)) -> Found:
    """All that can serve a language model of these tasks. ValueError where nothing can."""
    inputs, left_out = [], []
    for place in data.corpora:
        corpora = finished_corpora(place)
        if not corpora:
            raise ValueError(f"data.corpora: {place}: no finished corpus here; `make corpus ROOT=...` makes one")
        for location in corpora:
            made, unfit = _of_corpus(data, corpus_manifest.read(location))
            inputs, left_out = inputs + made, left_out + unfit
    for place in data.datasets:  # those that are left out are no inputs: one that cannot serve would end every later run
        for store in find_datasets(open_store(place)):
            dataset = open_dataset(store)
            if why := _unfit(dataset, data, tasks):
                left_out.append(f"{store.url}: {why}")
            else:
                of = dataset.description["id"]
                inputs.append(Input(f"dataset {of}", store.url.rstrip("/").rpartition("/")[2], store.url, of))
    inputs = {one.key: one for one in sorted(inputs, key=lambda one: (one.key, one.place), reverse=True)}
    if not inputs:
        why = "".join(f"\n  {line}" for line in left_out)
        raise ValueError(f"nothing to train on: name corpora or datasets under [data] that serve its tasks{why}")
    return Found(tuple(inputs[key] for key in sorted(inputs)), tuple(left_out))


def _unfit(dataset: Dataset, data: Data, tasks: Sequence[str]) -> str:
    """Why a dataset from elsewhere cannot be trained on, with the remedy; "" if it can."""
    if is_tokens(dataset):
        return "tokens; give the audio that they were made of"
    recipe = dataset.description.get("recipe", {})
    if recipe.get("task") not in tasks:
        return f"of the task {recipe.get('task')!r}; the language model has {', '.join(tasks)}"
    if recipe.get("split") != data.split:
        return f"of the split {recipe.get('split')!r}, data.split is {data.split!r}"
    rates_hz = set(pc.unique(dataset.manifest["sample_rate_hz"]).to_pylist())
    if rates_hz != {data.sample_rate_hz}:
        said = ", ".join(map(str, sorted(rates_hz)))
        return f"at {said} Hz, data.sample_rate_hz is {data.sample_rate_hz}, which must be the codec's rate"
    return ""


def finished_corpora(place: str) -> list[str]:
    """The corpora at a place: itself, or those in the folders below it."""
    if place.endswith((".parquet", ".csv")) or corpus_manifest.has_manifest(open_store(place)):
        return [place]
    names = set(open_store(place).list())
    description, manifest = (f"/{name}" for name in CORPUS_FILES)
    folders = sorted(name.removesuffix(description) for name in names if name.endswith(description))
    return [f"{place.rstrip('/')}/{folder}" for folder in folders if folder + manifest in names]


def simulation(data: Data, wanted: Input) -> tuple[Simulate, str]:
    """The configuration that makes an input, and its task."""
    task, ranges = configurations()[wanted.task]
    if wanted.task in data.ranges:
        given = to_json(ranges) | data.ranges[wanted.task]
        ranges = from_json(type(ranges), given, f"data.ranges.{wanted.task}")
    return (
        Simulate(
            ranges,
            corpus=wanted.place,
            out=data.out,
            count=wanted.count,
            first=wanted.first,
            seed=data.seed,
            sample_rate_hz=data.sample_rate_hz,
            split=data.split,
            examples_per_shard=data.examples_per_shard,
            gate="redraw",
            workers=data.workers,
        ),
        task,
    )


def _of_corpus(data: Data, corpus: Corpus) -> tuple[list[Input], list[str]]:
    """The inputs from one corpus; tasks that it cannot serve are left out with the reason."""
    inputs, left_out = [], []
    for name in data.tasks:
        blocks = [
            Input("", corpus.name, corpus.location, corpus.id, name, first, min(data.block, data.count - first))
            for first in range(0, data.count, data.block)
        ]
        config, task = simulation(data, blocks[0])
        try:
            bank_of(corpus, config.recipe(task))
        except ValueError as error:
            left_out.append(f"{name}: {error}")
            continue
        inputs += [replace(block, key=_key(data, block)) for block in blocks]
    return inputs, left_out


def _key(data: Data, block: Input) -> str:
    config, task = simulation(data, block)
    recipe: dict[str, Any] = to_json(config.recipe(task))
    return f"{block.task} {fingerprint({'recipe': recipe, 'corpus': block.parent})}"
