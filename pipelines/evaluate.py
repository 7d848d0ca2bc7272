"""Judge models on held-out data: `python -m pipelines.evaluate --model data/bundle --data data/test`.

Every example goes through each model and through what stands beside it (SYSTEMS of training/metrics/clip_table.py), and what
comes out through the metrics of its task. <out>/evaluation-<fingerprint>/:

    parts/          rows of some examples each, one atomic put each: a rerun judges what is missing
    clips.parquet, evaluation.json      see training/metrics/clip_table.py
    report.html     tables, distributions and players, for a browser
"""

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tyro

from infra import versions
from infra.actors import Resources
from infra.command_line import run
from infra.config import fingerprint, to_json
from infra.dataset import RUN, Dataset, find_datasets, open_dataset
from infra.shards import encode_json
from infra.storage import Store, open_store
from pipelines import evaluation_players, evaluation_summary
from pipelines.bundle import Bundle
from pipelines.encode import is_tokens
from pipelines.evaluation_cases import KNOWN
from pipelines.evaluation_job import Job, Judging, bundle_id, code_version, make, parts, pieces
from pipelines.evaluation_page import PAGE
from pipelines.generation import Options
from pipelines.judging_options import JudgingOptions
from pipelines.rendering import ROOT
from pipelines.train_run import split as places
from training.metrics.clip_table import DESCRIPTION, INPUT, MASK, MODEL, ORACLE, TARGET, Evaluation, read, table, write

RESERVED = (INPUT, ORACLE, MASK, TARGET)


@dataclass(frozen=True)
class Places:
    """Where it comes from and where it goes; on the command line these come first, then how to judge."""

    model: str = ""
    """A bundle: folder or s3:// prefix. Several, separated by commas, are compared; NAME=PLACE names one."""
    data: str = "data"
    """Datasets of `make simulate` with --split test, or of `make import-testset`: themselves, or places that hold them,
    separated by commas."""
    out: str = "data/evaluations"
    """Folder or s3:// prefix for the evaluation."""


