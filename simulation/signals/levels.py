"""Levels in dB: active power, gains for a requested ratio, peak limits and the step to int16.

numpy audio is float32 `(channels, samples)`, full scale +-1.
"""

import math

import numpy as np

# Speech level is that of the parts where somebody speaks. 20 ms frames within 40 dB of the loudest are speech; ITU-T
# P.56 asks 15.9 dB below the active level itself, which needs an iteration for the same answer within 0.3 dB.
ACTIVE_FRAME_S = 0.02
ACTIVE_RANGE_DB = 40.0
SILENCE_DB = -90.0  # below this an int16 file holds hardly a bit
PEAK_LIMIT = 0.99


def db(power_ratio: float) -> float:
    """Decibels of a power ratio; -200 for nothing at all, so that labels stay finite JSON."""
    return max(-200.0, 10 * math.log10(power_ratio)) if power_ratio > 0 else -200.0


def amplitude(level_db: float) -> float:
    """The factor on the samples for a level in dB, rounded so that it is the same on every CPU."""
    return round_gain(10 ** (level_db / 20))


def round_gain(gain: float) -> float:
    """Seven significant digits: sums over samples differ in the last bit between CPUs, gains made from them must not."""
    return float(f"{gain:.6e}")


def power(audio: np.ndarray) -> float:
    """Mean square over all samples and channels."""
    return float(np.mean(np.square(audio, dtype=np.float64))) if audio.size else 0.0


def frame_powers(audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Mean square of 20 ms frames, channels averaged: `(frames,)`; the incomplete last frame counts as one."""
    length = round(ACTIVE_FRAME_S * sample_rate_hz)
    squares = np.square(audio, dtype=np.float32)
    squares = squares[0] if len(squares) == 1 else squares.mean(axis=0)  # a mean over one channel costs ten times the rest
    return np.add.reduceat(squares, np.arange(0, len(squares), length)).astype(np.float64) / length


def is_active(powers: np.ndarray) -> np.ndarray:
    """Which of these frame powers are within 40 dB of the loudest: `(frames,)` bool, all False for digital silence."""
    return powers > max(float(powers.max(initial=0.0)) * 10 ** (-ACTIVE_RANGE_DB / 10), 10 ** (SILENCE_DB / 10))


def active_frames(audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Which 20 ms frames carry sound: `(frames,)` bool, all False for digital silence."""
    return is_active(frame_powers(audio, sample_rate_hz))


def active_power(audio: np.ndarray, sample_rate_hz: int) -> float:
    """Mean square over the active frames: the level that every SNR and SIR here is stated on. 0 for silence."""
    powers = frame_powers(audio, sample_rate_hz)
    active = is_active(powers)
    return float(powers[active].mean()) if active.any() else 0.0


def ratio_db(signal: np.ndarray, other: np.ndarray, sample_rate_hz: int) -> float:
    """Active level of `signal` above the active level of `other`, in dB."""
    below = active_power(other, sample_rate_hz)
    return db(active_power(signal, sample_rate_hz) / below) if below else 200.0


def gain_for_ratio(signal: np.ndarray, other: np.ndarray, wanted_db: float, sample_rate_hz: int) -> float:
    """The factor on `other` that puts `signal` `wanted_db` above it on active level; 0 if either is silent."""
    above, below = active_power(signal, sample_rate_hz), active_power(other, sample_rate_hz)
    if not above or not below:
        return 0.0
    return round_gain(math.sqrt(above / below) * 10 ** (-wanted_db / 20))


def at_level(audio: np.ndarray, level_db: float, sample_rate_hz: int) -> np.ndarray:
    """The signal at this active level in dBFS; silence stays silence."""
    active = active_power(audio, sample_rate_hz)
    return audio * np.float32(round_gain(10 ** (level_db / 20) / math.sqrt(active))) if active else audio


def joint_gain(signals: list[np.ndarray], limit: float = PEAK_LIMIT) -> float:
    """One factor for all signals that keeps the largest peak among them at or below `limit`; 1 where none exceeds it."""
    peak = max((float(np.abs(signal).max(initial=0.0)) for signal in signals), default=0.0)
    return round_gain(limit / peak * (1 - 1e-6)) if peak > limit else 1.0


def to_int16(audio: np.ndarray) -> np.ndarray:
    """Round to 16 bit, `(channels, samples)` int16. ValueError where a sample is outside [-1, 1] or not finite."""
    peak = float(np.abs(audio).max(initial=0.0))
    if not peak <= 1.0:  # NaN too
        raise ValueError(f"audio peaks at {peak}: limit it to 1.0 before it is stored as 16 bit")
    return np.rint(audio * np.float32(32767)).astype(np.int16)


def from_int16(audio: np.ndarray) -> np.ndarray:
    """float32 in [-1, 1] of what `to_int16` stored."""
    return audio.astype(np.float32) * np.float32(1 / 32767)
