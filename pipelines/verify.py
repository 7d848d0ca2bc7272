"""Check datasets from their shards alone: `python -m pipelines.verify --out data`. Exit code 6, with the culprits named."""

import json
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import ray
import tyro
from tqdm import tqdm

from infra import cluster, versions
from infra.command_line import run
from infra.dataset import RUN, Dataset, dataset_id, find_datasets, open_dataset, read_shard
from infra.shards import Sample, ShardError, encode_json
from infra.storage import open_store
from pipelines import corpus as corpora
from pipelines.rendering import CODE, ROOT, clips_of, loader, scene_from
from simulation.example import SourceError
from simulation.labels import RESIDUAL_LIMIT_DB, disagreements
from simulation.registry import task
from simulation.signals.mixing import residual_db

EXIT_BAD = 6
MARK = "verified.json"
FEW_EXAMPLES = 1000  # fewer than this are checked before Ray would have started


@dataclass(frozen=True)
class Verify:
    """What to check and how much of it to make again."""

    out: str = "data"
    """A dataset, or a folder of datasets."""
    rerender: int = 8
    """Examples of each dataset, spread evenly, that are rendered again from their stored scene and compared bit by bit."""
    corpus: str = ""
    """Where the sources are now, if not where the run's run.json says."""
    workers: int | None = None
    """CPUs of this machine to use, all if not given."""

    def __post_init__(self) -> None:
        if self.rerender < 0 or (self.workers is not None and self.workers < 1):
            raise ValueError(f"--rerender {self.rerender} must be 0 or more, --workers {self.workers} 1 or more")


@dataclass(frozen=True)
class Place:
    """What a worker needs to check any shard of a dataset."""

    url: str
    libraries: dict[str, str]  # versions that made it
    corpus_root: str
    again: set[str]  # keys to render again


def verify(config: Verify) -> int:
    """Check every dataset at `out`, print what was checked and what is wrong; the exit code."""
    stores = find_datasets(open_store(config.out))
    if not stores:
        raise ValueError(f"{config.out}: no finished dataset here (no dataset.json); finish the run that made it first")
    wrong = []
    for store in stores:
        dataset = open_dataset(store)
        found = check_dataset(dataset, config)
        wrong += [f"{store.url}: {line}" for line in found]
        shards, examples = len(dataset.shards()), dataset.manifest.num_rows
        again = 0 if "test_set" in dataset.description else min(config.rerender, examples)
        print(
            f"verify {store.url}: {shards} shards, {examples} examples: hashes, counts, members, labels;"
            f" {again} rendered again: {'all well' if not found else f'{len(found)} WRONG'}"
        )
    print(*wrong[:50], sep="\n", file=sys.stderr, end="\n" if wrong else "")
    return EXIT_BAD if wrong else 0


def verify_once(dataset: Dataset, config: Verify) -> int:
    """`verify` of one dataset, unless these very data were found well before: its verified.json says so.

    Who wants them checked again deletes that file, or calls `verify`, which never looks at it.
    """
    about = {name: dataset.description[name] for name in ("id", "manifest_sha256")}
    if about.items() <= _marked(dataset).items():
        return 0
    code = verify(replace(config, out=dataset.store.url))
    if code == 0:
        said = {"rerendered": config.rerender, "code": versions.code_hash(ROOT, (*CODE, "pipelines/verify.py"))}
        dataset.store.put(MARK, encode_json(about | said | {"commit": versions.git_commit(ROOT)}))
    return code


def _marked(dataset: Dataset) -> dict[str, Any]:
    try:
        found = json.loads(dataset.store.get(MARK))
    except (FileNotFoundError, ValueError):  # none, or not ours: it is put anew
        return {}
    return found if isinstance(found, dict) else {}


