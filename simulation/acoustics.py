"""What can be measured in a room impulse response, however it was made: direct path, reverberation time, direct-to-reverberant ratio.

All take a response `(samples,)` and its rate. Values are rounded: they become labels, which must not hang on a last bit.
"""

import math

import numpy as np

SPEED_OF_SOUND_M_S = 343.0
DIRECT_S = 0.0025  # either side of its peak a direct path is taken to end (the convention of the ACE challenge is 8 ms in all)
ONSET_DB = 12.0  # how far below the loudest sample the direct path may lie; pre-ringing of filters stays 13 dB below its peak
BLOCK_S = 0.001  # resolution of the decay curve
NOISE_MARGIN_DB = 10.0  # a fit ends this far above the noise floor (ISO 3382-2 asks 15 for T30, Lundeby et al. take 5-10)


def sabine_rt60_s(size_m: tuple[float, float, float], absorption: float) -> float:
    """Reverberation time of a shoebox with one absorption coefficient on all walls (Sabine 1898)."""
    x, y, z = size_m
    return 24 * math.log(10) / SPEED_OF_SOUND_M_S * x * y * z / (2 * (x * y + y * z + z * x) * absorption)


def direct_index(response: np.ndarray) -> int:
    """The sample of the direct path: the first local peak within 12 dB of the loudest. ValueError for silence."""
    magnitude = np.abs(response)
    peak = float(magnitude.max(initial=0.0))
    if not 0 < peak < math.inf:
        raise ValueError(f"a room response peaks at {peak}: silent or damaged, it has no direct path")
    onset = int(np.argmax(magnitude >= peak * 10 ** (-ONSET_DB / 20)))
    falls = np.flatnonzero(np.diff(magnitude[onset:]) < 0)
    return onset + (int(falls[0]) if len(falls) else len(magnitude) - 1 - onset)


def drr_db(response: np.ndarray, sample_rate_hz: int) -> float:
    """Energy within 2.5 ms of the direct path over all that follows, in dB; 100 where nothing follows."""
    response = _decay(response, sample_rate_hz)
    width = round(DIRECT_S * sample_rate_hz)
    direct = direct_index(response)
    squares = np.square(response, dtype=np.float64)
    first, end = max(direct - width, 0), direct + width + 1
    rest = float(squares[end:].sum())
    return round(10 * math.log10(float(squares[first:end].sum()) / rest), 3) if rest else 100.0
