"""PESQ, as MOS-LQO of the ITU reference code that the package `pesq` wraps.

Wide band is P.862.2 *without* Corrigendum 2 (2018), which later tools apply: name the version beside the number.
Narrow band is P.862 with the mapping of P.862.1.
"""

import numpy as np

from training.metrics.signals import Unscorable, at_rate, check, check_length, check_sound

SHORTEST_S = 0.25
# The C code writes past its tables at the 51st utterance, unchecked. Utterances last 0.2 s and are 0.2 s apart at least, so
# that no signal of this length has so many. A longer one is scored in equal parts.
LONGEST_S = 19.0


def score_wide(reference: np.ndarray, estimate: np.ndarray, sample_rate_hz: int) -> float:
    """Wide-band MOS-LQO at 16 kHz, 1.02 to 4.64. Unscorable: silent, under 0.25 s, or no utterance is found."""
    return _score(reference, estimate, sample_rate_hz, "wb")


def score_narrow(reference: np.ndarray, estimate: np.ndarray, sample_rate_hz: int) -> float:
    """Narrow-band MOS-LQO at 8 kHz, 1.0 to 4.55. Unscorable: silent, under 0.25 s, or no utterance is found."""
    return _score(reference, estimate, sample_rate_hz, "nb")


def _score(reference: np.ndarray, estimate: np.ndarray, sample_rate_hz: int, band: str) -> float:
    from pesq import BufferTooShortError, NoUtterancesError, pesq

    reference, estimate = check(reference, estimate, sample_rate_hz)
    check_length(len(reference), sample_rate_hz, SHORTEST_S)
    check_sound(reference=reference, estimate=estimate)
    rate_hz = 16000 if band == "wb" else 8000
    parts = [_parts(at_rate(signal, sample_rate_hz, rate_hz), rate_hz) for signal in (reference, estimate)]
    scores, refusal = [], "the reference is silent"
    for pair in zip(*parts, strict=True):
        try:
            if np.any(pair[0]):
                scores.append(pesq(rate_hz, *pair, band))
        except (NoUtterancesError, BufferTooShortError) as error:
            refusal = _said(error)
    if not scores:
        raise Unscorable(refusal)
    return float(np.mean(scores))


def _parts(signal: np.ndarray, rate_hz: int) -> list[np.ndarray]:
    return np.array_split(signal, int(np.ceil(len(signal) / (LONGEST_S * rate_hz))))


def _said(error: RuntimeError) -> str:
    return error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
