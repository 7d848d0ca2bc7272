"""STFT distance: as the mel distance, on the bins themselves (windows of 2048 and 512 samples; Kumar et al., NeurIPS 2023)."""

import numpy as np

from training.metrics.mel_distance import log_and_linear
from training.metrics.signals import check, magnitudes

WINDOWS_SAMPLES = (2048, 512)


def score(reference: np.ndarray, estimate: np.ndarray, sample_rate_hz: int) -> float:
    """0 for equal signals, larger is worse. Unscorable for 1024 samples or fewer."""
    signals = check(reference, estimate, sample_rate_hz)
    return sum(log_and_linear(*(magnitudes(signal, window) for signal in signals)) for window in WINDOWS_SAMPLES)
