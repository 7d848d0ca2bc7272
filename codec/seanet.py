"""SEANet waveform encoder (as in EnCodec, arXiv 2210.13438) with a Transformer before its last convolution.

Shapes: B clips, D channels, T samples, F frames.
"""

import torch.nn.functional as nnf
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from codec.config import CodecConfig
from codec.masked import ReflectConv1d
from codec.transformer import Transformer


def normed_conv(in_width: int, out_width: int, kernel_size: int, stride: int = 1) -> nn.Module:
    """With weights that keep the variance and no bias at first (He et al., 2015).

    By torch's own start each layer loses most of the signal but not its bias: after all layers the latent is the same for
    any audio, codebooks start on rounding errors, and the acoustic stream never comes to life.
    """
    conv = ReflectConv1d(in_width, out_width, kernel_size, stride)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="linear")
    nn.init.zeros_(conv.bias)
    return weight_norm(conv)


class ResidualBlock(nn.Module):
    """ELU, convolution of 3 to half the channels, ELU, convolution of 1 back; added to a 1x1 convolution of the input."""

    def __init__(self, width: int):
        super().__init__()
        self.narrow = normed_conv(width, width // 2, 3)
        self.wide = normed_conv(width // 2, width, 1)
        self.shortcut = normed_conv(width, width, 1)

    def forward(self, x_BDF: Tensor, num_frames_B: Tensor | None) -> Tensor:
        y_BDF = self.wide(nnf.elu(self.narrow(nnf.elu(x_BDF), num_frames_B)))
        return self.shortcut(x_BDF) + y_BDF


class SeanetEncoder(nn.Module):
    """(B, T) -> (B, latent width, T / samples per frame); the length of each clip must be divisible by samples per frame."""

    def __init__(self, config: CodecConfig):
        super().__init__()
        encoder = config.seanet
        widths = [encoder.width * 2**stage for stage in range(len(encoder.strides) + 1)]
        self.strides = encoder.strides
        self.conv_in = normed_conv(1, widths[0], 7)
        self.blocks = nn.ModuleList(ResidualBlock(width) for width in widths[:-1])
        self.downs = nn.ModuleList(
            normed_conv(width, 2 * width, 2 * stride, stride) for width, stride in zip(widths, self.strides)
        )
        self.transformer = Transformer(widths[-1], encoder.num_heads, 4 * widths[-1], encoder.num_layers)
        self.conv_out = normed_conv(widths[-1], config.latent_width, 2 * encoder.last_stride, encoder.last_stride)

    def forward(self, wave_BT: Tensor, num_samples_B: Tensor | None = None) -> Tensor:
        x_BDF, num_frames_B = self.conv_in(wave_BT[:, None], num_samples_B), num_samples_B
        for block, down, stride in zip(self.blocks, self.downs, self.strides):
            x_BDF = down(nnf.elu(block(x_BDF, num_frames_B)), num_frames_B)
            num_frames_B = None if num_frames_B is None else num_frames_B // stride
        x_BDF = self.transformer(x_BDF, num_frames_B)
        return self.conv_out(nnf.elu(x_BDF), num_frames_B)
