"""A second opinion on pitch: F0 from the cepstrum, and how the F0 of two signals with the same words at the same time relate.

The cepstrum (Noll, JASA 41, 1967) sees regular harmonics in the spectrum where pitch.py beside it sees similar periods in the
waveform, so that what one did wrong the other finds. For labels: some frames of a signal, not a track.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
import soxr
from numpy.lib.stride_tricks import sliding_window_view

from simulation.voice_conversion.pitch import F0_RANGE_HZ

RATE_HZ = 8000
NUM_FRAMES = 40
FEWEST_FRAMES = 12  # that say anything
HIGHEST_HZ = 3200.0  # of the harmonics
SALIENCE = 3.8  # of the peak, in standard deviations of the cepstrum
LOUD_DB = 20.0
_WINDOW, _HOP, _SIZE = 400, 80, 512
_BINS = round(HIGHEST_HZ * _SIZE / RATE_HZ)
_QUEFRENCIES = 4 * (_BINS - 1)
_STEP_HZ = _QUEFRENCIES * RATE_HZ / _SIZE  # quefrency n is a period of n / this
_HANN = np.hanning(_WINDOW + 2)[1:-1]
_FADE = np.hanning(2 * _BINS)[_BINS:]  # a hard end of the spectrum would ring


@dataclass(frozen=True)
class Relation:
    """`after` is `shift_semitones` above `before` at that one's middle pitch; what deviates from it is `range_factor` as wide.

    `before_hz` and `after_hz` are the medians, 0 for a signal without pitch.
    """

    shift_semitones: float
    range_factor: float
    num_frames: int
    before_hz: float
    after_hz: float

    @property
    def known(self) -> bool:
        return self.num_frames >= FEWEST_FRAMES


def relate(after: np.ndarray, before: np.ndarray, sample_rate_hz: int, middle_hz: float = 0.0) -> Relation:
    """The line of F0 against F0, in semitones, through the frames where both signals have one. `(1, samples)` float32 each.

    The middle is `middle_hz`, the median of `before` if 0.
    """
    one, other = _low(before, sample_rate_hz), _low(after, sample_rate_hz)
    at = _loud(one[: len(other)])
    before_hz, after_hz = (f0_hz(signal, at) for signal in (one, other))
    medians = _median(before_hz), _median(after_hz)
    both = (before_hz > 0) & (after_hz > 0)
    x, y = (12 * np.log2(found[both] / (middle_hz or medians[0] or 1.0)) for found in (before_hz, after_hz))
    line = np.array([float(np.median(y - x)) if len(x) else 0.0, 1.0])
    for reach in (5.0, 2.0, 1.0):  # an octave error is far off any line
        near = np.abs(y - line[0] - line[1] * x) < reach
        x, y = x[near], y[near]
        if len(x) < FEWEST_FRAMES:
            break
        line = _line(x, y)
    return Relation(round(float(line[0]), 4), round(float(line[1]), 4), len(x), *medians)


def median_f0_hz(audio: np.ndarray, sample_rate_hz: int) -> float:
    """Of the loud frames that have one; 0 if too few have."""
    low = _low(audio, sample_rate_hz)
    return _median(f0_hz(low, _loud(low)))


def _median(found_hz: np.ndarray) -> float:
    return round(float(np.median(found_hz[found_hz > 0])), 2) if (found_hz > 0).sum() >= FEWEST_FRAMES else 0.0


def f0_hz(low: np.ndarray, at: np.ndarray) -> np.ndarray:
    """F0 of the 50 ms from each sample of `at` on, 0 where the cepstrum has no clear peak: `(len(at),)`."""
    if not len(at):
        return np.zeros(0)
    spectra = scipy.fft.rfft(sliding_window_view(low, _WINDOW)[at] * _HANN, _SIZE, axis=1, workers=1)[:, :_BINS]
    power = np.square(spectra.real) + np.square(spectra.imag)
    logs = np.log(power + 1e-5 * power.max(axis=1, keepdims=True) + 1e-20)
    logs = (logs - logs.mean(axis=1, keepdims=True)) * _FADE
    first, last = int(_STEP_HZ / F0_RANGE_HZ[1]), int(_STEP_HZ / F0_RANGE_HZ[0]) + 1
    cepstra = scipy.fft.irfft(logs, _QUEFRENCIES, axis=1, workers=1)[:, first - 1 : last + 2]
    peak, rows = cepstra[:, 1:-1].argmax(axis=1), np.arange(len(at))
    before, here, after = (cepstra[rows, peak + step] for step in (0, 1, 2))
    bend = before - 2 * here + after
    offset = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, 1.0), 0.0)
    spread = cepstra[:, 1:-1].std(axis=1)
    clear = (here > SALIENCE * spread) & (spread > 1e-6)  # silence has a flat spectrum
    return np.where(clear, _STEP_HZ / (first + peak + np.clip(offset, -0.5, 0.5)), 0.0)


def _low(audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    return soxr.resample(audio[0], sample_rate_hz, RATE_HZ, quality="LQ").astype(np.float64)


def _loud(low: np.ndarray) -> np.ndarray:
    """Starts of at most NUM_FRAMES frames that are within LOUD_DB of the loudest, spread evenly."""
    if len(low) < _WINDOW:
        return np.zeros(0, np.int64)
    sums = np.pad(np.cumsum(np.square(low)), (1, 0))
    energy = (sums[_WINDOW:] - sums[:-_WINDOW])[::_HOP]
    loud = np.flatnonzero(energy > energy.max() * 10 ** (-LOUD_DB / 10)) * _HOP
    return loud[np.linspace(0, len(loud) - 1, min(NUM_FRAMES, len(loud))).astype(np.int64)]


def _line(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Offset and slope by least squares; drawn to a slope of 1 where the speaker hardly moves the pitch."""
    mean_x, mean_y = x.mean(), y.mean()
    deviation = x - mean_x
    slope = (np.sum(deviation * (y - mean_y)) + 0.1 * len(x)) / (np.sum(deviation * deviation) + 0.1 * len(x))
    return np.array([mean_y - slope * mean_x, slope])
