"""PLCMOS v2 (Diener et al., Interspeech 2023): a network's guess of how people rate speech whose gaps were concealed.

The weights come inside the package `speechmos`. The network asks for the embedding of a rater; as the published script does,
15 are drawn and their answers averaged, here always the same 15.
"""

import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np

from training.keys import generator
from training.metrics.dnsmos import session
from training.metrics.signals import at_rate, check, check_length, check_sound

RATE_HZ, SHORTEST_S = 16000, 1.0
NUM_RATERS, RATER_WIDTH = 15, 64
WINDOW, HOP = 512, 256
FLOOR_DB = 120.0  # of a bin without power, below the weakest that has some


def score(reference: np.ndarray, estimate: np.ndarray, sample_rate_hz: int) -> float:
    """1 to 5; the reference is not heard. Unscorable: silent or under 1 s."""
    _, estimate = check(reference, estimate, sample_rate_hz)
    check_length(len(estimate), sample_rate_hz, SHORTEST_S)
    check_sound(estimate=estimate)
    heard = np.clip(at_rate(estimate, sample_rate_hz, RATE_HZ), -1.0, 1.0)
    features = log_power(heard)[None, None].astype(np.float32)
    raters = generator("plcmos", "raters").normal(size=(NUM_RATERS, 1, RATER_WIDTH)).astype(np.float32)
    answers = [_network().run(None, {"degraded_audio": features, "rater_embed": rater})[0] for rater in raters]
    return float(np.mean([float(np.squeeze(answer)) for answer in answers]))


def log_power(signal: np.ndarray) -> np.ndarray:
    """(frames, WINDOW / 2 + 1): natural logarithm of the power over 20, as the network was trained on.

    Frames begin one hop before the signal and go on until it ends.
    """
    num_frames = -(-(len(signal) + WINDOW - HOP) // HOP)
    padded = np.zeros((num_frames - 1) * HOP + WINDOW)
    padded[WINDOW - HOP :][: len(signal)] = signal
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    power = np.square(np.abs(np.fft.rfft(frames * np.hamming(WINDOW + 1)[:-1])))
    least = power[power > 0].min(initial=1.0)
    floor = np.log(least) - FLOOR_DB * np.log(10) / 10
    return np.where(power > 0, np.log(np.where(power > 0, power, 1.0)), floor) / 20


@lru_cache(1)
def _network():
    return session(Path(importlib.util.find_spec("speechmos").origin).parent / "plcmos_models" / "plcmos_v2.onnx")
