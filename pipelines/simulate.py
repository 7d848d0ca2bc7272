"""Simulate the data of a task: `python -m pipelines.simulate lass --corpus ../corpus --count 1000`."""

import dataclasses
import time
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from infra import cluster, versions
from infra.command_line import Choice, parse, run
from infra.config import fingerprint, to_json
from infra.corpus_manifest import Corpus
from infra.dataset import DESCRIPTION, RUN, Dataset, committed, dataset_id, finish, gather, open_dataset, shard_name, shards_of
from infra.shards import encode_json
from infra.storage import Store, open_store
from pipelines import corpus as corpora
from pipelines.rendering import ROOT, Recipe, code_version, scene_of
from pipelines.shard_job import Job, make_shards, settle
from pipelines.verify import Verify, verify
from simulation.bank import Bank
from simulation.registry import configurations

T = TypeVar("T")
LIBRARIES = (
    *("numpy", "scipy", "soxr", "soundfile", "pyroomacoustics", "audiomentations", "fast-mp3-augment", "python-stretch"),
    *("pyworld-prebuilt", "msgspec"),
)


@dataclass(frozen=True)
class Simulate(Generic[T]):
    """Make one dataset, <out>/<task>-<fingerprint>. A rerun does only what is missing."""

    task: T
    """Ranges of the task."""
    corpus: str = ""
    """A manifest, a folder or an s3:// prefix; the synthetic starter corpus if empty."""
    out: str = "data"
    """Folder or s3://bucket/prefix for the dataset."""
    count: int = 256
    """Examples."""
    seed: int = 0
    """Another seed is other data."""
    first: int = 0
    """Number of the first example; another range of the same seed is more data of the same kind."""
    sample_rate_hz: int = 16000
    """Of all audio; sources are resampled to it."""
    split: str = "train"
    """Part of the corpus to draw from: train, valid or test."""
    min_source_rate_hz: int | None = None
    """Leave out files with a lower rate; nine tenths of the sample rate if not given."""
    examples_per_shard: int = 64
    """Fewer than 64 and Ray's own cost shows."""
    stems: bool = True
    """Store the parts of each mixture too; without them a dataset is about half the size."""
    gate: Literal["fail", "redraw"] = "fail"
    """What a measured label that misses its request does: fail the shard, or draw the example again and note it."""
    max_reject_share: float = 0.05
    """Stop with exit code 3 when more than this share of draws had to be thrown away."""
    workers: int | None = None
    """CPUs of this machine to use, all if not given. A cluster (RAY_ADDRESS) brings its own."""
    order: Literal["forward", "backward"] = "forward"
    """In which order shards are made; the data is the same."""
    rerender: int = 4
    """Examples that the final verification renders again."""

    def __post_init__(self) -> None:
        for name, least in (("count", 1), ("sample_rate_hz", 8000), ("examples_per_shard", 1), ("rerender", 0), ("workers", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"--{name.replace('_', '-')} is {value}: give {least} or more")
        if self.first < 0 or not 0 <= self.max_reject_share <= 1:
            raise ValueError(
                f"--first {self.first} must be 0 or more, --max-reject-share {self.max_reject_share} between 0 and 1"
            )

    def recipe(self, task: str) -> Recipe:
        """What of this changes the data."""
        names = {field.name for field in dataclasses.fields(Recipe)} - {"task", "config", "min_source_rate_hz"}
        least = self.sample_rate_hz * 9 // 10 if self.min_source_rate_hz is None else self.min_source_rate_hz
        return Recipe(task, self.task, min_source_rate_hz=least, **{name: getattr(self, name) for name in names})


def simulate(config: Simulate, task: str) -> Dataset:
    """The finished dataset, made as far as it is not there yet. ValueError for what a person can mend."""
    recipe = config.recipe(task)
    corpus = corpora.resolve(config.corpus)
    job_bank = bank_of(corpus, recipe)
    described = described_by(recipe, corpus)
    url = f"{config.out.rstrip('/')}/{task}-{fingerprint(described)}"
    store = open_store(url)
    shards = [shard_name(shard) for shard in range(recipe.num_shards())]
    there = committed(store)
    if not store.exists(DESCRIPTION) or not there.issuperset(shards):
        store.put(RUN, encode_json({"task": task, "config": to_json(dataclasses.replace(config, corpus=corpus.location))}))
        print(f"{url}: {len(shards)} shards to make, {len(there)} there already")
        make_missing(
            config, Job(recipe, job_bank, corpus.root, url), [n for n, shard in enumerate(shards) if shard not in there]
        )
        conclude(store, described, shards, recipe.count)
    return open_dataset(store)


def bank_of(corpus: Corpus, recipe: Recipe) -> Bank:
    """The part of the corpus that the recipe draws from. ValueError, before Ray starts, if it cannot serve the task."""
    bank = Bank(corpus.of_split(recipe.split), recipe.sample_rate_hz, recipe.min_source_rate_hz)
    try:
        for index in range(recipe.first, recipe.first + min(recipe.count, 16)):
            scene_of(recipe, bank, index, attempt=0)
    except ValueError as error:
        raise ValueError(f"corpus {corpus.location}: {error}") from error
    return bank


def described_by(recipe: Recipe, corpus: Corpus) -> dict[str, Any]:
    """What is known of a dataset before it is made; the fingerprint of this names its folder."""
    return {
        "recipe": to_json(recipe),
        "parents": {"corpus": {"id": corpus.id, "name": corpus.name}, "code": code_version()},
        "libraries": versions.libraries(LIBRARIES),
    }


def make_missing(config: Simulate, job: Job, shards: list[int]) -> None:
    """Start Ray and make these shards; TooManyRejects, ShardsFailed."""
    if not shards:
        return
    cluster.start(config.workers)
    tally = make_shards(job, shards if config.order == "forward" else shards[::-1], config.max_reject_share)
    settle(tally, len(shards))
    print(f"{tally.examples} examples at {tally.times_real_time():.0f} x real time")


def conclude(store: Store, described: dict[str, Any], shards: list[str], wanted: int) -> None:
    """Manifest and description, from the rows of all shards."""
    totals = gather(store, shards)
    counts = {
        "examples": totals.table.num_rows,
        "given_up": wanted - totals.table.num_rows,  # no draw of theirs could be made: quarantine.csv says why
        "hours": round(totals.hours, 6),
        "shards": len(shards),
        "num_bytes": totals.num_bytes,
        "clips_by_licence": totals.licences,
        "rejects_by_reason": totals.rejects["reason"].value_counts().sort_index().to_dict(),
    }
    finish(
        store,
        totals,
        {"id": dataset_id(shards_of(totals.table)), **described, "commit": versions.git_commit(ROOT), "totals": counts},
    )


def main(argv: list[str]) -> int:
    started = time.monotonic()
    choices = {
        name: Choice(task, Simulate[type(config)], Simulate(config)) for name, (task, config) in configurations().items()
    }
    task, config = parse(choices, argv, prog="pipelines.simulate")
    dataset = simulate(config, task)
    code = verify(Verify(out=dataset.store.url, rerender=config.rerender, workers=config.workers))
    totals, url = dataset.description["totals"], dataset.store.url
    took = time.monotonic() - started
    key = dataset.manifest["key"][0].as_py()
    if code:
        return code
    if totals["given_up"]:
        print(f"{totals['given_up']} examples were given up, {url}/quarantine.csv says why")
    megabytes = totals["num_bytes"] / 1e6
    print(
        f"\n{totals['examples']} examples of {task}, {totals['hours']:.2f} hours, {megabytes:.0f} MB in {took:.0f} s"
        f"\n  where   {url}  ({totals['shards']} shards, manifest.parquet, dataset.json)"
        f"\n  listen  make listen OUT={url}    (one of them: make replay OUT={url} KEY={key})"
        f"\n  check   make verify OUT={url}"
    )
    return code


if __name__ == "__main__":
    run(main)
