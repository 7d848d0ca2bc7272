"""Clipping: amplitudes limited at quantiles of the signal itself, as the published recipe does."""

from dataclasses import dataclass

import msgspec
import numpy as np

from simulation.seeds import Rng, uniform


@dataclass(frozen=True)
class ClipRange:
    """What may be drawn: the quantiles below and above which samples are flattened (UniSE, arXiv 2510.20441)."""

    low: tuple[float, float] = (0.0, 0.1)
    high: tuple[float, float] = (0.9, 1.0)

    def draw(self, rng: Rng) -> "Clip":
        return Clip(low=uniform(rng("clip", "low"), self.low), high=uniform(rng("clip", "high"), self.high))


class Clip(msgspec.Struct, frozen=True, tag="clip"):
    """Samples below the `low` quantile or above the `high` one are set to it: `(channels, samples)` in and out."""

    low: float
    high: float

    def __call__(self, audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
        flat = audio.reshape(-1)
        ranks = [min(int(share * flat.size), flat.size - 1) for share in (self.low, self.high)]
        parted = np.partition(flat, ranks)  # a whole sort costs four times as much
        return np.clip(audio, parted[ranks[0]], parted[ranks[1]])
