"""Cutting speech between words and joining the pieces: where to cut, how to fade, and what then is where.

Works on int16, in integers where a choice is made: the same cuts on every machine. What is not faded is copied to the bit.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulation.signals.levels import db

SLACK_S = 0.03  # word times are that good
PAUSE_S = 0.1  # within a long pause a cut lies that near to its middle
WINDOW_S = 0.005  # over which energy is looked at
NEAR_LEAST = 4  # times the least energy is as good
ALIGN_S = 0.004  # pieces are shifted by up to this, so that their waves agree where they overlap
CLICK_FLOOR = 16  # of int16: a smaller jump is that of rounding and noise
AROUND_S = 0.02

Gap = tuple[int, int]
"""End of one word and start of the next, in samples."""


@dataclass(frozen=True)
class Piece:
    """Samples start..end of a source."""

    source: int
    start: int
    end: int


@dataclass(frozen=True)
class Copy:
    """A stretch of the joined signal that is the source's, sample by sample; `piece` is which of the pieces."""

    piece: int
    source: int
    source_start: int
    start: int
    length: int


@dataclass(frozen=True)
class Fade:
    """A stretch that is nobody's copy. `jump` is the largest step from sample to sample in what was faded together."""

    start: int
    end: int
    jump: int


@dataclass(frozen=True)
class Joined:
    """int16 `(samples,)`, the stretches that are copies, and the fades between them."""

    audio: np.ndarray
    copies: list[Copy]
    fades: list[Fade]


