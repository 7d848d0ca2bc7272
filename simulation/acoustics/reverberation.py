"""Dry voices into a room: what the microphone hears of each, and what of it is the target."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from simulation.acoustics.impulse_response import drr_db, measured_rt60_s, onset_index
from simulation.acoustics.rooms import AnyRoom, responses
from simulation.example import Load
from simulation.signals.convolution import convolve

TargetKind = Literal["early", "direct", "reverberant"]
"""Direct path + 50 ms of early reflections (they help a listener), the direct path alone, or all of the room."""


@dataclass(frozen=True)
class Heard:
    """One source at the microphone: all of it, and the part that is the target. Both `(1, samples)`."""

    wet: np.ndarray
    target: np.ndarray


@dataclass(frozen=True)
class Reverberated:
    """Every source as heard, with the room's labels taken from the first source's response."""

    sources: list[Heard]
    requested: dict[str, float]
    measured: dict[str, float]


def reverberate(
    dry: list[np.ndarray], room: AnyRoom | None, target: TargetKind, load: Load, sample_rate_hz: int
) -> Reverberated:
    """Convolve each dry `(1, samples)` signal with its own response of the room; without a room they pass as they are."""
    if room is None:
        return Reverberated([Heard(audio, audio) for audio in dry], {}, {})
    heard = []
    answers = responses(room, load, sample_rate_hz)
    for audio, response in zip(dry, answers, strict=True):
        if target == "reverberant":
            (wet,) = convolve(audio, [response.full])
            heard.append(Heard(wet, wet))
        else:
            wet, part = convolve(audio, [response.full, response.early if target == "early" else response.direct])
            heard.append(Heard(wet, part))
    first = answers[0].full
    measured = {
        "rt60_s": measured_rt60_s(first, sample_rate_hz),
        "drr_db": drr_db(first, sample_rate_hz),
        "room_lag_samples": max(onset_index(response.full) for response in answers),
    }
    return Reverberated(heard, room.requested() | {"room_lag_samples": 0}, measured)
