"""AECMOS (Purin et al., ICASSP 2022): a network's guess of how people rate echo, and other harm, after echo cancellation.

The weights come inside the package `speechmos` (the 16 kHz network that is told who talks). It hears what the loudspeaker
played and the microphone's signal beside the estimate; of a longer clip the first 20 s.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from training.metrics.dnsmos import session
from training.metrics.signals import SILENCE_DB, at_rate, check, check_length, check_sound

RATE_HZ, SHORTEST_S, LONGEST_S = 16000, 1.0, 20.0
TalkType = Literal["st", "nst", "dt"]  # far end alone, near end alone, both


@dataclass(frozen=True)
class Rating:
    """From 1 to 5: how little echo is heard, and how little else is damaged."""

    echo: float
    other: float


def talk_type(target: np.ndarray, loopback: np.ndarray) -> TalkType:
    """Who talks, told from which of the two is silent."""
    silent = [not len(one) or float(np.mean(np.square(one))) < 10 ** (SILENCE_DB / 10) for one in (target, loopback)]
    return "st" if silent[0] else "nst" if silent[1] else "dt"


def rate(loopback: np.ndarray, microphone: np.ndarray, estimate: np.ndarray, *, sample_rate_hz: int, talk: TalkType) -> Rating:
    """Waves `(samples,)` of one time. ValueError for unequal lengths. Unscorable: under 1 s, not finite, microphone silent."""
    loopback, _ = check(loopback, estimate, sample_rate_hz)
    microphone, estimate = check(microphone, estimate, sample_rate_hz)
    check_length(len(estimate), sample_rate_hz, SHORTEST_S)
    check_sound(microphone=microphone)
    waves = [np.clip(at_rate(one, sample_rate_hz, RATE_HZ), -1, 1) for one in (loopback, microphone, estimate)]
    heard = [wave[: round(LONGEST_S * RATE_HZ) - 1].astype(np.float32) for wave in waves]
    return _rating(talk, *(wave.tobytes() for wave in heard))


@lru_cache(2)  # both ratings are asked for, one after the other
def _rating(talk: str, *waves: bytes) -> Rating:
    loopback, microphone, estimate = (np.frombuffer(wave, np.float32) for wave in waves)
    return Rating(*_network()._get_mos(talk, loopback, microphone, estimate))


@lru_cache(1)
def _network():
    from speechmos.aecmos import AECMOS

    network = AECMOS("aecmos_16kHz")
    network.ort_session = session(network.model_path)  # theirs takes every core
    return network
