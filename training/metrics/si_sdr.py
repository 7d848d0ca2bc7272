"""Scale-invariant signal-to-distortion ratio (Le Roux et al., "SDR: half-baked or well done?", ICASSP 2019), means removed."""

import numpy as np

from training.metrics.signals import Unscorable, check

LIMIT_DB = 100.0  # where equality up to a gain, or no trace of the reference, would be infinite


def score(reference: np.ndarray, estimate: np.ndarray, sample_rate_hz: int) -> float:
    """dB in [-100, 100], higher is better. Unscorable where either signal is constant: its ratio is 0 / 0."""
    reference, estimate = (signal - signal.mean() for signal in _sounding(*check(reference, estimate, sample_rate_hz)))
    projection = reference * (estimate @ reference / (reference @ reference))
    target, noise = float(projection @ projection), float(np.square(estimate - projection).sum())
    limit = 10 ** (LIMIT_DB / 10)
    if target >= limit * noise:
        return LIMIT_DB
    return 10 * float(np.log10(max(target / noise, 1 / limit)))


def _sounding(*signals: np.ndarray) -> tuple[np.ndarray, ...]:
    for name, signal in zip(("reference", "estimate"), signals):
        if not len(signal) or signal.min() == signal.max():
            raise Unscorable(f"the {name} is silent")
    return signals
