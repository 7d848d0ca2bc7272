"""Sound events on a time line: cut from their clips, given soft edges and a level."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from simulation.bank import Bank
from simulation.example import Clip, Load
from simulation.signals.levels import ACTIVE_FRAME_S, SILENCE_DB, frame_powers, from_int16
from simulation.signals.mixing import Activity, activity, at_active_level, peak

SILENCE = 10 ** (SILENCE_DB / 20)
ATTACK_S, CUT_S = 0.003, 0.05  # ramps: at the beginning of a file, where its attack is, and wherever it was cut


def cut(bank: Bank, generator: np.random.Generator, row: int, max_duration_s: float) -> Clip:
    """The file of this row, or its first `max_duration_s`, for there is the attack; music from anywhere in it."""
    clip = bank.clip(generator, row, max_duration_s)
    return clip if clip.role == "music" else msgspec.structs.replace(clip, start_frame=0)


def at_level(load: Load, clip: Clip, level_db: float, sample_rate_hz: int) -> np.ndarray:
    """The clip with soft edges at this active level in dBFS: `(1, samples)`. SourceError if it is as good as silent."""
    audio = load(clip).copy()
    _soften(audio, round((CUT_S if clip.start_frame else ATTACK_S) * sample_rate_hz), round(CUT_S * sample_rate_hz))
    return levelled(audio, clip, level_db, sample_rate_hz)


def levelled(audio: np.ndarray, clip: Clip, level_db: float, sample_rate_hz: int) -> np.ndarray:
    """`audio`, which was made of the clip, at this active level in dBFS. SourceError if it is as good as silent."""
    loud = peak(audio)
    # At full scale, or the floor of -90 dBFS takes frames out of a quiet file that are active at the new level.
    if loud > SILENCE:
        audio = audio * np.float32(1 / loud)
    return at_active_level(audio, clip, level_db, sample_rate_hz)


def _soften(audio: np.ndarray, attack: int, release: int) -> None:
    """Linear ramps of so many samples at both ends, in place; each a quarter of the signal at most."""
    for samples, length in ((audio[0], attack), (audio[0, ::-1], release)):
        length = min(length, len(samples) // 4)
        samples[:length] *= (np.arange(length, dtype=np.float32) + np.float32(0.5)) / np.float32(max(length, 1))


def stored_activity(stored: np.ndarray, source: np.ndarray, sample_rate_hz: int) -> Activity:
    """The frames in which a sound is active, and the power of its int16 samples there: rounding must move no frame at the edge
    of audibility in or out, of which a short sound has few."""
    frames = activity(source, sample_rate_hz).frames
    powers = frame_powers(from_int16(stored), sample_rate_hz)[frames]
    return Activity(frames, float(powers.mean()) if powers.size else 0.0)


@dataclass(frozen=True)
class Part:
    """A sound from one sample of the time line on: `(1, samples)`."""

    start: int
    audio: np.ndarray

    @property
    def span(self) -> slice:
        return slice(self.start, self.start + self.audio.shape[1])

    def alone(self, num_samples: int) -> np.ndarray:
        """With silence around it: `(1, num_samples)`."""
        out = np.zeros((1, num_samples), self.audio.dtype)
        out[:, self.span] = self.audio
        return out

    def first_sample(self) -> int:
        """Where on the time line it is not zero for the first time."""
        return self.start + int((self.audio[0] != 0).argmax())


def order_share(heard: Sequence[tuple[Part, Activity]], sample_rate_hz: int) -> float:
    """Of the sounds in the order of their starts, the share of neighbours that follow each other: the last active frame of the
    one before the first of the other. 1 for fewer than two."""
    length = round(ACTIVE_FRAME_S * sample_rate_hz)
    ordered = sorted(heard, key=lambda pair: pair[0].start)
    extents = [
        (part.start + length * int(on[0]), part.start + length * int(on[-1] + 1))
        for part, on in ((part, np.flatnonzero(found.frames)) for part, found in ordered)
    ]
    follow = [first[1] <= second[0] + length for first, second in itertools.pairwise(extents)]
    return sum(follow) / len(follow) if follow else 1.0
