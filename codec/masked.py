"""Layers that mix positions, for batches of clips of unequal length: within a clip the result is that of the clip alone.

Each takes `num_frames_B`, the length of each clip at the layer's input; None says that every clip fills the batch and takes the
fast path. What stands past a clip's end is never read, and what comes out there means nothing.

Shapes: B clips, D channels, F frames.
"""

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn


def inside_BF(num_frames_B: Tensor, num_frames: int) -> Tensor:
    """True where a position lies inside its clip, (B, num_frames)."""
    return torch.arange(num_frames, device=num_frames_B.device) < num_frames_B[:, None]


def silenced(x_BDF: Tensor, num_frames_B: Tensor | None) -> Tensor:
    """Zeros past each clip's end, whatever stood there (NaN too)."""
    if num_frames_B is None:
        return x_BDF
    return x_BDF.masked_fill(~inside_BF(num_frames_B, x_BDF.shape[-1])[:, None], 0)


class MaskedConv1d(nn.Conv1d):
    """Zero padded convolution that keeps the frames (F -> F / stride); stride must divide the length of every clip."""

    def __init__(self, in_width: int, out_width: int, kernel_size: int, *, stride: int = 1, groups: int = 1, bias: bool = True):
        padding = (kernel_size - 1) // 2
        super().__init__(in_width, out_width, kernel_size, stride, padding, groups=groups, bias=bias)

    def forward(self, x_BDF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        return super().forward(silenced(x_BDF, num_frames_B) if self.kernel_size[0] > 1 else x_BDF)


class MaskedConvTranspose1d(nn.ConvTranspose1d):
    """Zero padded transposed convolution, kernel 2 * stride (F -> F * stride)."""

    def __init__(self, in_width: int, out_width: int, stride: int):
        padding, rest = (stride + 1) // 2, stride % 2
        super().__init__(in_width, out_width, 2 * stride, stride, padding, output_padding=rest)

    def forward(self, x_BDF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        return super().forward(silenced(x_BDF, num_frames_B))


class ReflectConv1d(nn.Conv1d):
    """Convolution whose input is continued at both ends of each clip by its own reflection (F -> F / stride).

    Of the kernel_size - stride padded frames the larger half is on the left, as in EnCodec (arXiv 2210.13438). Every clip must
    be longer than that half, and stride must divide its length.
    """

    def __init__(self, in_width: int, out_width: int, kernel_size: int, stride: int = 1):
        super().__init__(in_width, out_width, kernel_size, stride)
        self.right = (kernel_size - stride) // 2
        self.left = kernel_size - stride - self.right

    def forward(self, x_BDF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        if not self.left:
            return super().forward(x_BDF)
        if num_frames_B is None:
            return super().forward(nnf.pad(x_BDF, (self.left, self.right), mode="reflect"))
        return super().forward(self._reflected(x_BDF, num_frames_B))

    def _reflected(self, x_BDF: Tensor, num_frames_B: Tensor) -> Tensor:
        silent_BDF = nnf.pad(silenced(x_BDF, num_frames_B), (0, self.right))
        after_R = torch.arange(self.right, device=x_BDF.device)
        end_B1R = num_frames_B[:, None, None]
        to_BDR = (end_B1R + after_R).expand(-1, x_BDF.shape[1], -1)
        from_BDR = (end_B1R - 2 - after_R).expand(-1, x_BDF.shape[1], -1)
        return nnf.pad(silent_BDF.scatter(2, to_BDR, silent_BDF.gather(2, from_BDR)), (self.left, 0), mode="reflect")


class MaskedGroupNorm(nn.GroupNorm):
    """GroupNorm whose mean and variance are those of the frames inside each clip."""

    def forward(self, x_BDF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        if num_frames_B is None:
            return super().forward(x_BDF)
        grouped_BGEF = silenced(x_BDF, num_frames_B).float().unflatten(1, (self.num_groups, -1))
        count_B111 = (num_frames_B * grouped_BGEF.shape[2])[:, None, None, None]
        mean_BG11 = grouped_BGEF.sum((2, 3), keepdim=True) / count_B111
        inside_B11F = inside_BF(num_frames_B, x_BDF.shape[-1])[:, None, None]
        centred_BGEF = (grouped_BGEF - mean_BG11) * inside_B11F
        variance_BG11 = centred_BGEF.square().sum((2, 3), keepdim=True) / count_B111
        normal_BDF = (centred_BGEF * (variance_BG11 + self.eps).rsqrt()).flatten(1, 2).to(x_BDF.dtype)
        return normal_BDF * self.weight[:, None] + self.bias[:, None]
