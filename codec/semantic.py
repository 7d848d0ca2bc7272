"""Convolutions from the semantic teacher's feature (50 Hz) to the semantic latent, and their mirror image back.

Shapes: B clips, D channels, F frames.
"""

import torch.nn.functional as nnf
from torch import Tensor, nn

from codec.config import CodecConfig
from codec.masked import MaskedConv1d, MaskedConvTranspose1d


class ResidualUnit(nn.Module):
    """ELU, convolution of 3 frames, ELU, convolution of 1, added to the input."""

    def __init__(self, width: int):
        super().__init__()
        self.wide = MaskedConv1d(width, width, 3, bias=False)
        self.point = MaskedConv1d(width, width, 1, bias=False)

    def forward(self, x_BDF: Tensor, num_frames_B: Tensor | None) -> Tensor:
        return x_BDF + self.point(nnf.elu(self.wide(nnf.elu(x_BDF), num_frames_B)))


class DownBlock(nn.Module):
    """Two residual units, then a convolution that divides the frames by the stride."""

    def __init__(self, width: int, stride: int):
        super().__init__()
        self.units = nn.ModuleList(ResidualUnit(width) for _ in range(2))
        self.conv = MaskedConv1d(width, width, 3 if stride == 1 else 2 * stride, stride=stride)

    def forward(self, x_BDF: Tensor, num_frames_B: Tensor | None) -> Tensor:
        for unit in self.units:
            x_BDF = unit(x_BDF, num_frames_B)
        return self.conv(x_BDF, num_frames_B)


class UpBlock(nn.Module):
    """A convolution that multiplies the frames by the stride, then two residual units."""

    def __init__(self, width: int, stride: int):
        super().__init__()
        self.stride = stride
        self.conv = MaskedConv1d(width, width, 3) if stride == 1 else MaskedConvTranspose1d(width, width, stride)
        self.units = nn.ModuleList(ResidualUnit(width) for _ in range(2))

    def forward(self, x_BDF: Tensor, num_frames_B: Tensor | None) -> Tensor:
        x_BDF = self.conv(x_BDF, num_frames_B)
        for unit in self.units:
            x_BDF = unit(x_BDF, scaled(num_frames_B, self.stride))
        return x_BDF


class SemanticEncoder(nn.Module):
    """(B, teacher width, F) at 50 Hz -> (B, latent width, F / product of the strides), which must divide F of each clip."""

    def __init__(self, config: CodecConfig):
        super().__init__()
        width = config.semantic.width
        self.conv_in = MaskedConv1d(config.teacher.width, width, 3, bias=False)
        self.strides = config.semantic.strides
        self.blocks = nn.ModuleList(DownBlock(width, stride) for stride in self.strides)
        self.conv_out = MaskedConv1d(width, config.latent_width, 3, bias=False)

    def forward(self, feature_BDF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        """`num_frames_B` counts frames at 50 Hz."""
        x_BDF = self.conv_in(feature_BDF, num_frames_B)
        for block, stride in zip(self.blocks, self.strides):
            x_BDF = block(x_BDF, num_frames_B)
            num_frames_B = None if num_frames_B is None else num_frames_B // stride
        return self.conv_out(x_BDF, num_frames_B)


class SemanticDecoder(nn.Module):
    """(B, latent width, F) -> (B, teacher width, F * product of the strides) at 50 Hz."""

    def __init__(self, config: CodecConfig):
        super().__init__()
        width = config.semantic.width
        self.conv_in = MaskedConv1d(config.latent_width, width, 3, bias=False)
        self.blocks = nn.ModuleList(UpBlock(width, stride) for stride in config.semantic.strides)
        self.conv_out = MaskedConv1d(width, config.teacher.width, 3, bias=False)

    def forward(self, latent_BDF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        """`num_frames_B` counts frames of the latent."""
        x_BDF = self.conv_in(latent_BDF, num_frames_B)
        for block in self.blocks:
            x_BDF = block(x_BDF, num_frames_B)
            num_frames_B = scaled(num_frames_B, block.stride)
        return self.conv_out(x_BDF, num_frames_B)


def scaled(num_frames_B: Tensor | None, factor: int) -> Tensor | None:
    """Lengths after the frames were multiplied; None stays None."""
    return None if num_frames_B is None else num_frames_B * factor
