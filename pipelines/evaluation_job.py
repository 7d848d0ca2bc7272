"""The Ray side of evaluate: actors that hold the models, some examples at a time each, restarted where they die."""

import functools
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import ray
import torch
from ray.exceptions import RayError
from tqdm import tqdm

from infra import cluster, metrics, versions
from infra.actors import Crew, Resources, said
from infra.command_line import ShardsFailed
from infra.dataset import Dataset, open_dataset
from infra.shards import ShardError, encode_json
from infra.storage import Store, open_store
from pipelines.bundle import Bundle
from pipelines.evaluation_cases import Case, cases
from pipelines.evaluation_part import judge
from pipelines.evaluation_systems import Systems, Waves
from pipelines.generation import Options
from pipelines.rendering import ROOT
from training.metrics.plug_in import parse
from training.metrics.task_metrics import TaskMetric, choose_all
from training.metrics.word_errors import recogniser

RETRIES = 3  # of an actor that died, or of a store that could not be reached
CODE = (
    *("codec", "lm", "training/metrics", "training/keys.py", "infra/shards.py"),
    *(f"simulation/{name}.py" for name in ("signals/levels", "clips", "example")),
    *(f"training/data/{name}.py" for name in ("token_examples", "token_source")),
    *(f"pipelines/{name}.py" for name in ("generation", "audio_streams", "long_audio", "speaker_order", "codec_measures")),
    *(f"pipelines/{name}.py" for name in ("bundle", "encoding")),
    *(f"pipelines/evaluation_{name}.py" for name in ("cases", "systems", "part")),
)  # what the numbers come from


@functools.cache
def code_version() -> str:
    return versions.code_hash(ROOT, CODE)


@dataclass(frozen=True)
class Judging:
    """What the numbers depend on beside models, data and code."""

    metrics: tuple[str, ...] = ()
    plug_ins: tuple[str, ...] = ()
    recogniser: str = ""
    seed: int = 0
    options: Options = field(default_factory=Options)

    def chosen(self) -> dict[str, TaskMetric]:
        """ValueError for names, files and recognisers that are not what was said."""
        return choose_all(self.metrics, [parse(text) for text in self.plug_ins], recogniser(self.recogniser))


@dataclass(frozen=True)
class Job:
    """What an actor needs for any part."""

    models: Mapping[str, str]  # places by name
    model_ids: Mapping[str, str]
    judging: Judging
    out: str
    code: str
    device: str = "cpu"


@dataclass(frozen=True)
class Piece:
    """Some neighbouring examples of one shard."""

    dataset: str  # place
    dataset_id: str
    task: str
    shard: str
    keys: tuple[str, ...]
    first: int  # number in the shard of the first of them

    @property
    def name(self) -> str:
        """Where its rows are committed."""
        return f"parts/{self.dataset_id[:16]}/{self.shard.removesuffix('.tar')}-{self.first:05d}-{len(self.keys)}.json"


def pieces(datasets: Sequence[Dataset], clips: int, count: int) -> list[Piece]:
    """At most `clips` examples each, of the first `count` examples of every dataset; all for 0."""
    found = []
    for dataset in datasets:
        manifest = dataset.manifest.select(["key", "shard"]).to_pylist()[: count or None]
        by_shard: dict[str, list[str]] = {}
        for row in manifest:
            by_shard.setdefault(row["shard"], []).append(row["key"])
        about = (dataset.store.url, dataset.description["id"], dataset.description["recipe"]["task"])
        for shard, keys in by_shard.items():
            starts = range(0, len(keys), clips)
            found += [Piece(*about, shard, tuple(keys[start : start + clips]), start) for start in starts]
    return found


@functools.cache
def _systems(models: tuple[tuple[str, str, str], ...], options: Options, seed: int, device: str) -> Systems:
    """The models in this process, each held to its id."""
    opened = {}
    for name, place, identity in models:
        opened[name] = Bundle.open(place, device=device)
        if bundle_id(opened[name].about) != identity:
            raise RuntimeError(f"{place} on this node is another model than on the driver's")
    return Systems(opened, options, seed)


