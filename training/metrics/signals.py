"""What every metric asks of its two signals, and what it says where it has no value for them.

A metric is a function `score(reference, estimate, sample_rate_hz) -> float` of mono float `(samples,)`, full scale +-1.
"""

from functools import lru_cache

import numpy as np
import soxr

SILENCE_DB = -100.0  # mean power in dBFS: below it 16 bits hold nothing


class Unscorable(ValueError):
    """The metric is not defined for this clip: the message says why. A report shows the reason, never a zero."""


def check(reference: np.ndarray, estimate: np.ndarray, sample_rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64. ValueError for what a caller did wrong (shapes, lengths, rate), Unscorable for what is not finite."""
    signals = {"reference": np.asarray(reference, np.float64), "estimate": np.asarray(estimate, np.float64)}
    for name, signal in signals.items():
        if signal.ndim != 1:
            raise ValueError(f"the {name} has the shape {signal.shape}: metrics take mono (samples,); score channels apart")
        if sample_rate_hz <= 0:
            raise ValueError(f"the sample rate is {sample_rate_hz} Hz: give a positive one")
        num_bad = int(np.count_nonzero(~np.isfinite(signal)))
        if num_bad:
            raise Unscorable(f"{num_bad} of {len(signal)} samples of the {name} are not finite")
    lengths = [len(signal) for signal in signals.values()]
    if lengths[0] != lengths[1]:
        raise ValueError(f"the reference has {lengths[0]} samples, the estimate {lengths[1]}: cut or align them first")
    return signals["reference"], signals["estimate"]


def check_length(num_samples: int, sample_rate_hz: int, shortest_s: float) -> None:
    """Unscorable for a clip that is too short."""
    if num_samples < shortest_s * sample_rate_hz:
        raise Unscorable(f"{num_samples / sample_rate_hz:.3g} s is shorter than {shortest_s:g} s")


def check_sound(**signals: np.ndarray) -> None:
    """Unscorable where one of these is silent, by its name."""
    for name, signal in signals.items():
        if not len(signal) or float(np.mean(np.square(signal))) < 10 ** (SILENCE_DB / 10):
            raise Unscorable(f"the {name} is silent")


def at_rate(signal: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """The signal at another sample rate (soxr, HQ)."""
    return signal if from_hz == to_hz else soxr.resample(signal, from_hz, to_hz, quality="HQ")


def magnitudes(signal: np.ndarray, window_samples: int) -> np.ndarray:
    """STFT magnitude `(frames, window / 2 + 1)`: periodic Hann window, hop of a quarter, frames centred, edges reflected.

    Unscorable for a signal too short to be reflected by half a window.
    """
    half = window_samples // 2
    if len(signal) <= half:
        raise Unscorable(f"{len(signal)} samples are fewer than half a window of {window_samples}")
    padded = np.pad(signal, half, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, window_samples)[:: window_samples // 4]
    return np.abs(np.fft.rfft(frames * np.hanning(window_samples + 1)[:-1]))


@lru_cache(16)
def mel_filters(sample_rate_hz: int, window_samples: int, num_bands: int) -> np.ndarray:
    """Triangles of equal area on Slaney's mel scale from 0 Hz to the Nyquist frequency: `(bands, window / 2 + 1)`, read-only.

    Slaney, "Auditory Toolbox" (1998): linear below 1 kHz, logarithmic above; librosa's and the codec literature's default.
    """
    edges_hz = _mel_to_hz(np.linspace(0.0, _hz_to_mel(sample_rate_hz / 2), num_bands + 2))
    bins_hz = np.linspace(0.0, sample_rate_hz / 2, window_samples // 2 + 1)
    low, centre, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    triangles = np.minimum((bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre))
    filters = np.maximum(triangles, 0.0) * 2 / (high - low)
    filters.flags.writeable = False  # shared by the cache
    return filters


KNEE_HZ, LINEAR_HZ = 1000.0, 200 / 3  # where the scale turns logarithmic; Hz in a mel below
LOG_STEP = np.log(6.4) / 27  # of a mel above


def _hz_to_mel(hz: float) -> float:
    return hz / LINEAR_HZ if hz < KNEE_HZ else KNEE_HZ / LINEAR_HZ + float(np.log(hz / KNEE_HZ)) / LOG_STEP


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    knee = KNEE_HZ / LINEAR_HZ
    return np.where(mel < knee, mel * LINEAR_HZ, KNEE_HZ * np.exp(LOG_STEP * (np.maximum(mel, knee) - knee)))
