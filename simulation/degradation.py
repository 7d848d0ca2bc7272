"""The damaged channel: which effects happen to a signal, in which order, and what they did to it."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial

import numpy as np

from simulation.effects.aliasing import Aliasing, AliasingRange
from simulation.effects.band_limit import BandLimit, BandLimitRange
from simulation.effects.bit_crush import BitCrush, BitCrushRange
from simulation.effects.clip import Clip, ClipRange
from simulation.effects.codec import Codec, CodecRange
from simulation.effects.distortion import Distortion, DistortionRange
from simulation.effects.equaliser import Equaliser, EqualiserRange
from simulation.effects.gain import Gain, GainRange
from simulation.effects.packet_loss import PacketLoss, PacketLossRange
from simulation.effects.wind import Wind, WindRange
from simulation.seeds import Rng, chance

Effect = Aliasing | BandLimit | BitCrush | Clip | Codec | Distortion | Equaliser | Gain | PacketLoss | Wind
"""What a scene holds; msgspec tells the kinds apart by their tags."""

ACOUSTIC = ("wind",)  # reaches the microphone with the sound; all others happen to its signal


@dataclass(frozen=True)
class Labels:
    """What the effects were asked for and what is found; what cannot be measured (in silence, say) is not requested."""

    requested: dict[str, float] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Degradations:
    """What may happen to a signal. The first three are the published recipe (UniSE, arXiv 2510.20441), the others are ours."""

    band_limit: BandLimitRange = field(default_factory=BandLimitRange)
    clip: ClipRange = field(default_factory=ClipRange)
    packet_loss: PacketLossRange = field(default_factory=PacketLossRange)
    aliasing: AliasingRange = field(default_factory=AliasingRange)
    bit_crush: BitCrushRange = field(default_factory=BitCrushRange)
    codec: CodecRange = field(default_factory=CodecRange)
    distortion: DistortionRange = field(default_factory=DistortionRange)
    equaliser: EqualiserRange = field(default_factory=EqualiserRange)
    gain: GainRange = field(default_factory=GainRange)
    wind: WindRange = field(default_factory=WindRange)

    def __post_init__(self):
        for name in self.names():
            probability = getattr(self, name).probability
            if not 0 <= probability <= 1:
                raise ValueError(f"{name}.probability is {probability}: 0 to 1 is allowed")

    def names(self) -> list[str]:
        """The kinds of effects, as they are named here."""
        return [entry.name for entry in fields(self)]

    def draw(self, rng: Rng, sample_rate_hz: int, num_samples: int) -> tuple[Effect, ...]:
        """The effects that happen, each kind at most once, in random order; another kind shifts no other's draws."""
        drawn = self._draws(rng, sample_rate_hz, num_samples)
        happening = [name for name in self.names() if chance(rng(name, "happens"), getattr(self, name).probability)]
        happening.sort(key=lambda name: (name not in ACOUSTIC, float(rng(name, "place").random())))
        effects = (drawn[name]() for name in happening)
        return tuple(effect for effect in effects if effect is not None)

    def _draws(self, rng: Rng, sample_rate_hz: int, num_samples: int) -> dict[str, Callable[[], Effect | None]]:
        """How each kind is drawn: with no more than it needs to know of the signal."""
        return {name: partial(getattr(self, name).draw, rng) for name in self.names()} | {
            "aliasing": partial(self.aliasing.draw, rng, sample_rate_hz),
            "band_limit": partial(self.band_limit.draw, rng, sample_rate_hz),
            "codec": partial(self.codec.draw, rng, sample_rate_hz),
            "packet_loss": partial(self.packet_loss.draw, rng, sample_rate_hz, num_samples),
        }


PUBLISHED = Degradations(
    band_limit=BandLimitRange(sample_rates_hz=(4000, 8000, 16000), filters=("soxr_hq",)),
    packet_loss=PacketLossRange(fills=("zeros",)),
    aliasing=AliasingRange(probability=0.0),
    bit_crush=BitCrushRange(probability=0.0),
    codec=CodecRange(probability=0.0),
    distortion=DistortionRange(probability=0.0),
    equaliser=EqualiserRange(probability=0.0),
    gain=GainRange(probability=0.0),
    wind=WindRange(probability=0.0),
)
"""Band limit, clipping and packet loss, each with probability 0.3, as UniSE has them."""


def apply(effects: tuple[Effect, ...], audio: np.ndarray, sample_rate_hz: int) -> tuple[np.ndarray, Labels]:
    """The effects one after the other on float32 `(channels, samples)`: as long, no later, and what each of them did."""
    labels = Labels()
    for effect in effects:
        before, audio = audio, effect(audio, sample_rate_hz)
        measured, requested = effect.measure(before, audio, sample_rate_hz), effect.requested()
        labels.measured.update(measured)
        labels.requested.update({name: value for name, value in requested.items() if name in measured})
    return audio, labels
