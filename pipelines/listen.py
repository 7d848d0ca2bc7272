"""Hear a dataset: `python -m pipelines.listen --out data --to data/listen/index.html` makes one page that needs nothing else.

The page holds the audio: a few examples of each dataset, the strangest first, with players, spectrograms, texts, labels and
sources, and the distributions of all labels over the whole manifest.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow.compute as pc
import tyro

from infra.command_line import run
from infra.dataset import Dataset, find_datasets, open_dataset, read_shard
from infra.shards import Sample, ShardError
from infra.storage import open_store
from pipelines.listen_page import Card, Section, distributions, label_rows, page, role, sentence
from pipelines.outliers import Choice, choose, labels_of
from simulation.example import Clip
from simulation.seeds import Rng

FIRST_ROLES = ("input", "target", "reference")  # on a card; the others follow in the order of the shard


@dataclass(frozen=True)
class Listen:
    """What to hear, and where to put the page."""

    out: str = "data"
    """A dataset, or a folder or s3:// prefix of datasets."""
    to: str = "data/listen/index.html"
    """The page; s3:// works too."""
    count: int = 6
    """Examples of each dataset: two thirds outliers, the rest drawn at random."""
    seed: int = 0
    """Another seed draws other random examples."""
    max_mb: float = 24.0
    """Size of the page; fewer examples of each dataset are shown where it would be exceeded, at least one."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"--count is {self.count}: give 1 or more")
        if not self.to.endswith(".html"):
            raise ValueError(f"--to {self.to}: give the name of an .html file")


def listen(config: Listen) -> int:
    """Write the page, say where it is; the exit code."""
    stores = find_datasets(open_store(config.out))
    if not stores:
        raise ValueError(f"{config.out}: no finished dataset here (no dataset.json); make one with `make simulate TASK=...`")
    sections = [section(open_dataset(store), config.count, config.seed) for store in stores]
    num_bytes = sum(card.num_bytes() for entry in sections for card in entry.cards)
    if num_bytes > config.max_mb * 1e6:
        fewer = max(1, int(config.count * config.max_mb * 1e6 / num_bytes))
        print(f"{config.count} examples of each dataset would be {num_bytes / 1e6:.0f} MB: {fewer} of each are shown")
        sections = [section(open_dataset(store), fewer, config.seed) for store in stores]
    html = page(sections).encode()
    folder, _, name = config.to.rpartition("/")
    open_store(folder or ".").put(name, html)
    num_cards = sum(len(entry.cards) for entry in sections)
    print(f"{config.to}: {num_cards} examples of {len(sections)} datasets, {len(html) / 1e6:.1f} MB; open it in a browser")
    return 0


def section(dataset: Dataset, count: int, seed: int) -> Section:
    """One dataset's part of the page. ShardError where its shards are not what the manifest says."""
    manifest, labels = dataset.manifest, labels_of(dataset.manifest)
    task = manifest["task"][0].as_py()
    choices = choose(manifest, count, Rng(seed, dataset.description["id"], 0))
    samples = dict(_samples(dataset, choices))
    licences = pc.value_counts(pc.list_flatten(manifest["licences"])).to_pylist()
    hours = pc.sum(manifest["num_samples"]).as_py() / manifest["sample_rate_hz"][0].as_py() / 3600
    duration = f"{hours:,.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"
    facts = [f"{manifest.num_rows:,} examples", duration, f"{manifest['sample_rate_hz'][0].as_py() / 1000:g} kHz"]
    return Section(
        task,
        dataset.store.url,
        dataset.description["id"],
        facts,
        {entry["values"]: entry["counts"] for entry in sorted(licences, key=lambda entry: -entry["counts"])},
        distributions(labels, choices),
        [card(samples[choice.row], choice) for choice in choices],
    )


def _samples(dataset: Dataset, choices: list[Choice]) -> Iterator[tuple[int, Sample]]:
    """Row and stored sample of each choice, each shard read once."""
    shards = dataset.shards().set_index("shard")
    rows = {dataset.manifest["key"][choice.row].as_py(): choice.row for choice in choices}
    for shard in sorted({dataset.manifest["shard"][choice.row].as_py() for choice in choices}):
        about = shards.loc[shard]
        for sample in read_shard(dataset.store, shard, about["shard_sha256"], about["num_examples"]):
            if sample.key in rows:
                yield rows.pop(sample.key), sample
    if rows:
        raise ShardError(f"{dataset.store.url}: {', '.join(rows)} in the manifest, not in its shard; make verify says more")


def card(sample: Sample, choice: Choice) -> Card:
    """One example's card."""
    record = sample.members["json"]
    audio = {name.removesuffix(".flac"): value for name, value in sample.members.items() if name.endswith(".flac")}
    order = sorted(audio, key=lambda name: FIRST_ROLES.index(name) if name in FIRST_ROLES else len(FIRST_ROLES))
    return Card(
        sample.key,
        [sentence(reason) for reason in choice.reasons] or ["drawn at random"],
        not choice.reasons,
        record["texts"],
        [role(name, *audio[name]) for name in order],
        label_rows(record["requested"], record["measured"]),
        list(_clips(record["scene"])),
        json.dumps(record["scene"], indent=1, ensure_ascii=False),
    )


def _clips(scene: Any) -> Iterator[Clip]:
    """Every corpus clip in a stored scene, also in one that this version of its task would not read."""
    if isinstance(scene, dict) and {"id", "path", "licence", "sha256"} <= scene.keys():
        yield msgspec.convert(scene, Clip)
    elif isinstance(scene, dict | list):
        for part in scene.values() if isinstance(scene, dict) else scene:
            yield from _clips(part)


def main(argv: list[str]) -> int:
    return listen(tyro.cli(Listen, args=argv, prog="pipelines.listen"))


if __name__ == "__main__":
    run(main)
