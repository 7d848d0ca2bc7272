"""Aliasing: a change of sample rate by linear interpolation, with no filter at all."""

from dataclasses import dataclass

import msgspec
import numpy as np

from simulation.effects.distortion import scale_free_ratio_db
from simulation.seeds import Rng, integer


@dataclass(frozen=True)
class AliasingRange:
    """What may be drawn: the lower sample rate as a share of the task's, in percent."""

    probability: float = 0.02
    rate_percent: tuple[int, int] = (30, 90)

    def draw(self, rng: Rng, sample_rate_hz: int) -> "Aliasing":
        percent = integer(rng("aliasing", "rate"), self.rate_percent)
        return Aliasing(sample_rate_hz=sample_rate_hz * percent // 100)


class Aliasing(msgspec.Struct, frozen=True, tag="aliasing"):
    """To `sample_rate_hz` and back by linear interpolation (audiomentations.Aliasing): `(channels, samples)` in and out."""

    sample_rate_hz: int

    def __call__(self, audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
        from audiomentations import Aliasing as Transform  # 0.6 s to import

        if round(audio.shape[1] * self.sample_rate_hz / sample_rate_hz) < 1:
            return audio.copy()
        transform = Transform(p=1.0)
        transform.parameters = {"should_apply": True, "new_sample_rate": self.sample_rate_hz}
        transform.freeze_parameters()  # unfrozen, it would draw from the global random state
        return transform(audio, sample_rate_hz)

    def requested(self) -> dict[str, float]:
        return {}

    def measure(self, before: np.ndarray, after: np.ndarray, sample_rate_hz: int) -> dict[str, float]:
        """What is left of the signal over what was folded or dulled, `aliasing_sdr_db`; nothing for silence."""
        found = scale_free_ratio_db(after, before)
        return {} if found is None else {"aliasing_sdr_db": found}
