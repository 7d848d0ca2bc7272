"""Two trivial systems that stand in a codec's table: what telephone bandwidth gives, and what a mel spectrogram gives.

Neither quantises anything: the first keeps 8000 real numbers a second, the second 6400.
"""

# T samples, F frames, N frequency bins, M mel bands

import numpy as np
import soxr
import torch
from torch import Tensor

from training.keys import key
from training.metrics.signals import mel_filters

NARROW_HZ = 8000
NUM_BANDS, WINDOW_S, HOP_S = 80, 0.05, 0.0125  # Wang et al., "Tacotron" (2017)
NUM_ITERATIONS, MOMENTUM, NUM_UPDATES = 32, 0.99, 50


def narrow_band(wave: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Resampled to 8 kHz and back, so that nothing above 4 kHz is left; float32 `(samples,)`."""
    narrow = soxr.resample(np.asarray(wave, np.float32), sample_rate_hz, NARROW_HZ, quality="HQ")
    wide = soxr.resample(narrow, NARROW_HZ, sample_rate_hz, quality="HQ")[: len(wave)]
    return np.pad(wide, (0, len(wave) - len(wide)))


def griffin_lim(wave: np.ndarray, sample_rate_hz: int, seed: int = 0) -> np.ndarray:
    """The wave anew from its mel spectrogram (80 bands to the Nyquist frequency, 50 ms every 12.5 ms), float32 `(samples,)`.

    Bins from bands by non-negative least squares (Lee and Seung, "Algorithms for non-negative matrix factorization", 2001),
    phases by the fast Griffin-Lim algorithm (Perraudin et al., WASPAA 2013) from keyed random ones. ValueError for a clip of
    less than half a window.
    """
    window_samples, hop = 2 * round(WINDOW_S * sample_rate_hz / 2), round(HOP_S * sample_rate_hz)
    if len(wave) <= window_samples // 2:
        raise ValueError(f"{len(wave)} samples: give more than half a window of {window_samples}")
    window = torch.hann_window(window_samples)
    options = {"n_fft": window_samples, "hop_length": hop, "window": window}
    wave_T = torch.tensor(np.asarray(wave, np.float32))
    magnitude_NF = torch.stft(wave_T, **options, return_complex=True).abs()
    filters_MN = torch.tensor(mel_filters(sample_rate_hz, window_samples, NUM_BANDS), dtype=torch.float32)
    magnitude_NF = _bins_of(filters_MN @ magnitude_NF, filters_MN)

    phases = torch.Generator().manual_seed(key(seed, "griffin-lim", len(wave)))
    spectrum_NF = torch.polar(torch.ones_like(magnitude_NF), 2 * torch.pi * torch.rand(magnitude_NF.shape, generator=phases))
    previous_NF = torch.zeros_like(spectrum_NF)
    for _ in range(NUM_ITERATIONS):
        heard_T = torch.istft(magnitude_NF * spectrum_NF, **options, length=len(wave))
        consistent_NF = torch.stft(heard_T, **options, return_complex=True)
        spectrum_NF = consistent_NF - MOMENTUM / (1 + MOMENTUM) * previous_NF
        spectrum_NF = spectrum_NF / spectrum_NF.abs().clamp(min=1e-16)
        previous_NF = consistent_NF
    return torch.istft(magnitude_NF * spectrum_NF, **options, length=len(wave)).numpy()


def _bins_of(mel_MF: Tensor, filters_MN: Tensor) -> Tensor:
    """Non-negative bins whose bands come nearest to these: `(bins, frames)`."""
    magnitude_NF = (filters_MN.T @ mel_MF).clamp(min=1e-10)
    for _ in range(NUM_UPDATES):
        magnitude_NF = magnitude_NF * (filters_MN.T @ mel_MF) / (filters_MN.T @ (filters_MN @ magnitude_NF)).clamp(min=1e-10)
    return magnitude_NF
