"""Level: gain, DC offset and polarity of a careless recording chain."""

from dataclasses import dataclass

import msgspec
import numpy as np

from simulation.seeds import Rng, chance, uniform
from simulation.signals.levels import amplitude, db


@dataclass(frozen=True)
class GainRange:
    """What may be drawn. Polarity stays by default: nobody hears it, yet a waveform loss would punish a model for it."""

    probability: float = 0.1
    gain_db: tuple[float, float] = (-20.0, 6.0)
    dc_offset: tuple[float, float] = (-0.01, 0.01)
    """In full scale."""
    inverted_probability: float = 0.0

    def draw(self, rng: Rng) -> "Gain":
        return Gain(
            gain_db=uniform(rng("gain", "gain"), self.gain_db, digits=2),
            dc_offset=uniform(rng("gain", "dc"), self.dc_offset),
            inverted=chance(rng("gain", "polarity"), self.inverted_probability),
        )


class Gain(msgspec.Struct, frozen=True, tag="gain"):
    """The signal times a gain (negative where `inverted`) plus a constant: `(channels, samples)` in and out."""

    gain_db: float
    dc_offset: float = 0.0
    inverted: bool = False

    def __call__(self, audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
        factor = amplitude(self.gain_db) * (-1 if self.inverted else 1)
        return audio * np.float32(factor) + np.float32(self.dc_offset)

    def requested(self) -> dict[str, float]:
        return {"gain_db": self.gain_db, "dc_offset": self.dc_offset}

    def measure(self, before: np.ndarray, after: np.ndarray, sample_rate_hz: int) -> dict[str, float]:
        """The line through the samples, after over before: slope and intercept; nothing for silence."""
        means = [float(audio.mean(dtype=np.float64)) for audio in (before, after)]
        variances = [float(audio.var(dtype=np.float64)) for audio in (before, after)]
        if not variances[0]:
            return {}
        slope = (variances[1] / variances[0]) ** 0.5 * (-1 if self.inverted else 1)
        return {"gain_db": db(variances[1] / variances[0]), "dc_offset": means[1] - slope * means[0]}
