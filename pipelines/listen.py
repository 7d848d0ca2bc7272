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
from pipelines.outliers import Choice, choose, labels_of, num_outliers
from simulation.example import Clip
from simulation.seeds import Rng

FAR_END = ("aec",)  # tasks whose reference runs along with the input; it is another recording in all others
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


@dataclass(frozen=True)
class Chosen:
    """A dataset and the examples of it to show."""

    dataset: Dataset
    cards: list[tuple[Choice, Card]]

    def first(self, count: int) -> "Chosen":
        """Fewer of them."""
        strange = [entry for entry in self.cards if entry[0].reasons][: num_outliers(count)]
        usual = [entry for entry in self.cards if not entry[0].reasons][: count - len(strange)]
        return Chosen(self.dataset, strange + usual)


def listen(config: Listen) -> int:
    """Write the page, say where it is; the exit code."""
    stores = find_datasets(open_store(config.out))
    if not stores:
        raise ValueError(f"{config.out}: no finished dataset here (no dataset.json); make one with `make simulate TASK=...`")
    chosen = [choose_cards(open_dataset(store), config.count, config.seed) for store in stores]
    sections = [section(entry) for entry in _fitting(chosen, config)]
    html = page(sections).encode()
    folder, _, name = config.to.rpartition("/")
    open_store(folder or ".").put(name, html)
    num_cards = sum(len(entry.cards) for entry in sections)
    print(f"{config.to}: {num_cards} examples of {len(sections)} datasets, {len(html) / 1e6:.1f} MB; open it in a browser")
    return 0


def choose_cards(dataset: Dataset, count: int, seed: int) -> Chosen:
    """Choose the examples and read them. ShardError where a shard is not what the manifest says."""
    choices = choose(dataset.manifest, count, Rng(seed, dataset.description["id"], 0))
    samples = dict(_samples(dataset, choices))
    return Chosen(dataset, [(choice, card(samples[choice.row], choice)) for choice in choices])


def _fitting(chosen: list[Chosen], config: Listen) -> list[Chosen]:
    """As many examples of each dataset as fit on the page, outliers and random ones in the same proportion."""
    for count in range(config.count, 0, -1):
        fewer = [entry.first(count) for entry in chosen]
        num_mb = sum(example.num_bytes() for entry in fewer for _, example in entry.cards) / 1e6
        if num_mb <= config.max_mb or count == 1:
            break
    if count < config.count:
        print(f"{config.count} examples of each dataset are more than --max-mb {config.max_mb:g}: {count} of each are shown")
    return fewer


def section(chosen: Chosen) -> Section:
    """One dataset's part of the page."""
    dataset, choices = chosen.dataset, [choice for choice, _ in chosen.cards]
    manifest = dataset.manifest
    licences = pc.value_counts(pc.list_flatten(manifest["licences"])).to_pylist()
    sample_rate_hz = manifest["sample_rate_hz"][0].as_py()
    hours = pc.sum(manifest["num_samples"]).as_py() / sample_rate_hz / 3600
    duration = (
        f"{hours:,.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes" if hours >= 1 / 60 else f"{3600 * hours:.1f} s"
    )
    facts = [f"{manifest.num_rows:,} examples", duration, f"{sample_rate_hz / 1000:g} kHz"]
    return Section(
        manifest["task"][0].as_py(),
        dataset.store.url,
        dataset.description["id"],
        facts,
        {entry["values"]: entry["counts"] for entry in sorted(licences, key=lambda entry: -entry["counts"])},
        distributions(labels_of(manifest), choices),
        [example for _, example in chosen.cards],
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
        [role(name, *audio[name], aligned=name != "reference" or record["task"] in FAR_END) for name in order],
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
