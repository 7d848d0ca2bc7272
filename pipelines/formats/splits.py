"""Train, valid and test: official where a data set has them, else by a keyed hash of the group. Never by clip."""

import hashlib
from dataclasses import dataclass

import pandas as pd

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
