"""A lower sample rate, by a whole ratio: what the 48 kHz codec's semantic teacher hears.

Shapes: B clips, T samples, N taps of the filter.
"""

import torch
import torch.nn.functional as nnf
from torch import Tensor

from codec.masked import silenced

NUM_CROSSINGS = 64  # of the sinc at each side of its middle
PASSBAND = 0.95  # cut-off, as a share of the new Nyquist frequency
KAISER_BETA = 9.0  # whose stop band is 90 dB down


def downsample(wave_BT: Tensor, ratio: int, num_samples_B: Tensor | None = None) -> Tensor:
    """(B, T) -> (B, ceil(T / ratio)), in float32: every `ratio`-th sample after a linear-phase low pass, without delay.

    Past both ends of a clip stand zeros, so that in a padded batch it is resampled as it is alone; what comes out past its end
    means nothing. ValueError if `ratio` is not a positive integer.
    """
    if not isinstance(ratio, int) or ratio < 1:
        raise ValueError(f"resampling by {ratio}: give a whole number of input samples for each output sample, 1 or more")
    wave_B1T = silenced(wave_BT[:, None], num_samples_B).float()
    if ratio == 1:
        return wave_B1T[:, 0]
    taps_N = low_pass(ratio).to(wave_BT.device)
    return nnf.conv1d(wave_B1T, taps_N[None, None], stride=ratio, padding=len(taps_N) // 2)[:, 0]


def low_pass(ratio: int) -> Tensor:
    """Sinc under a Kaiser window, an odd number of taps whose sum is 1."""
    half = NUM_CROSSINGS * ratio
    offsets_N = torch.arange(-half, half + 1, dtype=torch.float64)
    window_N = torch.kaiser_window(2 * half + 1, periodic=False, beta=KAISER_BETA, dtype=torch.float64)
    taps_N = torch.sinc(offsets_N * PASSBAND / ratio) * window_N
    return (taps_N / taps_N.sum()).float()
