"""Parts of a mixture brought to their levels and stored as int16 under one gain: what was asked for is what is found."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simulation.levels import db, from_int16, joint_gain, round_gain, to_int16
from simulation.mixing import LOWER_DB, TRIES, Activity, activity, just_missed, total


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


def balanced(
    parts: Mapping[str, np.ndarray], levels_db: Mapping[str, float], sample_rate_hz: int, along: Sequence[np.ndarray] = ()
) -> Balanced:
    """Each part, float32 `(1, samples)`, at its active level in dBFS; all of them lower where one or their sum would clip.

    `along` are signals with the gain of the first part. No part may be silent.
    """
    powers = {name: activity(audio, sample_rate_hz).power for name, audio in parts.items()}
    assert all(powers.values()), f"silent: {powers}"
    first, aims_db = next(iter(parts)), dict(levels_db)
    for _ in range(TRIES):
        gains = {name: np.float32(round_gain(10 ** (aims_db[name] / 20) / math.sqrt(powers[name]))) for name in parts}
        scaled = [audio * gains[name] for name, audio in parts.items()]
        beside = [audio * gains[first] for audio in along]
        stored = _stored(scaled, beside)
        found = {name: activity(from_int16(audio), sample_rate_hz) for name, audio in zip(parts, stored)}
        balance = Balanced(dict(zip(parts, stored)), stored[len(parts) :], found)
        misses = {name: levels_db[first] - levels_db[name] - balance.ratio_db(first, name) for name in parts}
        if not just_missed(list(misses.values())):
            break
        aims_db = {name: aims_db[name] - misses[name] - LOWER_DB for name in parts}
    return balance


def _stored(parts: list[np.ndarray], beside: list[np.ndarray]) -> list[np.ndarray]:
    """All of them as int16 under one gain that limits each and the sum of the parts."""
    gain = joint_gain([*parts, *beside, *([total(parts)] if len(parts) > 1 else [])])
    return [to_int16(audio if gain == 1 else audio * np.float32(gain)) for audio in (*parts, *beside)]
