"""Train, valid and test: official where a data set has them, else by a keyed hash of the group. Never by clip."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

RANKS = {"": -1, "train": 0, "valid": 1, "test": 2}


@dataclass(frozen=True)
class Shares:
    """Of the groups without an official split."""

    valid: float = 0.05
    test: float = 0.05
    salt: str = "quarkline"
    """Another salt draws other groups."""

    def __post_init__(self) -> None:
        if min(self.valid, self.test) < 0 or self.valid + self.test > 1:
            raise ValueError(f"shares of valid {self.valid} and test {self.test}: give numbers from 0 to 1, together at most 1")


def units(group: pd.Series, speaker: pd.Series) -> pd.Series:
    """What must stay together, by row: groups that share a speaker are one. Named by the first of their groups."""
    groups, names = pd.factorize(group)
    speakers, _ = pd.factorize(speaker.where(speaker != "", "\0" + group))
    size = len(names) + int(speakers.max(initial=-1)) + 1
    links = coo_array((np.ones(len(groups), np.int8), (groups, len(names) + speakers)), shape=(size, size))
    _, parts = connected_components(links, directed=False)
    firsts = pd.Series(names, dtype="str").groupby(parts[: len(names)]).min()
    return pd.Series(firsts.loc[parts[groups]].to_numpy(), index=group.index, dtype="str")


def settle(official: pd.Series, group: pd.Series, shares: Shares) -> tuple[pd.Series, int]:
    """The split of each row, and how many groups an official split tears apart.

    All rows of a group share one: the most held-out official split among them (test before valid before train), else drawn.
    """
    ranks = official.map(RANKS).astype("int64")
    highest = ranks.groupby(group).transform("max")
    torn = ranks[ranks >= 0].groupby(group[ranks >= 0]).nunique().gt(1).sum()
    drawn = {name: draw(name, shares) for name in group[highest < 0].unique()}
    names = {rank: name for name, rank in RANKS.items()}
    return highest.map(names).where(highest >= 0, group.map(drawn)).astype("str"), int(torn)


def draw(group: str, shares: Shares) -> str:
    """The split of a group: the same on every machine, whatever else is in the corpus."""
    digest = hashlib.blake2b(group.encode(), key=hashlib.sha256(shares.salt.encode()).digest(), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / 2**64
    return "valid" if place < shares.valid else "test" if place < shares.valid + shares.test else "train"
