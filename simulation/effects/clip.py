"""Clipping: amplitudes limited at quantiles of the signal itself, as the published recipe does."""

from dataclasses import dataclass

import msgspec
import numpy as np

from simulation.seeds import Rng, uniform

_AUDIBLE = np.float32(2**-16)


@dataclass(frozen=True)
class ClipRange:
    """What may be drawn: the quantiles below and above which samples are flattened (UniSE, arXiv 2510.20441)."""

    probability: float = 0.3
    low: tuple[float, float] = (0.0, 0.1)
    high: tuple[float, float] = (0.9, 1.0)

    def draw(self, rng: Rng) -> "Clip":
        return Clip(low=uniform(rng("clip", "low"), self.low), high=uniform(rng("clip", "high"), self.high))


class Clip(msgspec.Struct, frozen=True, tag="clip"):
    """Samples below the `low` quantile or above the `high` one are set to it: `(channels, samples)` in and out.

    The quantiles are those of the samples that sound, half a 16-bit step or more: of a short voice in silence most do not,
    and quantiles of all of them would flatten the voice to nothing. Channels share the limits.
    """

    low: float
    high: float

    def __call__(self, audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
        sounding = audio[np.abs(audio) >= _AUDIBLE]
        if not sounding.size:
            return audio.copy()
        ranks = [min(int(share * sounding.size), sounding.size - 1) for share in (self.low, self.high)]
        low, high = (np.partition(sounding, rank)[rank] for rank in ranks)  # one by one: numpy is 6 times as fast
        return np.clip(audio, low, high)

    def requested(self) -> dict[str, float]:
        """The share of the sounding samples that is to be flattened."""
        return {"clipped_share": self.low + 1 - self.high}

    def measure(self, before: np.ndarray, after: np.ndarray, sample_rate_hz: int) -> dict[str, float]:
        """The share of the sounding samples that is flattened; nothing for silence.

        Samples that had the limit's own value already may be counted or not (coarsely quantised pauses have thousands
        of them): of the shares between the two countings, the one nearest to the request.
        """
        sounding = np.abs(before) >= _AUDIBLE
        num_sounding = np.count_nonzero(sounding)
        if not num_sounding:
            return {}
        at_limit = np.count_nonzero(((after == after.min()) | (after == after.max())) & sounding)
        changed = np.count_nonzero((before != after) & sounding)
        share = max(changed, min(at_limit, self.requested()["clipped_share"] * num_sounding))
        return {"clipped_share": float(share / num_sounding)}
