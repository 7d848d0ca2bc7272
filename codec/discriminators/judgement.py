"""What the discriminators share: a masked 2-D convolution, and what each gives.

With lengths given, positions past a clip's end are zeros before and after every layer, as those that the convolution pads
with: so a clip is judged as it is alone, whatever it is batched with.

Shapes: B clips, C channels, F frames (or rows of a period), W bins of a spectrum (or a period's phases).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

SLOPE = 0.1  # of the leaky ReLU


class Judgement(NamedTuple):
    """What one discriminator says of each clip. A tuple, because ZeRO-3 finds the tensors of tuples only."""

    logits_BFW: Tensor
    features: list[Tensor]  # (B, C, F, W) of each hidden layer; 0 past a clip's end
    num_frames_B: Tensor | None  # of the logits; None: all full


def silenced(x_BCFW: Tensor, num_frames_B: Tensor | None) -> Tensor:
    """Zeros past each clip's end."""
    if num_frames_B is None:
        return x_BCFW
    inside_BF = torch.arange(x_BCFW.shape[2], device=x_BCFW.device) < num_frames_B[:, None]
    return x_BCFW.masked_fill(~inside_BF[:, None, :, None], 0)


class Convolution(nn.Module):
    """Weight-normalised zero-padded convolution over (B, C, F, W); takes and gives the clips' numbers of frames, too."""

    def __init__(self, in_width: int, out_width: int, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1)):
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.convolution = weight_norm(nn.Conv2d(in_width, out_width, kernel, stride, padding))

    def forward(self, x_BCFW: Tensor, num_frames_B: Tensor | None) -> tuple[Tensor, Tensor | None]:
        x_BCFW = self.convolution(x_BCFW)
        if num_frames_B is not None:
            stride = self.convolution.stride[0]
            num_frames_B = (num_frames_B + stride - 1) // stride  # odd kernels, padded by half
        return silenced(x_BCFW, num_frames_B), num_frames_B


class Stack(nn.Module):
    """Convolutions with leaky ReLUs in between; gives every hidden layer."""

    def __init__(self, layers: list[Convolution]):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x_BCFW: Tensor, num_frames_B: Tensor | None) -> tuple[list[Tensor], Tensor | None]:
        features = []
        for layer in self.layers:
            x_BCFW, num_frames_B = layer(x_BCFW, num_frames_B)
            x_BCFW = functional.leaky_relu(x_BCFW, SLOPE)
            features.append(x_BCFW)
        return features, num_frames_B


def spectrogram(wave_BT: Tensor, window_samples: int, num_samples_B: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """Complex STFT (B, F, W) and each clip's number of frames (None: all). Hann window, hop of a quarter of it.

    F = T // hop + 1 frames, centred on multiples of the hop. Past the ends the wave is zero, not its reflection, and frames
    past a clip's last are zero: so frames inside do not depend on where the batch ends.
    """
    hop = window_samples // 4
    with torch.autocast(wave_BT.device.type, enabled=False):
        wave_BT = wave_BT if wave_BT.dtype == torch.float64 else wave_BT.float()
        window = torch.hann_window(window_samples, dtype=wave_BT.dtype, device=wave_BT.device)
        options = {"window": window, "pad_mode": "constant", "return_complex": True}
        spectrum_BWF = torch.stft(wave_BT, window_samples, hop, normalized=True, **options)  # white noise keeps about its level
    num_frames_B = None if num_samples_B is None else num_samples_B // hop + 1
    return silenced(spectrum_BWF.transpose(1, 2)[:, None], num_frames_B)[:, 0], num_frames_B