def cut(samples: np.ndarray, gap: Gap, neighbours: tuple[int, int], sample_rate_hz: int) -> int:
    """Where to cut int16 `(samples,)` between two words: the middle of a pause, else the quietest place nearby.

    Where there is no pause the words' times are not trusted to more than 30 ms; never is more than a third of a word cut
    off, whose lengths in samples are `neighbours`.
    """
    low, high = gap
    middle = (low + high) // 2
    slack = max(0, round(SLACK_S * sample_rate_hz) - (high - low) // 2)
    reach = round(PAUSE_S * sample_rate_hz)
    first = max(low - min(slack, neighbours[0] // 3), middle - reach, 0)
    last = min(high + min(slack, neighbours[1] // 3), middle + reach, len(samples))
    if last - first < 2:
        return min(max(middle, 0), len(samples))
    half = max(round(WINDOW_S * sample_rate_hz) // 2, 1)
    seen = np.pad(samples[max(first - half, 0) : last + half + 1].astype(np.int64), (max(half - first, 0), 0))
    sums = np.concatenate([[0], np.cumsum(seen * seen)])
    reachable = len(sums) - 1 - 2 * half
    energy = sums[2 * half : 2 * half + reachable + 1] - sums[: reachable + 1]  # of windows around first, first + 1, ...
    energy = energy[: last - first + 1]
    quiet = np.flatnonzero(energy <= NEAR_LEAST * energy.min())
    return first + int(quiet[np.argmin(np.abs(quiet + first - middle))])


def join(sources: Sequence[np.ndarray], pieces: Sequence[Piece], fade_samples: int, sample_rate_hz: int) -> Joined:
    """The pieces one after another, cross-faded around each join; what begins or ends within its source is faded in or out.

    A piece may begin up to 4 ms off where its wave then fits the one before. Fades are convex: no sample exceeds the sources'.
    """
    half = max(fade_samples // 2, 1)
    pieces = _aligned(sources, pieces, half, min(round(ALIGN_S * sample_rate_hz), 2 * half - 1))
    ramp = _ramp(2 * half)
    audio = np.concatenate([sources[piece.source][piece.start : piece.end] for piece in pieces])
    copies, fades, at = [], [], 0
    for number, piece in enumerate(pieces):
        length, first, last = piece.end - piece.start, number == 0, number == len(pieces) - 1
        lead = half if not first else 2 * half if piece.start else 0
        tail = half if not last else 2 * half if piece.end < len(sources[piece.source]) else 0
        copies.append(Copy(number, piece.source, piece.start + lead, at + lead, length - lead - tail))
        if first and lead:
            fades.append(_faded(audio, 0, np.zeros(lead, np.int16), audio[:lead], ramp))
        if not first:
            meeting = pieces[number - 1]
            left = sources[meeting.source][meeting.end - half : meeting.end + half]
            right = sources[piece.source][piece.start - half : piece.start + half]
            fades.append(_faded(audio, at - half, left, right, ramp))
        at += length
        if last and tail:
            fades.append(_faded(audio, at - tail, audio[at - tail :], np.zeros(tail, np.int16), ramp))
    assert all(copy.length >= 0 for copy in copies), pieces
    return Joined(audio, copies, fades)


def _faded(audio: np.ndarray, start: int, left: np.ndarray, right: np.ndarray, ramp: np.ndarray) -> Fade:
    """Fade from one to the other, into the audio from `start` on."""
    jump = max(_jump(left), _jump(right))
    audio[start : start + len(ramp)] = np.rint(left + (right.astype(np.float32) - left) * ramp)
    return Fade(start, start + len(ramp), jump)


def _jump(samples: np.ndarray) -> int:
    """The largest step from sample to sample; at least that of rounding and noise."""
    return int(np.abs(np.diff(samples.astype(np.int32))).max(initial=CLICK_FLOOR))


def _ramp(length: int) -> np.ndarray:
    """From 0 to 1, smooth at both ends: 3x^2 - 2x^3, float32."""
    x = (np.arange(length, dtype=np.float32) + np.float32(0.5)) / np.float32(length)
    return x * x * (3 - 2 * x)


def _aligned(sources: Sequence[np.ndarray], pieces: Sequence[Piece], half: int, reach: int) -> list[Piece]:
    """The pieces with room for the fades, each but the first shifted to begin where it differs least from what it meets."""
    placed: list[Piece] = []
    for piece in pieces:
        source = sources[piece.source]
        end = min(piece.end, len(source) - half) if piece is not pieces[-1] else piece.end
        if not placed:
            placed.append(Piece(piece.source, piece.start, end))
            continue
        before = placed[-1]
        left = sources[before.source][before.end - half : before.end + half].astype(np.int64)
        low = max(piece.start - reach, half)
        high = min(piece.start + reach, end - 2 * half, len(source) - half)
        right = source[low - half : high + half].astype(np.int64)
        if high <= low:
            placed.append(Piece(piece.source, max(min(piece.start, len(source) - half), half), end))
            continue
        sums = np.concatenate([[0], np.cumsum(right * right)])
        difference = (sums[2 * half :] - sums[: -2 * half]) - 2 * np.correlate(right, left, "valid")
        placed.append(Piece(piece.source, low + int(np.argmin(difference)), end))
    return placed


def gaps_between(spans: Sequence[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    """What the spans leave of 0..length: before, between and after them, empty ones left out."""
    edges = [0, *itertools.chain.from_iterable(sorted(spans)), length]
    return [(start, end) for start, end in zip(edges[::2], edges[1::2]) if end > start]


def click_db(audio: np.ndarray, fades: Sequence[Fade], sample_rate_hz: int) -> float:
    """Largest jump from sample to sample within a fade above the largest in what was faded and 20 ms around, in dB; 0 if none
    is larger."""
    around, worst = round(AROUND_S * sample_rate_hz), 0.0
    for fade in fades:
        before, after = audio[max(fade.start - around, 0) : fade.start], audio[fade.end : fade.end + around]
        within = _jump(audio[max(fade.start - 1, 0) : fade.end + 1])
        worst = max(worst, db((within / max(fade.jump, _jump(before), _jump(after))) ** 2))
    return worst


def step_db(audio: np.ndarray, fades: Sequence[Fade], sample_rate_hz: int) -> float:
    """Largest difference in level between the 20 ms before and after a fade between two pieces, in dB."""
    around, steps = round(AROUND_S * sample_rate_hz), [0.0]
    for fade in fades:
        before, after = audio[max(fade.start - around, 0) : fade.start], audio[fade.end : fade.end + around]
        if len(before) == len(after) == around:
            powers = [float(np.square(part.astype(np.int64)).sum()) + around * CLICK_FLOOR**2 for part in (before, after)]
            steps.append(abs(db(powers[1] / powers[0])))
    return max(steps)
