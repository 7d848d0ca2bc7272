"""Signal-to-distortion ratio of BSS Eval version 3 (Vincent et al., TASLP 2006): a filter of 512 taps is forgiven.

By fast_bss_eval (Scheibler, ICASSP 2022), whose values are those of mir_eval; mir_eval has withdrawn its own.
"""

import numpy as np

from training.metrics.signals import Unscorable, check, check_sound

TAPS = 512
LIMIT_DB = 100.0  # where equality up to a filter would be infinite


def score(reference: np.ndarray, estimate: np.ndarray, sample_rate_hz: int) -> float:
    """dB in [-100, 100], higher is better. Unscorable: silent, or not longer than the filter."""
    import fast_bss_eval

    reference, estimate = check(reference, estimate, sample_rate_hz)
    if len(reference) <= TAPS:
        raise Unscorable(f"{len(reference)} samples are not more than the {TAPS} taps of the filter")
    check_sound(reference=reference, estimate=estimate)
    found = fast_bss_eval.sdr(reference[None], estimate[None], filter_length=TAPS, load_diag=1e-12, clamp_db=LIMIT_DB)
    return float(np.squeeze(found))
