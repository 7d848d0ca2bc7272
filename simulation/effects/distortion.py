"""Saturation: an overdriven preamplifier or small loudspeaker."""

from dataclasses import dataclass

import msgspec
import numpy as np

from simulation.seeds import Rng, uniform
from simulation.signals.levels import active_power, amplitude, db, power, round_gain

_KNEE = np.float32(3)  # there the curve below has reached 1


@dataclass(frozen=True)
class DistortionRange:
    """What may be drawn: how hard the stage is driven, and how unlike it treats the two polarities (even harmonics)."""

    probability: float = 0.05
    drive_db: tuple[float, float] = (-12.0, 9.0)
    """Active level over the input at which the stage gives three quarters of its limit."""
    bias: tuple[float, float] = (0.0, 0.5)

    def draw(self, rng: Rng) -> "Distortion":
        return Distortion(
            drive_db=uniform(rng("distortion", "drive"), self.drive_db, digits=2),
            bias=uniform(rng("distortion", "bias"), self.bias),
        )


class Distortion(msgspec.Struct, frozen=True, tag="distortion"):
    """Soft saturation at an unchanged level: `(channels, samples)` in and out, channels driven alike.

    The curve is the rational approximation of tanh, x (27 + x^2) / (27 + 9 x^2): audiomentations.TanhDistortion calls
    numpy's tanh, whose last bits depend on the CPU's vector unit, and the same scene must give the same samples.
    """

    drive_db: float
    bias: float = 0.0

    def __call__(self, audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
        active = active_power(audio, sample_rate_hz)
        if not active:
            return audio.copy()
        drive = np.float32(round_gain(amplitude(self.drive_db) / active**0.5))
        bias = np.float32(self.bias)
        driven = saturated(audio * drive + bias) - saturated(bias)
        return driven * np.float32(round_gain((power(audio) / power(driven)) ** 0.5))

    def requested(self) -> dict[str, float]:
        return {}

    def measure(self, before: np.ndarray, after: np.ndarray, sample_rate_hz: int) -> dict[str, float]:
        """The part of `after` that is `before` at some level, over the rest: `distortion_sdr_db`; nothing for silence."""
        sdr = scale_free_ratio_db(after, before)
        return {} if sdr is None else {"distortion_sdr_db": sdr}


def saturated(x: np.ndarray) -> np.ndarray:
    """A curve from -1 to 1 with slope 1 at 0, from exact operations only."""
    x = np.clip(x, -_KNEE, _KNEE)
    square = x * x
    return x * (27 + square) / (27 + 9 * square)


def scale_free_ratio_db(audio: np.ndarray, reference: np.ndarray) -> float | None:
    """Scale-invariant signal-to-distortion ratio (Le Roux et al., "SDR - half-baked or well done?", 2019); None for silence."""
    reference_power, audio_power = power(reference), power(audio)
    if not reference_power or not audio_power:
        return None
    explained = float(np.mean(audio * reference, dtype=np.float64)) ** 2 / reference_power
    return db(explained / max(audio_power - explained, 1e-12 * audio_power))
