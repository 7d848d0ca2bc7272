"""Clips to judge a model with: of speakers and recordings that it is not trained on, the same ones in every run.

The choice depends on the clips' keys only, not on the order of manifests or on where the data lie. Speakers (or source
recordings) take turns, so that few clips are of many of them.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from infra.storage import Store
from training.data.config import DataConfig
from training.data.crops import Cropping, centred
from training.data.quarantine import Rejected
from training.data.sources import Source, open_sources


@dataclass(frozen=True)
class HeldOut:
    """How many, how long."""

    per_domain: int = 32
    """Clips of each domain; fewer where there are not so many."""
    seconds: float = 10.0
    """Of a longer clip, its middle."""
    splits: tuple[str, ...] = ("test", "valid")
    """The first that a corpus has is used."""

    def __post_init__(self) -> None:
        if self.per_domain < 1 or not self.seconds > 0 or "train" in self.splits or not self.splits:
            raise ValueError(f"{self}: give one clip a domain or more, more than 0 s, and splits other than train")


@dataclass(frozen=True, eq=False)
class Item:
    """A held-out clip at the rate of the model, at its own level."""

    key: str
    wave: np.ndarray  # (T,) float32, mono
    sample_rate_hz: int
    domain: str
    speaker: str  # "" if there is none or it is not known
    group: str  # source recording or speaker; "" if not known


def held_out(data: DataConfig, choice: HeldOut, sample_rate_hz: int, folder: Store) -> list[Item]:
    """The items, domain by domain. What cannot serve is left out with a printed note, the next takes its place.

    ValueError if the data have no such split, or nothing in it can serve.
    """
    sources = open_sources(data, folder, choice.splits)
    cropping = Cropping(sample_rate_hz, round(choice.seconds * sample_rate_hz))
    items = []
    for domain in sorted({source.domain for source in sources}):
        of_domain = [source for source in sources if source.domain == domain]
        items += _first(_items(of_domain, cropping, choice.per_domain), choice.per_domain)
    if not items:
        raise ValueError(
            f"nothing in the split {' or '.join(choice.splits)} of {', '.join(data.corpora + data.shards)} can serve"
        )
    return items


def identity(items: Sequence[Item]) -> str:
    """Twelve hex digits over what was chosen and every sample of it."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(f"{item.domain} {item.key} {item.sample_rate_hz} {len(item.wave)}\n".encode())
        digest.update(item.wave.astype("<f4").tobytes())
    return digest.hexdigest()[:12]


def _first(items: Iterator[Item], count: int) -> list[Item]:
    return [item for _, item in zip(range(count), items)]


def _items(sources: Sequence[Source], cropping: Cropping, at_a_time: int) -> Iterator[Item]:
    """All items of these sources, in order, fetched a few at a time."""
    order = ordered(pd.concat([_described(source, number) for number, source in enumerate(sources)], ignore_index=True))
    for first in range(0, len(order), at_a_time):
        part = order.iloc[first : first + at_a_time]
        fetched = {number: sources[number].fetch(rows["clip"].to_numpy()) for number, rows in part.groupby("source")}
        for row in part.itertuples():
            try:
                clip = fetched[row.source][row.clip]
                if isinstance(clip, Rejected):
                    raise clip
                wave = centred(clip, cropping)[0]
            except Rejected as rejected:
                print(f"held-out clip left out: {rejected}")
                continue
            yield Item(row.key, wave, cropping.sample_rate_hz, sources[row.source].domain, row.speaker, row.group)


def ordered(clips: pd.DataFrame) -> pd.DataFrame:
    """Clips (columns key, speaker, group) in the order of their keys' hashes, one of each speaker or group before a second."""
    hashes = [hashlib.sha256(key.encode()).hexdigest() for key in clips["key"]]
    clips = clips.assign(hash=hashes).sort_values("hash", ignore_index=True)
    unit = clips["speaker"].where(clips["speaker"] != "", clips["group"])
    unit = unit.where(unit != "", clips["key"])
    return clips.assign(turn=clips.groupby(unit).cumcount()).sort_values(["turn", "hash"], ignore_index=True)


def _described(source: Source, number: int) -> pd.DataFrame:
    columns = [name for name in ("key", "speaker", "group") if name in source.table.column_names]
    described = source.table.select(columns).to_pandas().reindex(columns=["key", "speaker", "group"], fill_value="")
    return described.assign(source=number, clip=np.arange(source.num_clips))
