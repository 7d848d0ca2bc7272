"""How a voice sounds, in numbers that need no model: its long-term spectrum, and how far another one's formants are from it.

Labels only: double precision after the FFT, so that four decimals are the same on every CPU.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

HOP_S = 0.02
WINDOW_S = 0.032
LOWEST_HZ, HIGHEST_HZ = 150.0, 6400.0
BANDS_PER_OCTAVE = 8
HALF_WIDTH_HZ, HALF_WIDTH_OCTAVES = 160.0, 1 / 6  # at least: wider than the harmonics are apart
RANGE_DB = 50.0
FORMANTS_HZ = (350.0, 4500.0)
LARGEST_SHIFT_BANDS = 5
FEWEST_FRAMES = 8  # that say anything of formants


@dataclass(frozen=True)
class Timbre:
    """Levels in dB by frames and by bands a semitone apart, `(frames, bands)` float64, and which frames are active."""

    levels_db: np.ndarray
    active: np.ndarray

    def longterm_db(self) -> np.ndarray:
        """Mean over the active frames, level removed: `(bands,)`."""
        mean = self.levels_db[self.active].mean(axis=0) if self.active.any() else np.zeros(self.levels_db.shape[1])
        return mean - mean.mean()


def timbre(audio: np.ndarray, sample_rate_hz: int, hop_s: float = HOP_S) -> Timbre:
    """Of one voice, `(1, samples)` float32: frame n has its middle at n * hop_s."""
    window, hop = _window(sample_rate_hz), round(hop_s * sample_rate_hz)
    num_frames = -(-audio.shape[1] // hop)
    padded = np.pad(audio[0], (len(window) // 2, len(window) + hop))
    frames = sliding_window_view(padded, len(window))[: num_frames * hop : hop] * window
    below, above = _edges(sample_rate_hz)
    spectra = scipy.fft.rfft(frames, axis=1, workers=1)[:, : int(above[-1]) + 2]
    sums = np.zeros((num_frames, spectra.shape[1] + 1))
    np.cumsum(np.square(spectra.real) + np.square(spectra.imag), axis=1, dtype=np.float64, out=sums[:, 1:])
    power = (_at(sums, above) - _at(sums, below)) / (above - below)
    loudest = float(sums[:, -1].max(initial=0.0))
    floor = 1e-7 * loudest / sums.shape[1] + 1e-12
    return Timbre(10 * np.log10(np.maximum(power, 0) + floor), sums[:, -1] > loudest * 10 ** (-RANGE_DB / 10))


def _at(sums: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Running sums at fractional bins: `(frames, bins)`."""
    whole = bins.astype(np.intp)
    lower = sums.take(whole, axis=1)
    return lower + (sums.take(whole + 1, axis=1) - lower) * (bins - whole)


@lru_cache(maxsize=8)
def _window(sample_rate_hz: int) -> np.ndarray:
    length = round(WINDOW_S * sample_rate_hz)
    return np.round(0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(length) + 0.5) / length), 7).astype(np.float32)


def centres_hz(sample_rate_hz: int) -> np.ndarray:
    """The middles of the bands that a rate has: `(bands,)`."""
    highest = min(HIGHEST_HZ, 0.45 * sample_rate_hz)
    steps = range(int(BANDS_PER_OCTAVE * math.log2(highest / LOWEST_HZ)) + 1)
    return np.array([LOWEST_HZ * 2 ** (step / BANDS_PER_OCTAVE) for step in steps])


@lru_cache(maxsize=8)
def _edges(sample_rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the bands start and end, in bins: `(bands,)` each."""
    centres = centres_hz(sample_rate_hz)
    half_widths = np.maximum(HALF_WIDTH_HZ, centres * (2**HALF_WIDTH_OCTAVES - 1))
    bins = round(WINDOW_S * sample_rate_hz) / sample_rate_hz
    return np.maximum(centres - half_widths, 0) * bins + 0.5, (centres + half_widths) * bins + 0.5


def distance_db(one: Timbre, other: Timbre) -> float:
    """Root mean square difference of the long-term spectra. The same voice in other words: about 3 dB; another one: 5."""
    return float(np.sqrt(np.mean(np.square(one.longterm_db() - other.longterm_db()))))


@dataclass(frozen=True)
class Formants:
    """By which factor those of one voice lie above those of another, and the correlation of their movements then."""

    ratio: float
    likeness: float


def formants(after: Timbre, before: Timbre, sample_rate_hz: int) -> Formants:
    """Those of `after` against `before`, the same words at the same time; ratio 1, likeness 0 where both are hardly active.

    The shift along the bands at which both move alike; what does not move (an equaliser, a microphone) has no say.
    """
    centres = centres_hz(sample_rate_hz)
    inside = (centres >= FORMANTS_HZ[0]) & (centres <= FORMANTS_HZ[1])
    num_frames = min(len(before.active), len(after.active))
    both = before.active[:num_frames] & after.active[:num_frames]
    if both.sum() < FEWEST_FRAMES:
        return Formants(1.0, 0.0)
    one, other = (_moving(voice.levels_db[:num_frames][both][:, inside]) for voice in (before, after))
    shifts = range(-LARGEST_SHIFT_BANDS, LARGEST_SHIFT_BANDS + 1)
    alike = np.array([_likeness(one, other, shift) for shift in shifts])
    best = int(alike.argmax())
    ratio = 2 ** ((shifts[best] + _vertex(alike, best)) / BANDS_PER_OCTAVE)
    return Formants(round(ratio, 4), round(float(alike[best]), 4))


def _moving(levels_db: np.ndarray) -> np.ndarray:
    """What is left without the frames' levels and the bands' means."""
    levels_db = levels_db - levels_db.mean(axis=1, keepdims=True)
    return levels_db - levels_db.mean(axis=0)


def _likeness(one: np.ndarray, other: np.ndarray, shift: int) -> float:
    """Correlation of `one` with `other` moved down by `shift` bands."""
    num_bands = one.shape[1]
    a = one[:, max(0, -shift) : num_bands - max(0, shift)]
    b = other[:, max(0, shift) : num_bands - max(0, -shift)]
    return float(np.sum(a * b) / math.sqrt(max(np.sum(a * a) * np.sum(b * b), 1e-30)))


def _vertex(values: np.ndarray, at: int) -> float:
    """Where a parabola through the largest value and its neighbours has its top, from `at`; 0 at an end."""
    if not 0 < at < len(values) - 1:
        return 0.0
    before, here, after = values[at - 1 : at + 2]
    bend = before - 2 * here + after
    return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend < 0 else 0.0
