"""Band limit: what is left of a signal that passed through a lower sample rate."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import msgspec
import numpy as np
import scipy.fft
import scipy.signal
import soxr

from simulation.seeds import Rng

Filter = Literal["soxr_hq", "soxr_mq", "soxr_lq", "butterworth", "chebyshev", "elliptic"]

# IIR filters run forwards and backwards: twice their attenuation, no delay. Each is at least 38 dB down at the limit or
# soon above it, with another slope and ripple below it.
_DESIGNS = {
    "butterworth": lambda limit: scipy.signal.butter(8, 0.8 * limit, output="sos"),
    "chebyshev": lambda limit: scipy.signal.cheby1(8, 0.25, 0.95 * limit, output="sos"),
    "elliptic": lambda limit: scipy.signal.ellip(6, 0.25, 20, 0.98 * limit, output="sos"),
}
_EDGE = 0.25  # -6 dB
_NOTHING = 1e-10  # of the strongest band: no content to tell a filter by
_MAX_FRAMES = 32
_KEEP_NORMAL = 1e-25
_SILENT = 1e-12


@dataclass(frozen=True)
class BandLimitRange:
    """What may be drawn: the lower sample rate (4, 8, 16 kHz in UniSE, arXiv 2510.20441; 24 and 32 kHz for full-band tasks)
    and the filter, so that a model does not learn one of them."""

    probability: float = 0.3
    sample_rates_hz: tuple[int, ...] = (4000, 8000, 16000, 24000, 32000)
    filters: tuple[Filter, ...] = ("soxr_hq", "soxr_mq", "soxr_lq", "butterworth", "chebyshev", "elliptic")

    def draw(self, rng: Rng, sample_rate_hz: int) -> "BandLimit | None":
        """None where nothing is lost: the task's own rate counts among the choices, as published, higher ones do not."""
        offered = [rate for rate in self.sample_rates_hz if rate <= sample_rate_hz]
        lower = offered[int(rng("band_limit", "rate").integers(len(offered)))] if offered else sample_rate_hz
        if lower == sample_rate_hz:
            return None
        return BandLimit(lower, self.filters[int(rng("band_limit", "filter").integers(len(self.filters)))])


class BandLimit(msgspec.Struct, frozen=True, tag="band_limit"):
    """The signal without what a sample rate of `sample_rate_hz` cannot hold: `(channels, samples)` in and out, no delay."""

    sample_rate_hz: int
    filter: Filter

    def __call__(self, audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
        if self.sample_rate_hz >= sample_rate_hz:
            return audio.copy()
        return np.stack([self._limited(channel, sample_rate_hz) for channel in audio])

    def _limited(self, channel: np.ndarray, sample_rate_hz: int) -> np.ndarray:
        if self.filter in _DESIGNS:
            sos = _design(self.filter, self.sample_rate_hz / sample_rate_hz)
            padding = min(3 * (2 * len(sos) + 1), len(channel) - 1)
            # a constant keeps the filter's memory of silence off subnormal numbers, which are up to 25 times as slow
            out = scipy.signal.sosfiltfilt(sos, channel + _KEEP_NORMAL, padlen=padding)
            return np.where(np.abs(out) > _SILENT, out, 0.0).astype(np.float32)
        quality = self.filter.removeprefix("soxr_").upper()
        low = soxr.resample(channel, sample_rate_hz, self.sample_rate_hz, quality=quality)
        return to_length(soxr.resample(low, self.sample_rate_hz, sample_rate_hz, quality=quality), len(channel))

    def requested(self) -> dict[str, float]:
        """Half of the lower sample rate; filters end 3 to 21 % below it."""
        return {"bandwidth_hz": self.sample_rate_hz / 2}

    def measure(self, before: np.ndarray, after: np.ndarray, sample_rate_hz: int) -> dict[str, float]:
        """The -6 dB point of long-term spectra, after over before; nothing where `before` had no content up there."""
        found = bandwidth_hz(before, after, sample_rate_hz)
        return {} if found is None else {"bandwidth_hz": found}


def bandwidth_hz(before: np.ndarray, after: np.ndarray, sample_rate_hz: int) -> float | None:
    """Up to where `after` keeps at least -6 dB of the long-term spectrum of `before`, in steps of 125 Hz.

    None where `before` has nothing above that point which could have been lost.
    """
    above, below = _band_powers(after, sample_rate_hz), _band_powers(before, sample_rate_hz)
    told = np.flatnonzero(below > _NOTHING * below.max(initial=0.0))
    kept = told[above[told] > _EDGE * below[told]]
    if not kept.size or kept[-1] == told[-1]:
        return None
    return float((kept[-1] + 1) * sample_rate_hz / 2 / len(below))


def to_length(samples: np.ndarray, num_samples: int) -> np.ndarray:
    """Trim or zero-pad the end of `(samples,)`: resamplers and codecs round lengths their own way."""
    if len(samples) >= num_samples:
        return samples[:num_samples]
    return np.pad(samples, (0, num_samples - len(samples)))


@lru_cache(maxsize=64)
def _design(name: str, limit: float) -> np.ndarray:
    """Second-order sections for a limit as a share of the Nyquist frequency, rounded so that they are the same everywhere."""
    sos = [[float(f"{value:.12e}") for value in section] for section in _DESIGNS[name](limit)]
    return np.array(sos)


@lru_cache(maxsize=8)
def _window(length: int) -> np.ndarray:
    return scipy.signal.get_window("hann", length).astype(np.float32)


def _band_powers(audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Long-term power in bands of about 125 Hz from up to 32 frames of 64 ms, channels together."""
    length = min(round(0.064 * sample_rate_hz) // 16 * 16, audio.shape[1] // 16 * 16)
    if not length:
        return np.zeros(0)
    num_frames = min(_MAX_FRAMES, audio.shape[1] // length)
    starts = np.linspace(0, audio.shape[1] - length, num_frames).astype(int)
    frames = np.stack([audio[:, start : start + length] for start in starts])
    spectrum = scipy.fft.rfft(frames * _window(length))
    powers = (spectrum.real**2 + spectrum.imag**2).sum(axis=(0, 1))[: length // 2]
    return powers.reshape(-1, 8).sum(axis=1).astype(np.float64)
