"""Sources of clips: what the stream asks of one, which ones a configuration names, how often each is drawn."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from infra.corpus_schema import ROLES, nearest
from infra.dataset import find_datasets
from infra.storage import Store, open_store
from training.data.config import DataConfig
from training.data.corpus_source import CorpusSource
from training.data.crops import Clip
from training.data.quarantine import Rejected
from training.data.shard_source import ShardSource
from training.data.windows import Order
from training.keys import generator


class Named(Protocol):
    """Data at some place."""

    id: str  # of the content: the same data has the same order wherever it lies
    where: str


class Source(Named, Protocol):
    """Clips of one domain, numbered from 0."""

    domain: str
    table: pa.Table  # a row a clip: its key, and what else is known, such as speaker and group

    @property
    def num_clips(self) -> int: ...

    def windows(self, order: Order) -> list[np.ndarray]:
        """The clip numbers of a logical worker's epoch, in its order, in windows that are fetched whole. Pure."""

    def fetch(self, clips: np.ndarray) -> dict[int, Clip | Rejected]:
        """These clips, ready to be decoded, or why one cannot serve. StorageError if the store cannot be reached."""


def open_sources(config: DataConfig, folder: Store, splits: Sequence[str] = ("train",)) -> list[Source]:
    """What the configuration names, of the domains with a weight. Indices of plain tars are kept in the run's `folder`.

    Of a corpus the first of the splits that is there is used. ValueError for what a person can mend: nothing named, nothing
    there, data named twice, a dataset of another split.
    """
    found: list[Source] = []
    for location in config.corpora:
        found += CorpusSource.of_corpus(location, config, splits)
    for spec in config.shards:
        found += _of_shards(spec, config, folder, splits)
    weights = asdict(config.weights)
    sources = [source for source in found if weights[source.domain]]
    if not sources:
        there = ", ".join(sorted({source.domain for source in found})) or "nothing is named"
        raise ValueError(
            f"no data to train on ({there}): name --corpus or --data of a domain that has a weight in --clips.weights"
        )
    check_distinct(sources)
    return sources


def check_distinct(sources: Iterable[Named]) -> None:
    """ValueError for data that were named twice."""
    places: dict[str, str] = {}
    for source in sources:
        if source.id in places:
            raise ValueError(f"{source.where} and {places[source.id]} are the same data: name one of them")
        places[source.id] = source.where


def _of_shards(spec: str, config: DataConfig, folder: Store, splits: Sequence[str]) -> list[ShardSource]:
    domain, place = _domain_of(spec)
    tars = "{" in place or place.endswith(".tar")
    datasets = [] if tars else find_datasets(open_store(place))
    if not datasets and not domain:
        raise ValueError(
            f"{place}: no finished dataset here (no dataset.json): rerun `make simulate`; or, if these are the tars of another"
            f" WebDataset, say of which domain they are: speech={place}"
        )
    opened = [ShardSource.of_dataset(store, config, domain) for store in datasets]
    opened = opened or [ShardSource.of_tars(place, config, domain, folder)]
    for source in opened:
        if source.split not in splits:
            wanted = " or ".join(splits)
            raise ValueError(
                f"{source.where}: its clips are of the split {source.split!r} of their corpus, {wanted} is wanted here"
            )
    return opened


def _domain_of(spec: str) -> tuple[str, str]:
    """ "music=s3://bucket/x" -> domain and place; a place alone has the domain ""."""
    domain, equals, place = spec.partition("=")
    if not equals or "/" in domain:
        return "", spec
    if domain not in ROLES:
        raise ValueError(f"{spec}: domain {domain!r}: {nearest(domain, ROLES)}")
    return domain, place


class Mixture:
    """Which source each clip of a logical worker comes from: drawn by key, by the weights (a dataclass) of the domains.

    The sources of a domain share its weight by their numbers of clips. Domains without clips drop out; a printed note says so.
    """

    def __init__(self, sources: Sequence[Source], weights: Any, seed: int):
        self.sources, self.seed = sources, seed
        num_clips: dict[str, int] = {}
        for source in sources:
            num_clips[source.domain] = num_clips.get(source.domain, 0) + source.num_clips
        wanted = asdict(weights)
        total = sum(wanted[domain] for domain in num_clips)
        self.domains = {domain: wanted[domain] / total for domain in num_clips}
        shares = [self.domains[source.domain] * source.num_clips / num_clips[source.domain] for source in sources]
        self._bounds = np.cumsum(shares)[:-1]
        missing = [domain for domain, weight in wanted.items() if weight and domain not in num_clips]
        if missing:
            there = ", ".join(f"{share:.0%} {domain}" for domain, share in self.domains.items())
            print(f"no clips of {', '.join(missing)} are there: {there} instead")

    def __call__(self, worker: int, number: int) -> int:
        """The index of the source of a logical worker's clip `number`, counted over the whole run."""
        return int(np.searchsorted(self._bounds, generator(self.seed, "source", worker, number).random(), "right"))
