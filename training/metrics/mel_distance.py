"""Mel distance as codec papers state it: L1 between mel spectrograms, magnitude plus log, two windows.

The definition of the evaluation of descript-audio-codec (Kumar et al., "High-Fidelity Audio Compression with Improved RVQGAN",
NeurIPS 2023): windows of 2048 and 512 samples with 150 and 80 bands; for each, mean |x - y| plus mean |log10 x^2 - log10 y^2|,
magnitudes not below 1e-5. The windows are in samples, so figures compare only at equal sample rates.
"""

import numpy as np

from training.metrics.signals import check, magnitudes, mel_filters

SCALES = ((2048, 150), (512, 80))  # window in samples, bands
FLOOR = 1e-5


def score(reference: np.ndarray, estimate: np.ndarray, sample_rate_hz: int) -> float:
    """0 for equal signals, larger is worse. Unscorable for 1024 samples or fewer."""
    signals = check(reference, estimate, sample_rate_hz)
    distance = 0.0
    for window_samples, num_bands in SCALES:
        filters = mel_filters(sample_rate_hz, window_samples, num_bands)
        distance += log_and_linear(*(magnitudes(signal, window_samples) @ filters.T for signal in signals))
    return distance


def log_and_linear(x: np.ndarray, y: np.ndarray) -> float:
    """Mean absolute difference of two spectra plus that of their log10 powers."""
    logs = [2 * np.log10(np.maximum(spectrum, FLOOR)) for spectrum in (x, y)]
    return float(np.abs(x - y).mean() + np.abs(logs[0] - logs[1]).mean())
