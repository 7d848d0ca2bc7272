"""Fundamental frequency: a track to change a voice by, and the shift between two signals on another principle, to check it.

The track is the normalised cross-correlation of RAPT (Talkin, "A robust algorithm for pitch tracking", 1995) at 4 kHz,
in a second pass kept to the speaker's own range (De Looze and Hirst, Speech Prosody 2008). The check is the cepstrum
(Noll, JASA 41, 1967): regular harmonics in the spectrum, not similar periods in the waveform.

Everything is double precision and rounded at the end, so that no CPU's last bit reaches the samples made from it.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
import soxr
from numpy.lib.stride_tricks import sliding_window_view

F0_RANGE_HZ = (60.0, 450.0)
PERIOD_S = 0.01  # between the frames of a track
LOW_RATE_HZ = 4000
VOICED_CORRELATION = 0.55
VOICED_RANGE_DB = 40.0
SHORTEST_RUN_FRAMES = 3  # 30 ms: a shorter voiced stretch is chance
SPEAKER_RANGE = ((0.15, 0.75), (0.65, 2.1))  # (quantile, factor) of the first pass that bound the second

_WINDOW = 100  # samples at the low rate: 25 ms
_LONGEST = round(LOW_RATE_HZ / F0_RANGE_HZ[0]) + 1
_HOP = round(PERIOD_S * LOW_RATE_HZ)
_BLOCK = 128  # frames at a time: what the nearest caches hold


@dataclass(frozen=True)
class Track:
    """F0 in Hz by frames of 10 ms, frame n at 0.01 n s: `(frames,)`, 0 where there is no voice."""

    f0_hz: np.ndarray
    low: np.ndarray  # (samples,) float64, the signal at 4 kHz that it was found in

    @property
    def voiced(self) -> np.ndarray:
        return self.f0_hz > 0

    def median_hz(self) -> float:
        """Of the voiced frames; 0 without any."""
        return float(np.median(self.f0_hz[self.voiced])) if self.voiced.any() else 0.0

    def filled(self) -> np.ndarray:
        """The track with its gaps interpolated, for what has to run on through them."""
        frames = np.flatnonzero(self.voiced)
        return np.interp(np.arange(len(self.f0_hz)), frames, self.f0_hz[frames])


def track(audio: np.ndarray, sample_rate_hz: int) -> Track:
    """The F0 of one voice, `(1, samples)` float32."""
    low = soxr.resample(audio[0], sample_rate_hz, LOW_RATE_HZ, quality="LQ").astype(np.float64)
    correlation, power = _correlations(low, audio.shape[1] * LOW_RATE_HZ // sample_rate_hz // _HOP + 1)
    loud = power > power.max(initial=0.0) * 10 ** (-VOICED_RANGE_DB / 10)
    first = _best(correlation[::2], loud[::2], *F0_RANGE_HZ)
    if not first.any():
        return Track(np.zeros(len(loud)), low)
    (low_quantile, below), (high_quantile, above) = SPEAKER_RANGE
    least, most = np.quantile(first[first > 0], (low_quantile, high_quantile))
    second = _best(correlation, loud, max(F0_RANGE_HZ[0], below * least), min(F0_RANGE_HZ[1], above * most))
    return Track(np.round(_without_chance(second), 2), low)


def _correlations(low: np.ndarray, num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Normalised cross-correlation `(frames, lags)` of each frame with what follows it, and energies `(frames,)`."""
    lead, span = (_WINDOW + _LONGEST) // 2, num_frames * _HOP
    padded = np.zeros(span + 2 * lead + _HOP)
    padded[lead : lead + len(low)] = low[: len(padded) - lead]
    sums = np.cumsum(padded)
    half = _WINDOW // 2
    padded[half:-half] -= (sums[_WINDOW:] - sums[:-_WINDOW]) / _WINDOW  # rumble below a voice
    squares = np.pad(np.cumsum(np.square(padded)), (1, 0))
    energy = sliding_window_view(squares[_WINDOW:] - squares[:-_WINDOW], _LONGEST + 1)[:span:_HOP]
    frames = sliding_window_view(padded, _WINDOW + _LONGEST)[:span:_HOP]
    size = scipy.fft.next_fast_len(_WINDOW + _LONGEST, real=True)
    products = np.empty((num_frames, _LONGEST + 1))
    for start in range(0, num_frames, _BLOCK):
        block = frames[start : start + _BLOCK]
        cross = np.conj(scipy.fft.rfft(block[:, :_WINDOW], size, axis=1))
        cross *= scipy.fft.rfft(block, size, axis=1)
        products[start : start + _BLOCK] = scipy.fft.irfft(cross, size, axis=1)[:, : _LONGEST + 1]
    floor = 1e-6 * energy.max(initial=1e-12)
    return products / np.sqrt((energy[:, :1] + floor) * (energy + floor)), energy[:, 0]


def _best(correlation: np.ndarray, loud: np.ndarray, least_hz: float, most_hz: float) -> np.ndarray:
    """The F0 of the highest peak in this range by frame, shorter periods preferred; 0 where none is high enough."""
    first = max(2, int(LOW_RATE_HZ / most_hz))
    inside = correlation[:, first - 1 : int(LOW_RATE_HZ / least_hz) + 2]
    middle = inside[:, 1:-1]
    score = np.where((middle >= inside[:, :-2]) & (middle >= inside[:, 2:]), middle, -1.0)
    score -= 0.002 * np.arange(score.shape[1])
    at = score.argmax(axis=1)
    rows = np.arange(len(at))
    before, peak, after = (inside[rows, at + step] for step in (0, 1, 2))
    bend = before - 2 * peak + after
    offset = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, 1.0), 0.0)
    f0 = LOW_RATE_HZ / (first + at + np.clip(offset, -0.5, 0.5))
    return np.where(loud & (score[rows, at] > VOICED_CORRELATION - 0.1) & (peak > VOICED_CORRELATION), f0, 0.0)


def _without_chance(f0: np.ndarray) -> np.ndarray:
    """Lone jumps replaced by the median of their neighbours, voiced runs of under 30 ms left out."""
    near = sliding_window_view(np.pad(f0, 2), 5)
    middle = np.sort(near, axis=1)[:, 2]
    f0 = np.where((f0 > 0) & (middle > 0) & (np.abs(f0 - middle) > 0.2 * middle), middle, f0)
    edges = np.flatnonzero(np.diff(np.pad(f0 > 0, 1).astype(np.int8)))
    for start, end in zip(edges[::2], edges[1::2]):
        if end - start < SHORTEST_RUN_FRAMES:
            f0[start:end] = 0.0
    return f0
