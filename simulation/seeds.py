"""Keyed randomness: a draw depends on what it is for, never on order, worker or clock.

Counter-based generators (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) make one generator a
draw cheap: any worker can redo any example, and a new kind of draw shifts no other.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.random.bit_generator import ISeedSequence


@dataclass(frozen=True)
class Rng:
    """The random draws of one example: `rng("noise").uniform(...)` is the same number wherever and whenever it is asked for.

    `attempt` counts how often the example was drawn again because a source could not be read.
    """

    seed: int
    task: str
    index: int
    attempt: int = 0

    def __call__(self, *purpose: str | int) -> np.random.Generator:
        """A fresh Philox generator for this purpose, e.g. `rng("interferer", 1)`; asking twice gives the same stream."""
        text = repr((self.seed, self.task, self.index, self.attempt, *purpose))
        return np.random.Generator(np.random.Philox(_Key(hashlib.blake2b(text.encode(), digest_size=16).digest())))


class _Key(ISeedSequence):
    """Sixteen bytes as Philox's key; given as `key=`, numpy would ask the operating system for entropy, too, and drop it."""

    def __init__(self, digest: bytes):
        self.digest = digest

    def generate_state(self, n_words: int, dtype: type = np.uint32) -> np.ndarray:
        assert (n_words, dtype) == (2, np.uint64), (n_words, dtype)
        return np.frombuffer(self.digest, "<u8")


def uniform(generator: np.random.Generator, bounds: tuple[float, float], digits: int = 4) -> float:
    """A float in `bounds`, rounded to `digits` decimals so that a scene reads well and is stored exactly."""
    low, high = bounds
    return round(low + (high - low) * float(generator.random()), digits)


def chance(generator: np.random.Generator, probability: float) -> bool:
    """True with the given probability."""
    return float(generator.random()) < probability


def integer(generator: np.random.Generator, bounds: tuple[int, int]) -> int:
    """An integer with low <= value <= high."""
    return int(generator.integers(bounds[0], bounds[1] + 1))


def seed_of(generator: np.random.Generator) -> int:
    """A seed to store in a scene for whatever `render` has to synthesise (a reverberant tail, wind)."""
    return int(generator.integers(0, 2**53))


def stored_noise(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """White noise of unit variance that a scene names by `seed`: uniform float32, the same bits on every machine.

    Made from integers: the normal distribution's rejection tables go through log and exp, which differ by CPU.
    """
    generator = np.random.Generator(np.random.Philox(key=seed))
    bits = generator.integers(-(2**15), 2**15, size=shape, dtype=np.int16)
    return (bits.astype(np.float32) + np.float32(0.5)) * np.float32(3**0.5 / 2**15)
