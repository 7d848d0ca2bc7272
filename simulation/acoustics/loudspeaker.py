"""A small loudspeaker and its amplifier: the band that it radiates, and how it distorts when it is driven hard.

Exact operations and scipy's recursive filters only: a scene sounds the same on every machine.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import msgspec
import numpy as np
import scipy.signal

from simulation.effects.distortion import saturated
from simulation.seeds import Rng, chance, integer, uniform
from simulation.signals.levels import amplitude, round_gain

Curve = Literal["soft", "hard", "sigmoid"]
KEEP_NORMAL = np.float32(1e-20)  # keeps a filter's memory of silence off subnormal numbers, which are slow


@dataclass(frozen=True)
class LoudspeakerRange:
    """What may be drawn; all ranges are ours, from headphones' cleanliness to a telephone at full volume."""

    linear_probability: float = 0.2
    curves: tuple[Curve, ...] = ("soft", "hard", "sigmoid")
    drive_db: tuple[float, float] = (-27.0, -3.0)
    """Active level over the limit of the amplifier."""
    asymmetry: tuple[float, float] = (0.0, 0.4)
    """How unlike the two polarities are treated (even harmonics)."""
    memory_probability: float = 0.5
    stroke: tuple[float, float] = (0.05, 0.4)
    """How far the cone travels at the active level, over the travel at which its motor has lost half its force."""
    low_hz: tuple[float, float] = (80.0, 400.0)
    """Resonance, below which a small box radiates 12 dB less each octave."""
    high_hz: tuple[float, float] = (4000.0, 16000.0)
    q: tuple[float, float] = (0.5, 1.2)

    def __post_init__(self) -> None:
        if not self.curves:
            raise ValueError(f"loudspeaker: no curves: give some of {', '.join(get_args(Curve))}, or linear_probability 1")
        if not 0 <= self.linear_probability <= 1 or not 0 <= self.memory_probability <= 1:
            raise ValueError("loudspeaker: linear_probability and memory_probability lie from 0 to 1")
        for name in ("drive_db", "asymmetry", "stroke", "low_hz", "high_hz", "q"):
            low, high = getattr(self, name)
            if not low <= high or (name != "drive_db" and low < 0) or (name in ("low_hz", "high_hz", "q") and not low):
                raise ValueError(f"loudspeaker: {name} is {(low, high)}: give the lower bound first, and none below 0")
        if self.asymmetry[1] > 1:
            raise ValueError(f"loudspeaker: asymmetry is {self.asymmetry}: give 0 to 1")

    def draw(self, rng: Rng) -> "Loudspeaker":
        overdrive = None
        if not chance(rng("loudspeaker", "linear"), self.linear_probability):
            overdrive = Overdrive(
                curve=self.curves[integer(rng("loudspeaker", "curve"), (0, len(self.curves) - 1))],
                drive_db=uniform(rng("loudspeaker", "drive"), self.drive_db, digits=2),
                asymmetry=uniform(rng("loudspeaker", "asymmetry"), self.asymmetry, digits=3),
                stroke=uniform(rng("loudspeaker", "stroke"), self.stroke, digits=3)
                if chance(rng("loudspeaker", "memory"), self.memory_probability)
                else 0.0,
            )
        low_hz, high_hz = (
            round(low * (high / low) ** uniform(rng("loudspeaker", name), (0.0, 1.0)), 1)
            for name, (low, high) in (("low", self.low_hz), ("high", self.high_hz))
        )
        return Loudspeaker(low_hz, high_hz, uniform(rng("loudspeaker", "q"), self.q, digits=3), overdrive)


