"""Several voices in one room with noise: what target-speaker extraction, its reverse and separation have in common.

The level of every voice is that at the microphone, reverberation included, so that ratios are those of the stored stems.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import msgspec
import numpy as np

from simulation.acoustics.reverberation import Reverberated, TargetKind, reverberate
from simulation.acoustics.rooms import AnyRoom, MeasuredRoom, RoomRange
from simulation.bank import Bank
from simulation.degradation import Degradations, Effect, apply
from simulation.example import Clip, Load, SourceError
from simulation.seeds import Rng, chance, uniform
from simulation.signals.alignment import delay_samples
from simulation.signals.levels import PEAK_LIMIT, amplitude, db, from_int16, joint_gain, round_gain, to_int16
from simulation.signals.mixing import LOWER_DB, TRIES, Activity, activity, just_missed, peak, summed, tiled, total
from simulation.talkers.overlap import extent, overlap_share

RARELY = 0.1  # of the probability that a channel's damage has in speech restoration


def rarely() -> Degradations:
    """A channel that is mostly sound: who speaks is the question here, restoration has a task of its own."""
    usual = Degradations()
    ranges = {entry.name: getattr(usual, entry.name) for entry in fields(usual)}
    return Degradations(
        **{name: replace(effect, probability=round(effect.probability * RARELY, 4)) for name, effect in ranges.items()}
    )


@dataclass(frozen=True)
class MixRange:
    """What may happen around the voices. Ranges are the published ones (UniSE, arXiv 2510.20441) unless it says ours."""

    duration_s: float = 5.0
    sir_db: tuple[float, float] = (-5.0, 5.0)
    """The first voice over each of the others, active levels."""
    reverberation_probability: float = 0.3
    noise_probability: float = 0.8
    snr_db: tuple[float, float] = (-5.0, 20.0)
    """Everything said, reverberation included, over noise, active levels."""
    level_db: tuple[float, float] = (-36.0, -16.0)
    """Active level of the first voice in dBFS, before the joint peak limit; ours."""
    target: TargetKind = "early"
    rooms: RoomRange = field(default_factory=RoomRange)
    degradations: Degradations = field(default_factory=rarely)

    def __post_init__(self) -> None:
        if not self.duration_s > 0:
            raise ValueError(f"duration_s is {self.duration_s}: give more than 0")
        for name, value in vars(self).items():
            if name.endswith("_probability") and not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}: give 0 to 1")
            if isinstance(value, tuple) and not value[0] <= value[1]:
                raise ValueError(f"{name} is {value}: give the lower bound first")

    def draw_mix(self, bank: Bank, rng: Rng, num_voices: int) -> "Mix":
        """What is around so many voices: room, noise, levels and the channel."""
        rate, num_samples = bank.sample_rate_hz, round(self.duration_s * bank.sample_rate_hz)
        noise = None
        if chance(rng("noise", "happens"), self.noise_probability):
            bank.require("noise", f"{rng.task} with noise")
            noise = bank.draw(rng("noise"), "noise", self.duration_s)
        room = self.draw_room(bank, rng, num_voices) if chance(rng("room", "happens"), self.reverberation_probability) else None
        return Mix(
            sample_rate_hz=rate,
            num_samples=num_samples,
            level_db=uniform(rng("level"), self.level_db, digits=2),
            sir_db=tuple(uniform(rng("sir", voice), self.sir_db, digits=2) for voice in range(1, num_voices)),
            target=self.target if room else "reverberant",
            room=room,
            noise=noise,
            snr_db=uniform(rng("snr"), self.snr_db, digits=2) if noise else 0.0,
            effects=self.degradations.draw(rng, rate, num_samples),
        )

    def draw_room(self, bank: Bank, rng: Rng, num_voices: int) -> AnyRoom:
        """A room in which no two voices share a place; measured ones serve where they have enough responses."""
        room = self.rooms.draw(rng, bank, num_sources=num_voices)
        if isinstance(room, MeasuredRoom) and len({clip.id for clip in room.clips}) < num_voices:
            return replace(self.rooms, measured_share=0.0).draw(rng, bank, num_sources=num_voices)
        return room


@dataclass(frozen=True)
class VoicesRange(MixRange):
    """The same around two or three voices."""

    third_voice_probability: float = 0.2
    """Of three voices where there are two otherwise; ours."""

    def num_voices(self, rng: Rng) -> int:
        return 3 if chance(rng("third voice"), self.third_voice_probability) else 2

    def most_voices(self) -> int:
        return 3 if self.third_voice_probability else 2


def draw_voices(bank: Bank, rng: Rng, count: int, max_duration_s: float, exclude: Sequence[str] = ()) -> tuple[Clip, ...]:
    """One clip each of so many speakers, none of them in `exclude`. A voice of unknown name could be anybody: none comes."""
    clips: list[Clip] = []
    for number in range(count):
        taken = ("", *exclude, *(clip.speaker for clip in clips))
        clips.append(bank.draw(rng("voice", number), "speech", max_duration_s, exclude=taken))
    return tuple(clips)


class Mix(msgspec.Struct, frozen=True, omit_defaults=True):
    """What did happen around the voices."""

    sample_rate_hz: int
    num_samples: int
    level_db: float
    sir_db: tuple[float, ...]
    target: TargetKind
    room: AnyRoom | None = None
    noise: Clip | None = None
    snr_db: float = 0.0
    effects: tuple[Effect, ...] = ()

    def ratios(self) -> dict[str, float]:
        """The labels of the levels asked for: `sir_db`, or `sir1_db`, `sir2_db` of several, and `snr_db`."""
        several = len(self.sir_db) > 1
        sirs = {f"sir{number}_db" if several else "sir_db": value for number, value in enumerate(self.sir_db, 1)}
        return sirs | ({"snr_db": self.snr_db} if self.noise else {})

    def shifted(self, by_db: list[float]) -> "Mix":
        """The same, a little lower, with its ratios changed by so much, in their order."""
        changed = [value + change for value, change in zip(self.ratios().values(), by_db, strict=True)]
        sir_db, snr_db = tuple(changed[: len(self.sir_db)]), sum(changed[len(self.sir_db) :])
        return msgspec.structs.replace(self, level_db=self.level_db - LOWER_DB, sir_db=sir_db, snr_db=snr_db)


@dataclass(frozen=True)
class Mixture:
    """What the microphone gets and what it is made of, int16 `(1, samples)` under one gain.

    Without effects `input` is the sum of voices and noise to the last bit. `targets` are the parts of the voices to be
    extracted, the same arrays where they are wanted `whole`, with all of the room.
    """

    input: np.ndarray
    voices: list[np.ndarray]
    targets: list[np.ndarray]
    whole: bool
    noise: np.ndarray | None
    requested: dict[str, float]
    measured: dict[str, float]


def mixed(mix: Mix, clips: Sequence[Clip], dry: list[np.ndarray], load: Load) -> Mixture:
    """The clips, on the time line as `dry` float32 `(1, num_samples)`, in their room, at their levels, with noise and channel.

    SourceError for a clip without an active frame.
    """
    spoken = [_audible(clip, activity(audio, mix.sample_rate_hz)) for clip, audio in zip(clips, dry, strict=True)]
    room = reverberate(dry, mix.room, mix.target, load, mix.sample_rate_hz)
    heard = [activity(source.wet, mix.sample_rate_hz) for source in room.sources] if mix.room else spoken
    requested = mix.ratios()
    aim = mix
    for _ in range(TRIES):
        mixture = _mixed(aim, room, heard, load)
        misses = [wanted_db - mixture.measured[name] for name, wanted_db in requested.items()]
        if not just_missed(misses):
            break
        aim = aim.shifted(misses)
    requested |= mixture.requested | room.requested
    measured = mixture.measured | room.measured | {"overlap_share": overlap_share([extent(found.frames) for found in spoken])}
    return replace(mixture, requested=requested, measured=measured)


def _mixed(mix: Mix, room: Reverberated, heard: list[Activity], load: Load) -> Mixture:
    """The voices as heard in the room, brought to their levels, with noise and channel, and what is found in the result."""
    whole = mix.target == "reverberant"
    gains = _gains(mix, heard)
    voices = [source.wet * gain for source, gain in zip(room.sources, gains)]
    targets = voices if whole else [source.target * gain for source, gain in zip(room.sources, gains)]
    said = total(voices)
    noise = _noise(mix, said, load)
    mixture = total([said, *noise])
    damaged, channel = apply(mix.effects, mixture, mix.sample_rate_hz)
    lag = delay_samples(damaged, mixture, mix.sample_rate_hz) if mix.effects else 0
    gain = _common_gain([*voices, *noise], [] if whole else targets, [damaged] if mix.effects else [])
    voices, noise = _stored(voices, gain), _stored(noise, gain)
    targets = voices if whole else _stored(targets, gain)
    measured = dict(zip(mix.ratios(), _ratios_db(voices, noise, mix.sample_rate_hz), strict=True))
    measured |= channel.measured | {"lag_samples": lag}
    final = _stored([damaged], gain)[0] if mix.effects else summed(voices + noise)
    requested = channel.requested | {"lag_samples": 0}
    return Mixture(final, voices, targets, whole, noise[0] if noise else None, requested, measured)


def _audible(clip: Clip, found: Activity) -> Activity:
    if not found.power:
        detail = f"no active frame in {clip.num_frames} from {clip.start_frame} on"
        raise SourceError(clip.id, clip.path, "silent", detail)
    return found


def _gains(mix: Mix, heard: list[Activity]) -> list[np.float32]:
    """The factor on each voice: the first at its level, the others below it by their SIR."""
    powers = [amplitude(mix.level_db) ** 2 * 10 ** (-sir_db / 10) for sir_db in (0.0, *mix.sir_db)]
    return [_gain(found, power) for found, power in zip(heard, powers, strict=True)]


def _gain(found: Activity, power: float) -> np.float32:
    """The factor that brings a signal to this active power; 0 for silence."""
    return np.float32(round_gain(math.sqrt(power / found.power)) if found.power else 0.0)


def _noise(mix: Mix, said: np.ndarray, load: Load) -> list[np.ndarray]:
    """The noise below all that is said by the SNR, if there is any."""
    if mix.noise is None:
        return []
    noise = tiled(load(mix.noise), mix.num_samples, mix.sample_rate_hz)
    power = activity(said, mix.sample_rate_hz).power * 10 ** (-mix.snr_db / 10)
    return [noise * _gain(_audible(mix.noise, activity(noise, mix.sample_rate_hz)), power)]


def _common_gain(parts: list[np.ndarray], targets: list[np.ndarray], damaged: list[np.ndarray]) -> float:
    """One gain that limits each signal and all sums that a task may store: they reach the sum of their peaks at most."""
    limited = damaged
    for group in (parts, targets):
        if sum(map(peak, group)) > PEAK_LIMIT:
            sums = [total(group[first:past]) for first in (0, 1) for past in range(first + 2, len(group) + 1)]
            limited = [*limited, *group, *sums]
    return joint_gain(limited)


def _stored(signals: list[np.ndarray], gain: float) -> list[np.ndarray]:
    """The signals as int16 under this gain."""
    return [to_int16(audio if gain == 1 else audio * np.float32(gain)) for audio in signals]


def _ratios_db(voices: list[np.ndarray], noise: list[np.ndarray], sample_rate_hz: int) -> list[float]:
    """SIRs and SNR as found in what is stored, in the order of Mix.ratios."""
    first, *others = (activity(from_int16(voice), sample_rate_hz).power for voice in voices)
    found = [_ratio_db(first, other) for other in others]
    for background in noise:
        said = activity(from_int16(summed(voices)), sample_rate_hz).power
        found.append(_ratio_db(said, activity(from_int16(background), sample_rate_hz).power))
    return found


def _ratio_db(power: float, other: float) -> float:
    return db(power / other) if other else 200.0