def check_dataset(dataset: Dataset, config: Verify) -> list[str]:
    """One line for each thing that is wrong."""
    shards = dataset.shards()
    wrong = []
    if dataset_id(shards) != dataset.description["id"]:
        wrong.append("dataset.json: its id is not that of the manifest's shards")
    if dataset.description["totals"]["examples"] != dataset.manifest.num_rows:
        wrong.append(f"dataset.json: its totals say {dataset.description['totals']['examples']} examples")
    every = max(1, dataset.manifest.num_rows // max(config.rerender, 1))
    again = set(dataset.manifest["key"].to_pylist()[::every][: config.rerender])
    if "test_set" in dataset.description:  # imported: there is nothing to render it from
        again = set()
    corpus_root = _corpus_root(dataset, config.corpus) if again else ""
    rows = dataset.manifest.to_pandas()
    jobs = [group.set_index("key") for _, group in rows.groupby("shard", sort=True)]
    place = Place(dataset.store.url, dataset.description["libraries"], corpus_root, again)
    if len(rows) < FEW_EXAMPLES and not ray.is_initialized():
        return wrong + [line for job in jobs for line in check_shard(place, job)]
    cluster.start(config.workers)
    shared = ray.put(place)
    with tqdm(total=len(jobs), unit="shard", desc="verify", dynamic_ncols=True, mininterval=0.5) as bar:
        for _, reference in cluster.bounded(lambda job: _check_shard.remote(shared, job), jobs):
            wrong += ray.get(reference)
            bar.update()
    return wrong


def _corpus_root(dataset: Dataset, location: str) -> str:
    if not location:
        location = json.loads(dataset.store.get(RUN))["config"]["corpus"]
    corpus = corpora.resolve(location)
    wanted = dataset.description["parents"]["corpus"]["id"]
    if corpus.id != wanted:
        raise ValueError(f"corpus {location} is now {corpus.id[:12]}, made from {wanted[:12]}: give that one, or --rerender 0")
    return corpus.root


def check_shard(place: Place, rows: pd.DataFrame) -> list[str]:
    """Hash, count, members, labels of the shard of these manifest rows; those examples of `again` in it are rendered anew."""
    shard = rows["shard"].iloc[0]
    wrong = []
    try:
        for sample in read_shard(open_store(place.url), shard, rows["shard_sha256"].iloc[0], len(rows)):
            if sample.key not in rows.index:
                wrong.append(f"{shard}: {sample.key} is not in the manifest")
                continue
            found = _check_sample(sample, rows.loc[sample.key])
            if sample.key in place.again and not found:
                found = _check_again(sample, place)
            wrong += [f"{shard}: {sample.key}: {line}" for line in found]
    except ShardError as error:
        wrong.append(str(error))
    return wrong


_check_shard = ray.remote(num_cpus=1, max_retries=3, retry_exceptions=[OSError])(check_shard)


def _check_sample(sample: Sample, row: Any) -> list[str]:
    """Members against the manifest row, audio against the record, labels against their requests."""
    record = sample.members.get("json")
    if record is None or record.get("key") != sample.key:
        return ["its json is missing or names another key"]
    audio = {name.removesuffix(".flac"): value for name, value in sample.members.items() if name.endswith(".flac")}
    wrong = []
    if list(audio) != list(row["roles"]):
        wrong.append(f"holds {', '.join(audio)}, manifest says {', '.join(row['roles'])}")
    stated = dict(zip(row["roles"], row["role_num_samples"]))
    for role, (samples, sample_rate_hz) in audio.items():
        if sample_rate_hz != row["sample_rate_hz"]:
            wrong.append(f"{role}: {sample_rate_hz} Hz, manifest says {row['sample_rate_hz']} Hz")
        if samples.shape[1] != stated.get(role, samples.shape[1]):
            wrong.append(f"{role}: {samples.shape[1]} samples, manifest says {stated[role]}")
    if "test_set" not in record:  # the labels of an imported set are what its authors say, not measured here
        wrong += disagreements(record["requested"], record["measured"])
    wrong += _row_differences(record, row)
    parts = record["mixture_parts"]
    if parts and all(part in audio for part in parts):
        left = residual_db(audio["input"][0], [audio[part][0] for part in parts])
        if left > RESIDUAL_LIMIT_DB:
            wrong.append(f"input is not the sum of {' + '.join(parts)}: {left:.1f} dB are left")
    return wrong


def _row_differences(record: dict[str, Any], row: Any) -> list[str]:
    """Labels, texts and sources of the manifest row that are not those of the record."""
    said: dict[str, Any]
    if "test_set" in record:
        files = record["scene"]["files"]
        said = {"sources": [files[role]["path"] for role in sorted(files)], "licences": list(row["licences"])}
    else:
        scene = scene_from(record)
        said = {"sources": [clip.id for clip in clips_of(scene)], "licences": [clip.licence for clip in clips_of(scene)]}
    for kind, values in (("requested", record["requested"]), ("measured", record["measured"]), ("text", record["texts"])):
        said |= {f"{kind}_{name}": value for name, value in values.items()}
    found = {name: row.get(name) for name in said}
    found |= {name: list(found[name]) for name in ("sources", "licences")}
    return [f"{name} is {value!r}, manifest says {found[name]!r}" for name, value in said.items() if found[name] != value]


def _check_again(sample: Sample, place: Place) -> list[str]:
    """Render the stored scene and compare every signal sample by sample."""
    record = sample.members["json"]
    try:
        example = task(record["task"]).render(scene_from(record), loader(place.corpus_root, record["sample_rate_hz"]))
    except (ValueError, SourceError) as error:
        return [f"cannot be rendered again: {error}{_other_versions(place.libraries)}"]
    audio = example.signals | example.stems
    labels = (example.requested, example.measured, example.texts)
    if labels != (record["requested"], record["measured"], record["texts"]):
        return [f"labels rendered again differ{_other_versions(place.libraries)}"]
    different = [
        role
        for role in (name.removesuffix(".flac") for name in sample.members if name.endswith(".flac"))
        if role not in audio or not np.array_equal(audio[role], sample.members[f"{role}.flac"][0])
    ]
    return [f"{', '.join(different)} rendered again differs{_other_versions(place.libraries)}"] if different else []


def _other_versions(made: dict[str, str]) -> str:
    """A hint when the libraries are not those that made the dataset."""
    now = versions.libraries(tuple(made))
    changed = [f"{name} {made[name]} -> {now[name]}" for name in now if now[name] != made[name]]
    return f" (versions have changed since: {', '.join(changed)})" if changed else ""


def main(argv: list[str]) -> int:
    return verify(tyro.cli(Verify, args=argv, prog="pipelines.verify"))


if __name__ == "__main__":
    run(main)
