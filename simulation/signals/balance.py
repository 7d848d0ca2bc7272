"""Parts of a mixture brought to their levels and stored as int16 under one gain: what was asked for is what is found."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simulation.example import Clip, SourceError
from simulation.signals.levels import PEAK_LIMIT, db, from_int16, round_gain, to_int16
from simulation.signals.mixing import LOWER_DB, TRIES, Activity, activity, just_missed, peak, total


@dataclass(frozen=True)
class Part:
    """A signal, float32 `(1, samples)`, the clip that it comes from, and the active level in dBFS that it is to have."""

    audio: np.ndarray
    clip: Clip
    level_db: float


@dataclass(frozen=True)
class Balanced:
    """Parts as int16 `(1, samples)` under one gain, what went along with the first of them, and where each is active."""

    parts: dict[str, np.ndarray]
    along: list[np.ndarray]
    found: dict[str, Activity]

    def ratio_db(self, one: str, other: str) -> float:
        """Active level of one part over that of another."""
        below = self.found[other].power
        return db(self.found[one].power / below) if below else 200.0


def balanced(parts: Mapping[str, Part], sample_rate_hz: int, along: Sequence[np.ndarray] = ()) -> Balanced:
    """The parts at their levels, all of them lower where one or their sum would clip; `along` has the gain of the first.

    SourceError for a part without an active frame.
    """
    powers = {name: _power(part, sample_rate_hz) for name, part in parts.items()}
    levels_db = {name: part.level_db for name, part in parts.items()}
    first, aims_db = next(iter(parts)), levels_db
    signals = [*(part.audio for part in parts.values()), *along]
    peaks = [peak(audio) for audio in signals]
    for _ in range(TRIES):
        gains = [round_gain(10 ** (aims_db[name] / 20) / math.sqrt(power)) for name, power in powers.items()]
        stored = _stored(signals, gains + gains[:1] * len(along), peaks, len(parts))
        found = {name: activity(from_int16(audio), sample_rate_hz) for name, audio in zip(parts, stored)}
        balance = Balanced(dict(zip(parts, stored)), stored[len(parts) :], found)
        misses = {name: levels_db[first] - levels_db[name] - balance.ratio_db(first, name) for name in parts}
        if not just_missed(list(misses.values())):
            break
        aims_db = {name: aims_db[name] - misses[name] - LOWER_DB for name in parts}
    return balance


def _power(part: Part, sample_rate_hz: int) -> float:
    found = activity(part.audio, sample_rate_hz).power
    if not found:
        detail = f"no active frame in {part.clip.num_frames} from {part.clip.start_frame} on"
        raise SourceError(part.clip.id, part.clip.path, "silent", detail)
    return found


def _stored(signals: list[np.ndarray], gains: list[float], peaks: list[float], num_parts: int) -> list[np.ndarray]:
    """The signals under their gains as int16, lower together where one of them or the sum of the parts would clip."""
    heights = [gain * height for gain, height in zip(gains, peaks)]
    highest = max(heights)
    if sum(heights[:num_parts]) > PEAK_LIMIT:
        scaled = [audio * np.float32(gain) for audio, gain in zip(signals[:num_parts], gains)]
        highest = max(highest, peak(total(scaled)))
    limit = PEAK_LIMIT / highest * (1 - 1e-6) if highest > PEAK_LIMIT else 1.0
    return [to_int16(audio * np.float32(round_gain(gain * limit))) for audio, gain in zip(signals, gains)]
