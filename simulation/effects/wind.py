"""Wind at the microphone: turbulence below a few hundred hertz that comes and goes in gusts."""

import math
from dataclasses import dataclass

import msgspec
import numpy as np
import scipy.signal

from simulation.seeds import Rng, chance, seed_of, stored_noise, uniform
from simulation.signals.levels import gain_for_ratio, ratio_db, round_gain

RUMBLE_CUT_HZ = 10.0  # below this no microphone answers
HISS_HZ = 800.0
HISS_SHARE = 0.01  # of the rumble, both at 0 Hz; it takes over at ten times the corner, in gusts


@dataclass(frozen=True)
class WindRange:
    """What may be drawn, all of it ours. The spectrum falls by 12 dB an octave above `corner_hz`."""

    probability: float = 0.05
    snr_db: tuple[float, float] = (-5.0, 20.0)
    """Signal over wind, active levels."""
    corner_hz: tuple[float, float] = (30.0, 150.0)
    gust_s: tuple[float, float] = (0.15, 1.0)
    """Mean time from one turn of the wind to the next."""
    lull_db: tuple[float, float] = (6.0, 30.0)
    """How far the wind may fall between gusts."""
    overload_probability: float = 0.2
    headroom_db: tuple[float, float] = (0.0, 6.0)
    """Where the microphone overloads: its limit over the peak of the signal without wind."""

    def draw(self, rng: Rng) -> "Wind":
        overload = chance(rng("wind", "overload"), self.overload_probability)
        return Wind(
            snr_db=uniform(rng("wind", "snr"), self.snr_db, digits=2),
            corner_hz=uniform(rng("wind", "corner"), self.corner_hz, digits=1),
            gust_s=uniform(rng("wind", "gusts"), self.gust_s, digits=3),
            lull_db=uniform(rng("wind", "lulls"), self.lull_db, digits=1),
            seed=seed_of(rng("wind", "seed")),
            headroom_db=uniform(rng("wind", "headroom"), self.headroom_db, digits=2) if overload else None,
        )


class Wind(msgspec.Struct, frozen=True, tag="wind", omit_defaults=True):
    """Wind noise added at an SNR on active level: `(channels, samples)` in and out; the signal itself keeps its level.

    Each microphone has turbulence of its own, all share the gusts. With `headroom_db`, sums beyond that much over the
    signal's own peak are cut off: only the wind can overload the microphone, not the signal alone.
    """

    snr_db: float
    corner_hz: float
    gust_s: float
    lull_db: float
    seed: int
    headroom_db: float | None = None

    def __call__(self, audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
        mixed = audio + self.stem(audio, sample_rate_hz)
        if self.headroom_db is None:
            return mixed
        limit = np.float32(round_gain(float(np.abs(audio).max(initial=0.0)) * 10 ** (self.headroom_db / 20)))
        return np.clip(mixed, -limit, limit)

    def stem(self, audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
        """The wind that is added to `audio`, at its level: what a task counts as noise. Zeros for silence."""
        noise = self.wind(audio.shape[1], sample_rate_hz, len(audio))
        return noise * np.float32(gain_for_ratio(audio, noise, self.snr_db, sample_rate_hz))

    def wind(self, num_samples: int, sample_rate_hz: int, num_channels: int = 1) -> np.ndarray:
        """The wind alone at a level of its own: float32 `(num_channels, num_samples)`."""
        white = stored_noise(self.seed, (num_channels, num_samples))
        rumble = scipy.signal.sosfilt(_rumble(self.corner_hz, sample_rate_hz), white)
        hiss = scipy.signal.sosfilt(_one_pole(HISS_HZ, sample_rate_hz), white) * HISS_SHARE
        gusts = self._gusts(num_samples, sample_rate_hz)
        return ((rumble + hiss * gusts) * gusts).astype(np.float32)

    def _gusts(self, num_samples: int, sample_rate_hz: int) -> np.ndarray:
        """The envelope `(num_samples,)` in (0, 1]: straight lines between turning points drawn from the seed."""
        num_turns = math.ceil(num_samples / sample_rate_hz / self.gust_s) + 2
        turns = stored_noise(self.seed + 1, (2, num_turns)) / math.sqrt(3)  # (-1, 1)
        levels = [round_gain(10 ** (-self.lull_db * (0.5 + 0.5 * float(turn)) / 20)) for turn in turns[0]]
        times = (np.arange(num_turns) + 0.4 * turns[1].astype(np.float64)) * self.gust_s * sample_rate_hz
        return np.interp(np.arange(num_samples, dtype=np.float64), times, levels)

    def requested(self) -> dict[str, float]:
        return {"wind_snr_db": self.snr_db}

    def measure(self, before: np.ndarray, after: np.ndarray, sample_rate_hz: int) -> dict[str, float]:
        """Signal over wind on active levels; nothing for silence."""
        if not before.any():
            return {}
        added = after - before if self.headroom_db is None else self.stem(before, sample_rate_hz)
        return {"wind_snr_db": ratio_db(before, added, sample_rate_hz)}


def _pole(frequency_hz: float, sample_rate_hz: int) -> float:
    """Of a one-pole filter; by division, not exp, which is exact everywhere."""
    return 1 / (1 + 2 * 3.141592653589793 * frequency_hz / sample_rate_hz)


def _one_pole(frequency_hz: float, sample_rate_hz: int) -> np.ndarray:
    """Low-pass of 6 dB an octave with unit gain at 0 Hz: `(1, 6)` second-order section."""
    pole = _pole(frequency_hz, sample_rate_hz)
    return np.array([[1 - pole, 0, 0, 1, -pole, 0]])


def _rumble(corner_hz: float, sample_rate_hz: int) -> np.ndarray:
    """Low-pass of 12 dB an octave, and the microphone's own lower limit: `(2, 6)` second-order sections."""
    low, cut = _pole(corner_hz, sample_rate_hz), _pole(RUMBLE_CUT_HZ, sample_rate_hz)
    return np.array([[(1 - low) ** 2, 0, 0, 1, -2 * low, low * low], [cut, -cut, 0, 1, -cut, 0]])
