"""Speech-like signals whose pitch, formants and words are known: pulses through resonators, with hiss and pauses between."""

import numpy as np
import scipy.signal

FORMANTS_HZ = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (640, 1190, 2390))
SYLLABLE_S, HISS_S, PAUSE_S = 0.22, 0.08, 0.05


def said(
    *,
    pitch_hz: float = 120.0,
    sample_rate_hz: int = 16000,
    num_syllables: int = 8,
    ratio: float = 1.0,
    swing_semitones: float = 2.0,
    stretch: float = 1.0,
    seed: int = 0,
) -> np.ndarray:
    """Syllables of one vowel each with a hiss before it: float32 `(1, samples)`, the same words for the same seed.

    The pitch swings around `pitch_hz`, formants are `ratio` times those of a man, everything lasts `stretch` times as long.
    """
    rng = np.random.default_rng(seed)
    vowels = rng.integers(len(FORMANTS_HZ), size=num_syllables)
    parts, phase = [], 0.0
    for number, vowel in enumerate(vowels):
        hiss = _ramped(0.02 * rng.normal(size=round(HISS_S * 16000)), 160)
        parts.append(scipy.signal.resample(hiss, round(HISS_S * stretch * sample_rate_hz)))
        at = np.arange(round(SYLLABLE_S * stretch * sample_rate_hz)) / sample_rate_hz
        f0 = pitch_hz * 2 ** (swing_semitones / 12 * np.sin(2 * np.pi * (at / SYLLABLE_S / stretch + number / 3)))
        turns = phase + np.cumsum(f0) / sample_rate_hz
        harmonics = int(0.45 * sample_rate_hz / f0.max())
        pulses = sum(np.cos(2 * np.pi * k * turns) for k in range(1, min(harmonics, 60) + 1)) / 30
        phase = turns[-1]
        parts.append(
            _ramped(_resonant(pulses, [ratio * hz for hz in FORMANTS_HZ[vowel]], sample_rate_hz), sample_rate_hz // 50)
        )
        parts.append(np.zeros(round(PAUSE_S * stretch * sample_rate_hz)))
    audio = np.concatenate(parts)
    return (0.3 * audio / np.abs(audio).max())[np.newaxis].astype(np.float32)


def _resonant(pulses: np.ndarray, formants_hz: list[float], sample_rate_hz: int) -> np.ndarray:
    for formant_hz in formants_hz:
        radius = np.exp(-np.pi * (60 + formant_hz / 20) / sample_rate_hz)
        poles = [1, -2 * radius * np.cos(2 * np.pi * formant_hz / sample_rate_hz), radius**2]
        pulses = scipy.signal.lfilter([sum(poles)], poles, pulses)
    return pulses


def _ramped(audio: np.ndarray, length: int) -> np.ndarray:
    ramp = np.sin(np.linspace(0, np.pi / 2, length)) ** 2
    audio = audio.copy()
    audio[:length] *= ramp
    audio[-length:] *= ramp[::-1]
    return audio
