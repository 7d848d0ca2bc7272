"""Decoder of H-Codec 1.0 and 1.5, and the part that 2.0 has in common with it.

Shapes: B clips, D channels, F frames, T samples.
"""

import torch.nn.functional as nnf
from torch import Tensor, nn

from codec.config import CodecConfig, DecoderConfig
from codec.convnext import ConvNext
from codec.istft import IstftHead
from codec.masked import MaskedConv1d, MaskedGroupNorm
from codec.semantic import scaled
from codec.transformer import Transformer

NUM_GROUPS, GROUP_NORM_EPS = 32, 1e-6


class ResnetBlock(nn.Module):
    """Twice GroupNorm, SiLU, convolution of 3 frames; added to the input."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.norms = nn.ModuleList(MaskedGroupNorm(NUM_GROUPS, width, GROUP_NORM_EPS) for _ in range(2))
        self.convs = nn.ModuleList(MaskedConv1d(width, width, 3) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BDF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        y_BDF = self.convs[0](nnf.silu(self.norms[0](x_BDF, num_frames_B)), num_frames_B)
        y_BDF = self.dropout(nnf.silu(self.norms[1](y_BDF, num_frames_B)))
        return x_BDF + self.convs[1](y_BDF, num_frames_B)


class Vocoder(nn.Module):
    """(B, D, F) at the ISTFT's frame rate -> (B, F * hop): residual blocks, a Transformer, ConvNeXt blocks, an ISTFT head."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        width = config.width
        self.before, self.after = (nn.ModuleList(ResnetBlock(width, config.dropout) for _ in range(2)) for _ in range(2))
        self.transformer = Transformer(width, config.num_heads, config.feed_forward_width, config.num_layers)
        self.group_norm = MaskedGroupNorm(NUM_GROUPS, width, GROUP_NORM_EPS)
        self.norm_in = nn.LayerNorm(width, eps=1e-6)
        self.convnext = ConvNext(width, config.inner_width, config.num_blocks)
        self.norm_out = nn.LayerNorm(width, eps=1e-6)
        self.head = IstftHead(width, config.window_samples, config.hop_samples)

    def forward(self, x_BDF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        for block in self.before:
            x_BDF = block(x_BDF, num_frames_B)
        x_BDF = self.transformer(x_BDF, num_frames_B)
        for block in self.after:
            x_BDF = block(x_BDF, num_frames_B)
        x_BFD = self.norm_in(self.group_norm(x_BDF, num_frames_B).transpose(1, 2))
        x_BDF = self.convnext(x_BFD.transpose(1, 2), num_frames_B)
        return self.head(self.norm_out(x_BDF.transpose(1, 2)), num_frames_B)


class SubpixelUp(nn.Module):
    """Doubles the frames: a 1x1 convolution to twice the channels, whose halves become neighbours; a depthwise convolution."""

    def __init__(self, in_width: int, width: int):
        super().__init__()
        self.up = MaskedConv1d(in_width, 2 * width, 1)
        self.depthwise = MaskedConv1d(width, width, 5, groups=width)

    def forward(self, x_BDF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        pairs_B2DF = self.up(x_BDF).unflatten(1, (2, -1))
        return self.depthwise(pairs_B2DF.permute(0, 2, 3, 1).flatten(2), scaled(num_frames_B, 2))


class SubpixelDecoder(nn.Module):
    """Both quantised streams, joined, to the waveform: (B, 2 * latent width, F) -> (B, F * samples per frame)."""

    def __init__(self, config: CodecConfig):
        super().__init__()
        self.up = SubpixelUp(2 * config.latent_width, config.decoder.width)
        self.vocoder = Vocoder(config.decoder)

    def forward(self, latent_BDF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        """`num_frames_B` counts frames of the latent."""
        return self.vocoder(self.up(latent_BDF, num_frames_B), scaled(num_frames_B, 2))
