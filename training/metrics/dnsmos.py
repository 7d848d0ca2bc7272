"""DNSMOS P.835 (Reddy et al., ICASSP 2022): a network's guess of how people rate speech, background and both.

The weights come inside the package `speechmos`. Windows of 9.01 s every second, their ratings averaged; a shorter clip is
repeated, as the published script does. DNSMOS alone misleads: generated speech with wrong words rates well.
"""

import importlib.util
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from training.metrics.signals import at_rate, check, check_length, check_sound

RATE_HZ, WINDOW_SAMPLES = 16000, 144160
SHORTEST_S = 1.0  # ours: what is repeated nine times should be more than a syllable
# From the network's outputs to the scale of P.835, fitted by its authors (their polynomials, highest power first).
TO_SIGNAL, TO_BACKGROUND, TO_OVERALL = (
    (-0.08397278, 1.22083953, 0.0052439),
    (-0.13166888, 1.60915514, -0.39604546),
    (-0.06766283, 1.11546468, 0.04602535),
)


@dataclass(frozen=True)
class Opinion:
    """Ratings from 1 to 5."""

    signal: float
    background: float
    overall: float


def score_signal(reference: np.ndarray, estimate: np.ndarray, sample_rate_hz: int) -> float:
    """SIG of the estimate; the reference is not heard. Unscorable: silent or under 1 s."""
    return _opinion_of(reference, estimate, sample_rate_hz).signal


def score_background(reference: np.ndarray, estimate: np.ndarray, sample_rate_hz: int) -> float:
    """BAK of the estimate; the reference is not heard. Unscorable: silent or under 1 s."""
    return _opinion_of(reference, estimate, sample_rate_hz).background


def score_overall(reference: np.ndarray, estimate: np.ndarray, sample_rate_hz: int) -> float:
    """OVRL of the estimate; the reference is not heard. Unscorable: silent or under 1 s."""
    return _opinion_of(reference, estimate, sample_rate_hz).overall


def _opinion_of(reference: np.ndarray, estimate: np.ndarray, sample_rate_hz: int) -> Opinion:
    _, estimate = check(reference, estimate, sample_rate_hz)
    check_length(len(estimate), sample_rate_hz, SHORTEST_S)
    check_sound(estimate=estimate)
    heard = np.clip(at_rate(estimate, sample_rate_hz, RATE_HZ), -1.0, 1.0)  # as a file would hold it
    return _opinion(heard.astype(np.float32).tobytes())


@lru_cache(2)  # the three metrics ask for the same clip one after the other
def _opinion(samples: bytes) -> Opinion:
    signal = np.frombuffer(samples, np.float32)
    while len(signal) < WINDOW_SAMPLES:
        signal = np.concatenate([signal, signal])
    num_windows = int(math.floor(len(signal) / RATE_HZ) - WINDOW_SAMPLES / RATE_HZ) + 1
    starts = (n * RATE_HZ for n in range(num_windows))
    windows = [signal[start : start + WINDOW_SAMPLES].tobytes() for start in starts]
    rated = {window: _rate(window) for window in dict.fromkeys(windows)}  # those of a repeated clip come again
    outputs = np.asarray([rated[window] for window in windows], np.float64).T
    return Opinion(
        *(float(np.polyval(fit, column).mean()) for fit, column in zip((TO_SIGNAL, TO_BACKGROUND, TO_OVERALL), outputs))
    )


def _rate(window: bytes) -> np.ndarray:
    return _network().run(None, {"input_1": np.frombuffer(window, np.float32)[None]})[0][0]


@lru_cache(1)
def _network():
    return session(Path(importlib.util.find_spec("speechmos").origin).parent / "dnsmos_models" / "sig_bak_ovr.onnx")


def session(path: str | Path):
    """An ONNX network on one thread: processes are what runs at once, see scoring.py, and sums keep their order."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
