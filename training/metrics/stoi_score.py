"""Short-time objective intelligibility (Taal et al., 2011), also extended (Jensen and Taal, 2016), by `pystoi` at 10 kHz."""

import warnings

import numpy as np

from training.metrics.signals import Unscorable, at_rate, check, check_sound

RATE_HZ = 10000  # of the definition


def score(reference: np.ndarray, estimate: np.ndarray, sample_rate_hz: int) -> float:
    """STOI, at most 1. Unscorable: silent, or fewer than 30 frames (0.41 s) of the reference within 40 dB of its loudest."""
    return _score(reference, estimate, sample_rate_hz, extended=False)


def score_extended(reference: np.ndarray, estimate: np.ndarray, sample_rate_hz: int) -> float:
    """ESTOI, at most 1; for modulated noise. Unscorable as STOI."""
    return _score(reference, estimate, sample_rate_hz, extended=True)


def _score(reference: np.ndarray, estimate: np.ndarray, sample_rate_hz: int, extended: bool) -> float:
    from pystoi import stoi

    reference, estimate = check(reference, estimate, sample_rate_hz)
    check_sound(reference=reference, estimate=estimate)
    pair = [at_rate(signal, sample_rate_hz, RATE_HZ) for signal in (reference, estimate)]
    if len(pair[0]) <= 256:  # not one frame, which pystoi does not survive
        raise Unscorable(f"{len(pair[0]) / RATE_HZ:.3g} s is shorter than a frame")
    state = np.random.get_state()
    np.random.seed(0)  # pystoi adds noise of 2e-16 from the global generator: that must neither differ nor disturb others
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # pystoi only warns of too few frames and answers 1e-5
            return float(stoi(*pair, RATE_HZ, extended=extended))
    except RuntimeWarning:
        raise Unscorable("fewer than 30 frames (0.41 s) of the reference are not silent") from None
    finally:
        np.random.set_state(state)