@dataclass(frozen=True)
class Evaluate(JudgingOptions, Places):
    """What to judge, on what, and where the result goes."""

    resources: tyro.conf.OmitArgPrefixes[Resources] = field(default_factory=Resources)
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("--model is missing: give a bundle, as `make bundle` makes it")
        for name, least in (("count", 0), ("heard", 0), ("clips_per_part", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}: give {least} or more")
        if self.options.chained:
            raise ValueError("chained is for the task ss alone: not for an evaluation of all tasks")

    def judging(self) -> Judging:
        return Judging(self.metrics, self.plug_in, self.recogniser, self.seed, self.options)


def evaluate(config: Evaluate) -> str:
    """The place of the finished evaluation, made as far as it is not there. `clip_table.read` opens it.

    ValueError for what a person can mend, ShardsFailed for parts that could not be judged, OSError.
    """
    started = time.monotonic()
    metrics = config.judging().chosen()  # a wrong name is told before anything is loaded
    models = named(config.model)
    datasets = held_out(config)
    abouts = {name: Bundle.open(place, device="cpu").about for name, place in models.items()}
    parents = parents_of(config, abouts, datasets)
    url = f"{config.out.rstrip('/')}/evaluation-{fingerprint(parents)}"
    store = open_store(url)
    todo = pieces(datasets, config.clips_per_part, config.count)
    ids = {name: one["id"] for name, one in parents["models"].items()}
    job = Job(models, ids, config.judging(), url, code_version(), config.resources.device)
    hear = functools.partial(evaluation_players.hear, job, todo, config.resources)
    if store.exists(DESCRIPTION):
        print(f"{url}: it is there already")
        _add_page(store, read(store), config, hear)
        return url
    store.put(RUN, encode_json({"task": "evaluate", "config": to_json(config)}))
    there = set(store.list("parts/"))
    missing = [piece for piece in todo if piece.name not in there]
    print(f"{url}: {len(todo)} parts to judge, {len(todo) - len(missing)} there already")
    make(job, missing, config.resources)
    about = {"parents": parents, "systems": evaluation_summary.systems(models), "commit": versions.git_commit(ROOT)}
    found = conclude(store, [piece.name for piece in todo], about, metrics)
    print(f"{url}: {found.clips.num_rows} rows in {time.monotonic() - started:.0f} s")
    _add_page(store, found, config, hear)
    return url


def _add_page(store: Store, found: Evaluation, config: Evaluate, hear: evaluation_players.Hear) -> None:
    """One that is there stays: delete it to have it made again, with more to hear for example."""
    if config.heard and not store.exists(PAGE):
        evaluation_players.add_page(store, found, config.heard, hear, published=evaluation_summary.published(found))
        print(f"{store.url}/{PAGE}: {config.heard} examples of each task to listen to")


def named(text: str) -> dict[str, str]:
    """Places by the names of their systems: one is "model", several are named by their folders or by NAME=PLACE."""
    given = places(text)
    found: dict[str, str] = {}
    for place in given:
        name, _, rest = place.partition("=")
        if rest and "/" not in name:
            place = rest
        else:
            name = MODEL if len(given) == 1 else place.rstrip("/").rpartition("/")[2]
        if name in found or name in RESERVED or name.startswith(f"{ORACLE}-"):
            raise ValueError(f"--model {text}: {name!r} is taken: name each, as in first={place}")
        found[name] = place
    return found


def held_out(config: Evaluate) -> list[Dataset]:
    """The audio datasets of the split. ValueError if there are none, with what was left out and why."""
    found: dict[str, Dataset] = {}
    left_out = []
    for place in places(config.data):
        for store in find_datasets(open_store(place)):
            dataset = open_dataset(store)
            recipe = dataset.description.get("recipe", {})
            why = unfit(dataset, config.split)
            if why:
                left_out.append(f"{store.url}: {why}")
            else:
                found.setdefault(dataset.description["id"], dataset)
                assert recipe["task"] in KNOWN, recipe["task"]
    if not found:
        named = "".join(f"\n  {line}" for line in left_out[:10])
        raise ValueError(
            f"--data {config.data}: no finished dataset of the split {config.split!r} here; make one with `make simulate "
            f'TASK=sr ARGS="--split {config.split}"` or `make import-testset`{named}'
        )
    for line in left_out:
        print(f"left out: {line}")
    return sorted(found.values(), key=lambda dataset: (dataset.description["recipe"]["task"], dataset.description["id"]))


def unfit(dataset: Dataset, split: str) -> str:
    """Why a dataset is not judged on; "" if it is."""
    recipe = dataset.description.get("recipe", {})
    if is_tokens(dataset):
        return "a dataset of tokens: give the audio that it was made of"
    if recipe.get("task") not in KNOWN:
        return f"task {recipe.get('task')!r}; known are {', '.join(KNOWN)}"
    if recipe.get("split") != split:
        return f"of the split {recipe.get('split')!r}, which a model may have learned from; --split takes it all the same"
    return ""


def parents_of(config: Evaluate, abouts: Mapping[str, Mapping[str, Any]], datasets: Sequence[Dataset]) -> dict[str, Any]:
    """All that the numbers depend on; the fingerprint of this names the folder."""
    models = {
        name: {"id": bundle_id(about), "codec": about["codec"]["id"], "lm": about["lm"]["id"]} for name, about in abouts.items()
    }
    data = [
        {
            "id": dataset.description["id"],
            "task": dataset.description["recipe"]["task"],
            "set": dataset.description.get("test_set", {}).get("name", ""),
            "manifest_sha256": dataset.description["manifest_sha256"],
            "examples": min(config.count or dataset.manifest.num_rows, dataset.manifest.num_rows),
        }
        for dataset in datasets
    ]
    libraries = versions.libraries(("torch", "numpy", "scipy", "soxr"))
    settings = {**to_json(config.judging()), "libraries": libraries}
    return {"models": models, "datasets": data, "settings": settings, "code": code_version()}


def conclude(store: Store, names: Sequence[str], about: Mapping[str, Any], metrics: Mapping[str, Any]) -> Evaluation:
    """Table and description, from all parts."""
    found = list(parts(store, names))
    rows = evaluation_summary.rows_of(found)
    clips = table(rows)
    seed = about["parents"]["settings"]["seed"]
    return write(store, clips, {**about, **evaluation_summary.summary(clips, found, metrics, seed)})


def main(argv: list[str]) -> int:
    config = tyro.cli(Evaluate, args=argv, prog="pipelines.evaluate")
    url = evaluate(config)
    print(evaluation_summary.text(read(open_store(url))))
    return 0


if __name__ == "__main__":
    run(main)
