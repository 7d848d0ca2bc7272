"""Coarse quantisation: a converter with few bits and no dither."""

from dataclasses import dataclass

import msgspec
import numpy as np

from simulation.effects.distortion import scale_free_ratio_db
from simulation.seeds import Rng, integer
from simulation.signals.levels import round_gain


@dataclass(frozen=True)
class BitCrushRange:
    """What may be drawn: the bits of a converter that the signal just drives to full scale."""

    probability: float = 0.02
    num_bits: tuple[int, int] = (5, 10)

    def draw(self, rng: Rng) -> "BitCrush":
        return BitCrush(num_bits=integer(rng("bit_crush", "bits"), self.num_bits))


class BitCrush(msgspec.Struct, frozen=True, tag="bit_crush"):
    """Samples rounded to `num_bits` below the peak (audiomentations.BitCrush): `(channels, samples)` in and out."""

    num_bits: int

    def __call__(self, audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
        from audiomentations import BitCrush as Transform  # 0.6 s to import

        peak = float(np.abs(audio).max(initial=0.0))
        if not peak:
            return audio.copy()
        transform = Transform(p=1.0)
        transform.parameters = {"should_apply": True, "bit_depth": self.num_bits}
        transform.freeze_parameters()  # unfrozen, it would draw from the global random state
        scale = np.float32(round_gain(peak))
        return transform(audio / scale, sample_rate_hz).astype(np.float32) * scale

    def requested(self) -> dict[str, float]:
        return {}

    def measure(self, before: np.ndarray, after: np.ndarray, sample_rate_hz: int) -> dict[str, float]:
        """Signal over quantisation noise, `quantisation_snr_db`; nothing for silence."""
        found = scale_free_ratio_db(after, before)
        return {} if found is None else {"quantisation_snr_db": found}
