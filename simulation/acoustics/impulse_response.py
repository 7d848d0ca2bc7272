"""What can be measured in a room impulse response, however it was made: direct path, reverberation time, DRR.

A response is `(samples,)`. Results are rounded: they become labels, which must not hang on the last bit of a sum.
"""

import math

import numpy as np

SPEED_OF_SOUND_M_S = 343.0
DIRECT_S = 0.0025  # the direct path reaches this far either side of its peak
ONSET_DB = 12.0  # the direct path may lie this far below the loudest reflection; ringing before a peak stays 13 dB below it
ONSET_S = 0.0005  # from the onset to the peak of the direct path
BLOCK_S = 0.001  # resolution of the decay curve
FLOOR_BLOCKS = 10  # ... and of the noise floor
FLOOR_MARGIN_DB = 10.0  # the decay ends where it comes this near to the noise (Lundeby et al., Acustica 81, 1995: 5 to 10)


def sabine_rt60_s(size_m: tuple[float, float, float], absorption: float) -> float:
    """Reverberation time of a shoebox with this absorption coefficient on all walls (Sabine)."""
    x, y, z = size_m
    return round(24 * math.log(10) / SPEED_OF_SOUND_M_S * x * y * z / (2 * (x * y + y * z + z * x) * absorption), 4)


def onset_index(response: np.ndarray) -> int:
    """The first sample within 12 dB of the loudest one: when sound arrives. ValueError for silence.

    The loudest itself may be a reflection, where a corner hides the source.
    """
    magnitude = np.abs(response)
    peak = float(magnitude.max(initial=0.0))
    if not 0 < peak < math.inf:
        raise ValueError(f"the room response peaks at {peak}: silent or damaged, it has no direct path")
    return int(np.argmax(magnitude >= peak * 10 ** (-ONSET_DB / 20)))


def direct_index(response: np.ndarray, sample_rate_hz: int) -> int:
    """The sample of the direct path: the loudest of the half millisecond after the onset. ValueError for silence."""
    onset = onset_index(response)
    return onset + int(np.argmax(np.abs(response[onset : onset + 1 + round(ONSET_S * sample_rate_hz)])))


def drr_db(response: np.ndarray, sample_rate_hz: int) -> float:
    """Energy within 2.5 ms of the direct path over the energy of all that follows, in dB; 100 where nothing does."""
    direct, width = direct_index(response, sample_rate_hz), round(DIRECT_S * sample_rate_hz)
    squares = np.square(response[max(direct - width, 0) :], dtype=np.float64)
    end = min(direct, width) + width + 1
    rest = float(squares[end:].sum())
    return round(min(10 * math.log10(float(squares[:end].sum()) / rest), 100.0), 3) if rest else 100.0


def measured_rt60_s(response: np.ndarray, sample_rate_hz: int) -> float:
    """Time for 60 dB of decay, extrapolated from Schroeder's backward integral between -5 and -35 dB (T30).

    Where the noise floor is too near, between -5 and -25 dB (T20) or less; 0 where fewer than 20 dB stand above the noise.
    The direct path is left out: ISO 3382-2 keeps the microphone 2 sqrt(V / cT) away from the source, where it hardly
    counts, and a voice may be nearer. ValueError for silence.
    """
    start = direct_index(response, sample_rate_hz) + round(DIRECT_S * sample_rate_hz)
    blocks, range_db = _above_noise(_block_energies(response[start:], sample_rate_hz))
    if range_db < 20:
        return 0.0
    backward = np.cumsum(np.trim_zeros(blocks, "b")[::-1])[::-1]
    decay_db = 10 * np.log10(backward / backward[0])
    lowest_db = -35.0 if range_db >= 40 else -25.0 if range_db >= 30 else 5.0 - range_db
    fitted = np.flatnonzero((decay_db <= -5) & (decay_db >= lowest_db))
    slope_db = _slope(fitted, decay_db[fitted])
    return round(-60 / slope_db * BLOCK_S, 4) if slope_db < 0 else 0.0


def decay_end(response: np.ndarray, sample_rate_hz: int) -> int:
    """The sample from which on a response holds more of its recording's noise than of the room."""
    start = direct_index(response, sample_rate_hz)
    blocks, _ = _above_noise(_block_energies(response[start:], sample_rate_hz))
    return min(start + len(blocks) * round(BLOCK_S * sample_rate_hz), len(response))


def _block_energies(response: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Energy of each millisecond, `(blocks,)` float64."""
    length = round(BLOCK_S * sample_rate_hz)
    squares = np.square(response, dtype=np.float32)
    return np.add.reduceat(squares, np.arange(0, len(squares), length)).astype(np.float64)


def _above_noise(blocks: np.ndarray) -> tuple[np.ndarray, float]:
    """The blocks before the noise floor, which the last tenth shows, and the decay that they hold in dB."""
    num_steps = len(blocks) // FLOOR_BLOCKS
    if num_steps < 2:
        return blocks, 0.0
    steps = blocks[: num_steps * FLOOR_BLOCKS].reshape(num_steps, FLOOR_BLOCKS).mean(axis=1)
    loudest, noise = float(steps.max()), float(steps[-max(num_steps // 10, 1) :].mean())
    if not noise:
        return blocks, 100.0 if loudest else 0.0
    above = np.flatnonzero(steps > noise * 10 ** (FLOOR_MARGIN_DB / 10))
    end = (int(above[-1]) + 1) * FLOOR_BLOCKS if len(above) else 0
    return blocks[:end], 10 * math.log10(loudest / noise) - FLOOR_MARGIN_DB


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    """Slope of the least-squares line; 0 for fewer than three points."""
    if len(x) < 3:
        return 0.0
    centred = x - x.mean()
    return float((centred * y).sum() / (centred * centred).sum())
