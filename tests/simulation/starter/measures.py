"""What the starter sounds are heard to be, in numbers."""

import numpy as np
import scipy.signal


def spectrum(audio: np.ndarray, sample_rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz and power over the whole signal."""
    samples = np.ravel(audio).astype(np.float64)
    return scipy.signal.welch(samples, sample_rate_hz, nperseg=min(len(samples), 8192))


def centroid_hz(audio: np.ndarray, sample_rate_hz: int) -> float:
    """The mean frequency, weighted by power."""
    hz, power = spectrum(audio, sample_rate_hz)
    return float((hz * power).sum() / power.sum())


def peak_hz(audio: np.ndarray, sample_rate_hz: int) -> float:
    """The frequency with the most power."""
    samples = np.ravel(audio).astype(np.float64)
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    return float(np.argmax(power) * sample_rate_hz / len(samples))


def flatness(audio: np.ndarray, sample_rate_hz: int, low_hz: float = 100.0, high_hz: float = 10_000.0) -> float:
    """Geometric over arithmetic mean of the power: 1 for white noise, near 0 for tones."""
    hz, power = spectrum(audio, sample_rate_hz)
    power = power[(hz >= low_hz) & (hz <= high_hz)] + 1e-20
    return float(np.exp(np.log(power).mean()) / power.mean())


def onsets(audio: np.ndarray, sample_rate_hz: int, gap_s: float = 0.06, threshold: float = 0.15) -> np.ndarray:
    """Times in s at which the level rises above a share of its peak after at least `gap_s` below it."""
    frame = sample_rate_hz // 200
    samples = np.abs(np.ravel(audio))
    level = samples[: len(samples) // frame * frame].reshape(-1, frame).max(axis=1)
    loud = np.flatnonzero(level > threshold * level.max())
    first = np.insert(np.diff(loud) * 0.005 > gap_s, 0, True)
    return loud[first] * 0.005


def pitch_hz(audio: np.ndarray, sample_rate_hz: int) -> float:
    """Median over voiced frames of the pitch by autocorrelation, 60 to 400 Hz."""
    samples, frame = np.ravel(audio).astype(np.float64), int(0.05 * sample_rate_hz)
    low, high = sample_rate_hz // 400, sample_rate_hz // 60
    found = []
    for start in range(0, len(samples) - frame, frame // 2):
        part = samples[start : start + frame] * np.hanning(frame)
        together = scipy.signal.correlate(part, part, method="fft")[frame - 1 :]
        lag = low + int(np.argmax(together[low:high]))
        if together[0] > 1e-3 * frame * samples.var() and together[lag] > 0.5 * together[0]:
            found.append(sample_rate_hz / lag)
    return float(np.median(found))
