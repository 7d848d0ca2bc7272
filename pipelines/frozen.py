"""Test sets that must not change: `python -m pipelines.frozen s3://bucket/test` prints them for a configuration file."""

from dataclasses import dataclass

import tyro

from infra.command_line import run
from infra.dataset import Dataset, find_datasets, open_dataset
from infra.storage import open_store
from pipelines.retrain_config import Frozen, JudgingConfig


@dataclass(frozen=True)
class Pin:
    """Name the datasets at these places by their hashes."""

    places: tyro.conf.Positional[tuple[str, ...]]
    """Datasets, or folders or s3:// prefixes of them."""


def check(config: JudgingConfig) -> list[Dataset]:
    """The datasets, as they were when they were named. ValueError for none, or for one that has changed."""
    if not config.datasets:
        raise ValueError(
            "judging.datasets is empty: what models are judged on must be named in the configuration file; "
            "`python -m pipelines.frozen PLACE` prints the lines"
        )
    return [_checked(frozen, config.split) for frozen in config.datasets]


def _checked(frozen: Frozen, split: str) -> Dataset:
    dataset = open_dataset(open_store(frozen.place))
    about = dataset.description
    found = {"id": about["id"], "manifest_sha256": about["manifest_sha256"]}
    for name, value in found.items():
        if value != getattr(frozen, name):
            raise ValueError(
                f"{frozen.place}: {name} is {value[:16]}, the configuration says {getattr(frozen, name)[:16]}: models are "
                "compared on a set that never changes; restore it, or name the new one for champion and candidate alike"
            )
    if about.get("recipe", {}).get("split") != split:
        raise ValueError(f"{frozen.place}: of the split {about.get('recipe', {}).get('split')!r}, judging.split is {split!r}")
    return dataset


def pinned(places: tuple[str, ...]) -> list[Frozen]:
    """What is there now. ValueError where there is nothing."""
    found = []
    for place in places:
        stores = find_datasets(open_store(place))
        if not stores:
            raise ValueError(f"{place}: no finished dataset here")
        abouts = {store.url: open_dataset(store).description for store in stores}
        found += [Frozen(url, about["id"], about["manifest_sha256"]) for url, about in abouts.items()]
    return found


def main(argv: list[str]) -> int:
    for one in pinned(tyro.cli(Pin, args=argv, prog="pipelines.frozen").places):
        print(f'\n[[judging.datasets]]\nplace = "{one.place}"\nid = "{one.id}"\nmanifest_sha256 = "{one.manifest_sha256}"')
    return 0


if __name__ == "__main__":
    run(main)
