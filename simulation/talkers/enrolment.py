"""Enrolment: an utterance that makes a speaker known, recorded elsewhere, perhaps in a room and with noise."""

import math
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from simulation.acoustics.reverberation import reverberate
from simulation.acoustics.rooms import AnyRoom, RoomRange
from simulation.bank import Bank
from simulation.example import Clip, Load, SourceError
from simulation.seeds import Rng, chance, integer, uniform
from simulation.signals.levels import amplitude, db, from_int16, joint_gain, round_gain, to_int16
from simulation.signals.mixing import LOWER_DB, TRIES, activity, just_missed, summed, tiled

DAMAGE = (("noise",), ("room",), ("noise", "room"))


@dataclass(frozen=True)
class EnrolmentRange:
    """What may happen to an enrolment: the published one (UniSE, arXiv 2510.20441) is 5 s and clean, the rest is ours."""

    duration_s: float = 5.0
    """At most; a shorter utterance is not padded."""
    damaged_probability: float = 0.3
    """Of noise, a room, or both, evenly."""
    snr_db: tuple[float, float] = (5.0, 25.0)
    level_db: tuple[float, float] = (-36.0, -16.0)
    """Active level of the voice in dBFS, before the peak limit."""

    def __post_init__(self) -> None:
        if not self.duration_s > 0 or not 0 <= self.damaged_probability <= 1:
            raise ValueError(
                f"enrolment: duration_s is {self.duration_s}, damaged_probability {self.damaged_probability}:"
                " give more than 0, and 0 to 1"
            )
        for name in ("snr_db", "level_db"):
            low, high = getattr(self, name)
            if not low <= high:
                raise ValueError(f"enrolment: {name} is {(low, high)}: give the lower bound first")

    def draw(self, bank: Bank, rng: Rng, row: int, rooms: RoomRange) -> "Enrolment":
        """The utterance of this row of the corpus; noise and room are not those of the mixture."""
        damage: tuple[str, ...] = ()
        if chance(rng("enrolment", "damaged"), self.damaged_probability):
            damage = DAMAGE[integer(rng("enrolment", "damage"), (0, len(DAMAGE) - 1))]
        clip = bank.clip(rng("enrolment"), row, self.duration_s)
        noise = room = None
        if "noise" in damage:
            bank.require("noise", f"{rng.task} with a noisy enrolment")
            noise = bank.draw(rng("enrolment", "noise"), "noise", clip.num_frames / clip.sample_rate_hz)
        if "room" in damage:  # drawn for the same purposes as the mixture's, so from another stream
            room = rooms.draw(replace(rng, task=f"{rng.task} enrolment"), bank, num_sources=1)
        return Enrolment(
            clip=clip,
            level_db=uniform(rng("enrolment", "level"), self.level_db, digits=2),
            room=room,
            noise=noise,
            snr_db=uniform(rng("enrolment", "snr"), self.snr_db, digits=2) if noise else 0.0,
        )


class Enrolment(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was drawn."""

    clip: Clip
    level_db: float
    room: AnyRoom | None = None
    noise: Clip | None = None
    snr_db: float = 0.0


@dataclass(frozen=True)
class Enrolled:
    """The utterance as stored, int16 `(1, samples)`, with labels `enrolment_snr_db`, `enrolment_rt60_s`, `enrolment_drr_db`."""

    audio: np.ndarray
    requested: dict[str, float]
    measured: dict[str, float]


def enrol(enrolment: Enrolment, load: Load, sample_rate_hz: int) -> Enrolled:
    """The enrolment as audio, as long as its clip. SourceError for a clip without an active frame."""
    dry = load(enrolment.clip)
    room = reverberate([dry], enrolment.room, "reverberant", load, sample_rate_hz)
    level = amplitude(enrolment.level_db)
    voice = _at(level, enrolment.clip, room.sources[0].wet, sample_rate_hz)
    requested, measured = dict(room.requested), dict(room.measured)
    if enrolment.noise is None:
        audio = to_int16(voice * np.float32(joint_gain([voice])))
    else:
        noise = tiled(load(enrolment.noise), voice.shape[1], sample_rate_hz)
        noise = _at(level, enrolment.noise, noise, sample_rate_hz)
        audio, measured["snr_db"] = _noisy(voice, noise, enrolment.snr_db, sample_rate_hz)
        requested["snr_db"] = enrolment.snr_db
    requested, measured = ({f"enrolment_{name}": value for name, value in labels.items()} for labels in (requested, measured))
    return Enrolled(audio, requested, measured)


def _at(level: float, clip: Clip, audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """The clip's audio at this active level, a root mean square."""
    power = activity(audio, sample_rate_hz).power
    if not power:
        detail = f"no active frame in {clip.num_frames} from {clip.start_frame} on"
        raise SourceError(clip.id, clip.path, "silent", detail)
    return audio * np.float32(round_gain(level / math.sqrt(power)))


def _noisy(voice: np.ndarray, noise: np.ndarray, snr_db: float, sample_rate_hz: int) -> tuple[np.ndarray, float]:
    """Voice and noise of one level as int16 at this SNR, and the SNR found in it."""
    aim_db = snr_db
    for attempt in range(TRIES):
        below = noise * np.float32(amplitude(-aim_db))
        gain = np.float32(joint_gain([voice, below, voice + below]) * amplitude(-attempt * LOWER_DB))
        parts = [to_int16(part * gain) for part in (voice, below)]
        said, added = (activity(from_int16(part), sample_rate_hz).power for part in parts)
        found_db = db(said / added) if added else 200.0
        if not just_missed([snr_db - found_db]):
            break
        aim_db += snr_db - found_db
    return summed(parts), found_db