class Overdrive(msgspec.Struct, frozen=True, omit_defaults=True):
    """What makes an amplifier with its loudspeaker non-linear; faint signals keep their level, or nearly.

    Without memory: `soft` (tanh-like) and `hard` limits, or the `sigmoid` of Comminiello et al. (IEEE TASLP 21, 2013),
    whose slopes 4 and 0.5 Zhang and Wang (Interspeech 2018) took over: asymmetry 1. With memory, where `stroke` is not 0:
    the motor's force falls with the cone's excursion (Klippel, "Loudspeaker nonlinearities", JAES 54, 2006).
    """

    curve: Curve
    drive_db: float
    asymmetry: float = 0.0
    stroke: float = 0.0

    def curved(self, x: np.ndarray) -> np.ndarray:
        """The curve without memory, limits at about 1."""
        if self.curve == "hard":
            return np.clip(x, np.float32(self.asymmetry - 1), np.float32(1))
        if self.curve == "soft":
            bias = np.float32(self.asymmetry)
            return saturated(x + bias) - saturated(bias)
        x = np.clip(x, np.float32(-1), np.float32(1))
        x = x * (np.float32(1.5) - np.float32(0.3) * x)
        below = np.float32(2 - 1.75 * self.asymmetry)
        return saturated(x * np.where(x > 0, np.float32(2), below)) * np.float32(1 / 3)


class Loudspeaker(msgspec.Struct, frozen=True, omit_defaults=True):
    """A small loudspeaker: its band, from a resonance of this `q` up, and how it distorts, if it does."""

    low_hz: float
    high_hz: float
    q: float
    overdrive: Overdrive | None = None

    def driven(self, audio: np.ndarray, active: float, sample_rate_hz: int) -> np.ndarray:
        """What the cone does with float32 `(1, samples)`; `active` is the power that the drive is stated for."""
        if self.overdrive is None or not active:
            return audio
        drive = round_gain(amplitude(self.overdrive.drive_db) / math.sqrt(active))
        out = self.overdrive.curved(audio * np.float32(drive))
        if self.overdrive.stroke:
            low = np.array([_low_pass(self.low_hz, self.q, sample_rate_hz)], np.float32)
            travel = scipy.signal.sosfilt(low, audio + KEEP_NORMAL)
            travel *= np.float32(round_gain(self.overdrive.stroke / math.sqrt(active)))
            travel += np.float32(self.overdrive.asymmetry * self.overdrive.stroke)
            travel *= travel
            travel += np.float32(1)
            out /= travel
        out *= np.float32(round_gain(1 / drive))
        return out

    def through(self, response: np.ndarray, sample_rate_hz: int) -> np.ndarray:
        """A room's response `(taps,)` to this loudspeaker, float32, 20 ms longer."""
        sections = [_high_pass(self.low_hz, self.q, sample_rate_hz)]
        if self.high_hz < 0.45 * sample_rate_hz:
            sections.append(_low_pass(self.high_hz, math.sqrt(0.5), sample_rate_hz))
        longer = np.append(response, np.zeros(sample_rate_hz // 50, np.float32))
        return scipy.signal.sosfilt(np.array(sections), longer.astype(np.float64)).astype(np.float32)


def _low_pass(corner_hz: float, q: float, sample_rate_hz: int) -> list[float]:
    """A second-order section by the bilinear transform (Bristow-Johnson's cookbook), rounded to what every libm agrees on."""
    return _section(corner_hz, q, sample_rate_hz, (1, 2, 1), -1)


def _high_pass(corner_hz: float, q: float, sample_rate_hz: int) -> list[float]:
    return _section(corner_hz, q, sample_rate_hz, (1, -2, 1), 1)


def _section(corner_hz: float, q: float, sample_rate_hz: int, zeros: tuple[int, int, int], sign: int) -> list[float]:
    cosine = math.cos(2 * math.pi * corner_hz / sample_rate_hz)
    alpha = math.sin(2 * math.pi * corner_hz / sample_rate_hz) / (2 * q)
    scale = (1 + sign * cosine) / 2
    values = [scale * zero for zero in zeros] + [1 + alpha, -2 * cosine, 1 - alpha]
    return [float(f"{value / (1 + alpha):.12e}") for value in values]
