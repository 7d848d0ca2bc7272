"""Oscillators, envelopes, filters and resonators that the starter sounds are made of.

All signals are float64 `(samples,)` at 48 kHz. Sine and filter coefficients come from scalar `math`, noise from integers:
no vectorised exp, sin or power, whose last bit differs by CPU.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from scipy.signal import lfilter

from simulation.seeds import seed_of, stored_noise, uniform

SAMPLE_RATE_HZ = 48_000
TABLE = 2**16
CONTROL = 64  # samples between computed points of slowly moving amplitudes
_SINE = np.array([round(math.sin(2 * math.pi * (i + 0.5) / TABLE), 12) for i in range(TABLE)])

Draw = np.random.Generator


def samples(duration_s: float) -> int:
    return round(duration_s * SAMPLE_RATE_HZ)


def white(draw: Draw, num_samples: int) -> np.ndarray:
    """White noise of unit variance."""
    return stored_noise(seed_of(draw), (num_samples,)).astype(np.float64)


def pink(draw: Draw, num_samples: int) -> np.ndarray:
    """Noise with -3 dB an octave within 0.5 dB above 10 Hz (P. Kellet's sum of one-pole filters, at 44.1 kHz)."""
    poles = ((0.99886, 0.0555179), (0.99332, 0.0750759), (0.969, 0.153852), (0.8665, 0.3104856), (0.55, 0.5329522))
    noise = white(draw, num_samples)
    total = sum(lfilter([gain], [1, -pole], noise) for pole, gain in poles) + 0.5362 * noise
    return total - lfilter([0.016898], [1, 0.7616], noise)


def brown(draw: Draw, num_samples: int) -> np.ndarray:
    """Noise with -6 dB an octave above 20 Hz."""
    return lfilter([0.06], [1, -0.9974], white(draw, num_samples))


def sine(turns: np.ndarray) -> np.ndarray:
    """The sine of a phase in turns, from a table: error below 5e-5, -86 dB."""
    return _SINE[np.floor(turns * TABLE).astype(np.int64) & (TABLE - 1)]


def phase(hz: np.ndarray | float, num_samples: int = 0) -> np.ndarray:
    """Phase in turns of a frequency that is constant or given at each sample."""
    if isinstance(hz, np.ndarray):
        return np.cumsum(hz) / SAMPLE_RATE_HZ
    return np.arange(num_samples) * (hz / SAMPLE_RATE_HZ)


def curve(num_samples: int, *points: tuple[float, float]) -> np.ndarray:
    """Straight lines through (seconds, value) points, level before the first and after the last."""
    times, values = zip(*points)
    return np.interp(np.arange(num_samples) / SAMPLE_RATE_HZ, times, values)


def wander(draw: Draw, num_samples: int, rate_hz: float, depth: float) -> np.ndarray:
    """A random line around 1 that turns `rate_hz` times a second and stays within 1 +- depth."""
    count = max(2, math.ceil(num_samples / SAMPLE_RATE_HZ * rate_hz) + 2)
    values = 1 + depth * (2 * draw.random(count) - 1)
    return np.interp(np.arange(num_samples) * (rate_hz / SAMPLE_RATE_HZ), np.arange(count), values)


def decay(num_samples: int, t60_s: float) -> np.ndarray:
    """An exponential decay from 1 by 60 dB in `t60_s`."""
    return np.cumprod(np.full(num_samples, round(10 ** (-3 / (t60_s * SAMPLE_RATE_HZ)), 12)))


def trailing(impulses: np.ndarray, t60_s: float) -> np.ndarray:
    """Each impulse as a decay by 60 dB in `t60_s`."""
    return lfilter([1.0], [1, -round(10 ** (-3 / (t60_s * SAMPLE_RATE_HZ)), 12)], impulses)


def burst(draw: Draw, duration_s: float, t60_s: float) -> np.ndarray:
    """A decaying burst of noise with an instant start."""
    length = samples(duration_s)
    return white(draw, length) * decay(length, t60_s)


def faded(signal: np.ndarray, in_s: float, out_s: float) -> np.ndarray:
    """The signal with linear ramps at its ends; they may be as long as the signal."""
    n = len(signal) / SAMPLE_RATE_HZ
    return signal * curve(len(signal), (0, 0), (in_s, 1)) * curve(len(signal), (n - out_s, 1), (n, 0))


def add(out: np.ndarray, part: np.ndarray, at_s: float) -> None:
    """Add a part from a time on, in place; what would lie past the end is left out."""
    start = samples(at_s)
    length = max(0, min(len(part), len(out) - start))
    out[start : start + length] += part[:length]


def scattered(draw: Draw, num_samples: int, per_s: float, envelope: np.ndarray | None = None) -> np.ndarray:
    """Single-sample impulses at random times, mostly weak ones; `envelope` (0-1) thins them out."""
    count = round(per_s * num_samples / SAMPLE_RATE_HZ)
    at, size, keep = draw.integers(0, num_samples, count), draw.random(count), draw.random(count)
    size = size * size * size * (2 * draw.integers(0, 2, count) - 1)
    if envelope is not None:
        size = size * (keep < envelope[at])
    return np.bincount(at, weights=size, minlength=num_samples)


def _biquad(signal: np.ndarray, b: Sequence[float], a: Sequence[float]) -> np.ndarray:
    return lfilter([round(x / a[0], 12) for x in b], [1.0] + [round(x / a[0], 12) for x in a[1:]], signal)


def _angle(hz: float, q: float) -> tuple[float, float]:
    w = 2 * math.pi * min(hz, 0.48 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    return math.cos(w), math.sin(w) / (2 * q)


def lowpass(signal: np.ndarray, hz: float, q: float = 0.7071) -> np.ndarray:
    """12 dB an octave (R. Bristow-Johnson, Audio EQ Cookbook)."""
    c, alpha = _angle(hz, q)
    return _biquad(signal, ((1 - c) / 2, 1 - c, (1 - c) / 2), (1 + alpha, -2 * c, 1 - alpha))


def highpass(signal: np.ndarray, hz: float, q: float = 0.7071) -> np.ndarray:
    """12 dB an octave (Audio EQ Cookbook)."""
    c, alpha = _angle(hz, q)
    return _biquad(signal, ((1 + c) / 2, -1 - c, (1 + c) / 2), (1 + alpha, -2 * c, 1 - alpha))


def bandpass(signal: np.ndarray, hz: float, q: float) -> np.ndarray:
    """Gain 1 at the centre (Audio EQ Cookbook)."""
    c, alpha = _angle(hz, q)
    return _biquad(signal, (alpha, 0.0, -alpha), (1 + alpha, -2 * c, 1 - alpha))


def shelf(signal: np.ndarray, hz: float, gain_db: float) -> np.ndarray:
    """Treble above `hz` raised or lowered (Audio EQ Cookbook, slope 1)."""
    c, alpha = _angle(hz, 0.7071)
    g = 10 ** (gain_db / 40)
    r = 2 * math.sqrt(g) * alpha
    b = (g * (g + 1 + (g - 1) * c + r), -2 * g * (g - 1 + (g + 1) * c), g * (g + 1 + (g - 1) * c - r))
    return _biquad(signal, b, (g + 1 - (g - 1) * c + r, 2 * (g - 1 - (g + 1) * c), g + 1 - (g - 1) * c - r))


Mode = tuple[float, float, float]
"""Frequency in Hz, time in which it decays by 60 dB in s, gain."""


def ringing(excitation: np.ndarray, modes: Iterable[Mode]) -> np.ndarray:
    """The excitation through a bank of two-pole resonators: an impulse makes each ring as a decaying sine of its gain."""
    total = np.zeros(len(excitation))
    for hz, t60_s, gain in modes:
        if hz < 0.45 * SAMPLE_RATE_HZ:
            angle, radius = 2 * math.pi * hz / SAMPLE_RATE_HZ, 10 ** (-3 / (t60_s * SAMPLE_RATE_HZ))
            feedback = [1.0, round(-2 * radius * math.cos(angle), 14), round(radius * radius, 14)]
            total += lfilter([round(gain * math.sin(angle), 14)], feedback, excitation)
    return total


def harmonics(hz: np.ndarray, formants: Sequence[tuple[np.ndarray | float, float, float]], num_partials: int) -> np.ndarray:
    """A voice: partials of a moving fundamental, shaped by (frequency, bandwidth, gain) resonances that may move too."""
    total, turns, slow = np.zeros(len(hz)), phase(hz), np.arange(0, len(hz), CONTROL)
    for k in range(1, num_partials + 1):
        frequency = k * hz[slow]
        gain = np.zeros(len(slow))
        for centre, width, height in formants:
            off = (frequency - (centre[slow] if isinstance(centre, np.ndarray) else centre)) / width
            gain += height / (1 + off * off)
        gain[frequency > 0.45 * SAMPLE_RATE_HZ] = 0.0
        total += np.interp(np.arange(len(hz)), slow, gain) * sine(k * turns)
    return total


def squashed(signal: np.ndarray, drive: float) -> np.ndarray:
    """Soft saturation: x / (1 + |x|), which makes a voice or an engine rough."""
    driven = signal * drive
    return driven / (1 + np.abs(driven))


def times(draw: Draw, count: int, gap_s: tuple[float, float], start_s: float = 0.0) -> list[float]:
    """`count` onsets with gaps drawn from the range."""
    found = [start_s]
    for _ in range(count - 1):
        found.append(found[-1] + uniform(draw, gap_s))
    return found
