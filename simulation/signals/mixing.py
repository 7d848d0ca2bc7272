"""Laying sources on a time line, adding them up, and measuring what was stored."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from simulation.example import Clip, Load, SourceError
from simulation.signals.levels import (
    ACTIVE_FRAME_S,
    db,
    frame_powers,
    from_int16,
    is_active,
    joint_gain,
    power,
    round_gain,
    to_int16,
)

MIN_ACTIVE_S = 0.1  # a sound with less of it cannot be heard out
SEAM_S = 0.02  # cross-fade where a short background is repeated
# A frame at the edge of being active may be active in float32 and not in int16: with few frames that is over 0.1 dB. Such
# parts are mixed again, aimed past the miss, and a little lower so that their samples round in other ways.
NEAR_DB, FAR_DB = 0.05, 1.0  # a miss of more than a decibel has another cause
TRIES, LOWER_DB = 10, 0.3


class Placed(msgspec.Struct, frozen=True):
    """A clip on the time line of an example, starting at a sample of it."""

    clip: Clip
    at_sample: int = 0

    def audio(self, load: Load, num_samples: int, sample_rate_hz: int) -> np.ndarray:
        """The clip with silence before and after it: `(1, num_samples)` float32."""
        clip = load(self.clip)
        if not self.at_sample and clip.shape[1] >= num_samples:
            return clip[:, :num_samples]
        out = np.zeros((1, num_samples), np.float32)
        length = min(clip.shape[1], num_samples - self.at_sample)
        out[:, self.at_sample : self.at_sample + length] = clip[:, :length]
        return out


def placed(rng: np.random.Generator, clip: Clip, num_samples: int, sample_rate_hz: int) -> Placed:
    """The clip anywhere that it fits; a clip that fills the example starts at 0."""
    room = num_samples - clip.num_samples(sample_rate_hz)
    return Placed(clip, int(rng.integers(room + 1)) if room > 0 else 0)


def tiled(audio: np.ndarray, num_samples: int, sample_rate_hz: int) -> np.ndarray:
    """A background repeated to `(1, num_samples)`, its ends cross-faded at equal power so that no seam clicks."""
    length = audio.shape[1]
    if length >= num_samples:
        return audio[:, :num_samples]
    seam = min(round(SEAM_S * sample_rate_hz), length // 2)
    ramp = ((np.arange(seam, dtype=np.float32) + 0.5) / max(seam, 1))[np.newaxis]
    period = audio[:, : length - seam].copy()
    period[:, :seam] = period[:, :seam] * np.sqrt(ramp) + audio[:, length - seam :] * np.sqrt(1 - ramp)
    repeats = -(-(num_samples - (length - seam)) // period.shape[1])
    whole = np.concatenate([audio[:, : length - seam], *[period] * repeats], axis=1)
    return np.ascontiguousarray(whole[:, :num_samples])


def total(parts: list[np.ndarray]) -> np.ndarray:
    """Sum of signals of one shape, left to right, so that the last bit is the same everywhere."""
    if len(parts) == 1:
        return parts[0].copy()
    mixture = parts[0] + parts[1]
    for part in parts[2:]:
        mixture += part
    return mixture


def peak(audio: np.ndarray) -> float:
    """The largest magnitude, 0 for no samples; without the copy that `np.abs` makes."""
    return max(float(audio.max(initial=0.0)), -float(audio.min(initial=0.0)))


def summed(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Sum of int16 signals as int16, to the last bit. ValueError where it does not fit: limit the peak of the sum before."""
    if len(parts) == 1:
        return parts[0].copy()
    whole = np.add(parts[0], parts[1], dtype=np.int32)
    for part in parts[2:]:
        whole += part
    low, high = int(whole.min(initial=0)), int(whole.max(initial=0))
    if low < -(2**15) or high >= 2**15:
        raise ValueError(f"the sum of {len(parts)} signals reaches {max(-low, high)}: it does not fit 16 bit")
    return whole.astype(np.int16)


def stored(signals: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All signals under one common gain that keeps the largest peak at 0.99, as int16."""
    gain = np.float32(joint_gain(list(signals.values())))
    return {role: to_int16(audio if gain == 1 else audio * gain) for role, audio in signals.items()}


def residual_db(mixture: np.ndarray, stems: list[np.ndarray]) -> float:
    """What is left of an int16 mixture without its int16 stems, in dB of the mixture: at most rounding, if all is well."""
    rest = mixture.astype(np.int32)
    for stem in stems:
        rest -= stem
    if not rest.any():
        return -200.0
    whole = power(from_int16(mixture))
    return db(power(from_int16(rest)) / whole) if whole else -200.0


@dataclass(frozen=True)
class Activity:
    """Where a signal is active, `(frames,)` bool of 20 ms each, and its mean square there: 0 for silence."""

    frames: np.ndarray
    power: float


def activity(audio: np.ndarray, sample_rate_hz: int) -> Activity:
    """What levels.active_frames and levels.active_power say, for one pass over the samples."""
    powers = frame_powers(audio, sample_rate_hz)
    frames = is_active(powers)
    return Activity(frames, float(powers[frames].mean()) if frames.any() else 0.0)


def at_active_level(audio: np.ndarray, clip: Clip, level_db: float, sample_rate_hz: int) -> np.ndarray:
    """`audio`, which was made of the clip, at this active level in dBFS. SourceError if it is as good as silent."""
    found = activity(audio, sample_rate_hz)
    active_s = float(found.frames.sum()) * ACTIVE_FRAME_S
    if active_s < MIN_ACTIVE_S:
        detail = f"{active_s:.2f} s of sound from frame {clip.start_frame} on, {MIN_ACTIVE_S} s are needed"
        raise SourceError(clip.id, clip.path, "too_short" if active_s else "silent", detail)
    return audio * np.float32(round_gain(10 ** (level_db / 20) / math.sqrt(found.power)))


def just_missed(misses_db: Sequence[float]) -> bool:
    """True if a level came out so that aiming past the miss may bring it nearer."""
    return NEAR_DB < max(map(abs, misses_db), default=0.0) < FAR_DB


def finite(labels: dict[str, float]) -> dict[str, float]:
    """Labels as JSON holds them: Python floats, four decimals. ValueError names the label that is not finite."""
    for name, value in labels.items():
        if not math.isfinite(value):
            raise ValueError(f"label {name} is {value}")
    return {name: round(float(value), 4) for name, value in labels.items()}
