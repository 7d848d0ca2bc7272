"""Keyed randomness: a draw depends on what it is for, never on order, rank, worker or clock.

Counter-based generators (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) make one generator a draw
cheap: any rank can redo any step's draws, and a new kind of draw shifts no other. The first part of a key is the run's seed.
"""

import hashlib
from operator import index

import numpy as np
from numpy.random.bit_generator import ISeedSequence


def key(*parts: str | int) -> int:
    """An integer in [0, 2**63) for these strings and integers: `torch.manual_seed(key(seed, "dropout", step, rank))`.

    The order and the type of the parts count; integers of numpy and Python are alike. TypeError for parts of other types.
    """
    return int.from_bytes(_digest(parts)[:8], "little") >> 1


def generator(*parts: str | int) -> np.random.Generator:
    """A fresh Philox generator for these parts, e.g. `generator(seed, "crop", 17)`; asking twice gives the same stream."""
    return np.random.Generator(np.random.Philox(_Key(_digest(parts))))


class _Key(ISeedSequence):
    """Sixteen bytes as Philox's key; given as `key=`, numpy would ask the operating system for entropy, too, and drop it."""

    def __init__(self, digest: bytes):
        self.digest = digest

    def generate_state(self, n_words: int, dtype: type = np.uint32) -> np.ndarray:
        assert (n_words, dtype) == (2, np.uint64), (n_words, dtype)
        return np.frombuffer(self.digest, "<u8")


def _digest(parts: tuple[str | int, ...]) -> bytes:
    plain = tuple(part if isinstance(part, str) else index(part) for part in parts)
    return hashlib.blake2b(repr(plain).encode("utf-8", "surrogatepass"), digest_size=16).digest()