def bundle_id(about: Mapping[str, Any]) -> str:
    """Of codec, language model and encoders: the same model has the same id wherever it lies."""
    return hashlib.sha256(encode_json(dict(about))).hexdigest()


@functools.lru_cache(4)
def _dataset(place: str, identity: str) -> Dataset:
    found = open_dataset(open_store(place))
    if found.description["id"] != identity:
        raise RuntimeError(f"{place} is another dataset than when this began")
    return found


def systems_of(job: Job) -> Systems:
    if job.code != code_version():
        raise RuntimeError(f"{ROOT} on this node has other code than the driver: check out the same there")
    models = tuple((name, place, job.model_ids[name]) for name, place in job.models.items())
    return _systems(models, job.judging.options, job.judging.seed, job.device)


def cases_of(piece: Piece) -> list[Case]:
    """ShardError for a shard that is gone or damaged."""
    dataset = _dataset(piece.dataset, piece.dataset_id)
    rows = [row for row in dataset.manifest.to_pylist() if row["shard"] == piece.shard]
    try:
        data = dataset.store.get(piece.shard)
    except FileNotFoundError:
        raise ShardError(f"{piece.dataset}/{piece.shard}: in the manifest, and not there; rerun what made it") from None
    return list(cases(dataset, rows, data, set(piece.keys)))


@ray.remote(max_restarts=RETRIES, max_task_retries=RETRIES)
class Judge:
    """Judges and commits a piece at a time; keeps its models."""

    def __init__(self, job: Job):
        torch.set_num_threads(1)  # sums in another order are other bits
        self.job = job

    def judge(self, piece: Piece) -> dict[str, float]:
        """Only totals travel back."""
        found = judge(systems_of(self.job), self.job.judging.chosen(), cases_of(piece))
        open_store(self.job.out).put(piece.name, encode_json(found.to_json()))
        return {"examples": len(piece.keys), "seconds": sum(found.audio_s.values())}

    def hear(self, piece: Piece) -> list[tuple[Case, dict[str, Waves]]]:
        """Examples, and what each system makes of them."""
        systems = systems_of(self.job)
        return [
            (case, {one.system: one.waves for one in systems.make(case, systems.counts()) if one.waves})
            for case in cases_of(piece)
        ]


def make(job: Job, todo: Sequence[Piece], resources: Resources) -> None:
    """Judge these pieces on Ray. ShardsFailed names those that could not be judged; the others are committed."""
    if not todo:
        return
    failures, started, seconds = [], time.monotonic(), 0.0
    total = sum(len(piece.keys) for piece in todo)
    with (
        start(job, len(todo), resources) as crew,
        tqdm(total=total, unit="ex", desc="evaluate", dynamic_ncols=True, mininterval=0.5) as bar,
    ):
        for piece, done in crew.work("judge", todo):
            if isinstance(done, RayError):
                failures.append(f"{piece.dataset}/{piece.shard}: {said(done)}")
                metrics.count("quarkline_evaluated_clips_total", len(piece.keys), task=piece.task, state="failed")
                continue
            metrics.count("quarkline_evaluated_clips_total", len(piece.keys), task=piece.task, state="scored")
            seconds += done["seconds"]
            bar.update(len(piece.keys))
            bar.set_postfix_str(f"{seconds / (time.monotonic() - started):.2g} x real time, all systems")
    if failures:
        named = "\n  ".join(failures[:20])
        raise ShardsFailed(f"{len(failures)} of {len(todo)} parts failed; a rerun tries these again\n  {named}")


def start(job: Job, most: int, resources: Resources) -> Crew:
    """As many actors as there is room and work for. ValueError where there are no such GPUs."""
    cluster.start(resources.workers)
    actor = Judge.options(num_cpus=1, num_gpus=resources.gpus_per_worker)
    return Crew(lambda: actor.remote(job), resources.count(most))


def parts(store: Store, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Committed parts, in this order."""
    for name in names:
        yield msgspec.json.decode(store.get(name))
