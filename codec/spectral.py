"""Spectral encoder of H-Codec 2.0: from the short-time Fourier transform of the waveform to the acoustic latent.

Shapes: B clips, T samples, F frames of the transform, N bins, D width.
"""

import math

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from codec.config import CodecConfig
from codec.convnext import ConvNext
from codec.masked import MaskedConv1d, silenced
from codec.transformer import Transformer

MIN_MAGNITUDE = 1e-5


class SpectralEncoder(nn.Module):
    """(B, T) -> (B, latent width, T / samples per frame); the length of each clip must be divisible by samples per frame."""

    def __init__(self, config: CodecConfig):
        super().__init__()
        encoder, width = config.spectral, config.spectral.width
        self.window_samples, self.hop_samples = encoder.window_samples, encoder.hop_samples
        stride = config.samples_per_frame // encoder.hop_samples
        self.conv_in = MaskedConv1d(encoder.window_samples + 2, width, 3)
        self.norm_in = nn.LayerNorm(width, eps=1e-6)
        self.convnext = ConvNext(width, encoder.inner_width, encoder.num_blocks)
        self.transformer = Transformer(width, encoder.num_heads, encoder.feed_forward_width, encoder.num_layers)
        self.norm_out = nn.LayerNorm(width, eps=1e-6)
        self.conv_out = MaskedConv1d(width, config.latent_width, 2 * stride + 1, stride=stride)

    def forward(self, wave_BT: Tensor, num_samples_B: Tensor | None = None) -> Tensor:
        num_frames_B = None if num_samples_B is None else num_samples_B // self.hop_samples
        wave_BT = silenced(wave_BT[:, None], num_samples_B)[:, 0]
        x_BDF = log_spectrum(wave_BT, self.window_samples, self.hop_samples)
        x_BDF = _over_width(self.norm_in, self.conv_in(x_BDF, num_frames_B))
        x_BDF = self.transformer(self.convnext(x_BDF, num_frames_B), num_frames_B)
        return self.conv_out(_over_width(self.norm_out, x_BDF), num_frames_B)


def log_spectrum(wave_BT: Tensor, window_samples: int, hop_samples: int) -> Tensor:
    """(B, 2 * bins, T / hop): natural logarithm of the magnitude, not below 1e-5, then the phase in half turns, -1 to 1.

    "Same" padding: half of (window - hop) zeros at both ends, so that frame f is centred on its own hop samples.
    """
    assert wave_BT.shape[1] % hop_samples == 0, (wave_BT.shape, hop_samples)
    edge = (window_samples - hop_samples) // 2
    window = torch.hann_window(window_samples, device=wave_BT.device)
    padded_BT = nnf.pad(wave_BT.float(), (edge, edge))
    spectrum_BNF = torch.stft(padded_BT, window_samples, hop_samples, window=window, center=False, return_complex=True)
    spectrum_BNF = (
        spectrum_BNF + 0.0
    )  # -0 becomes 0, whose angle is 0 and not pi: some processors' transforms give it for silence
    log_magnitude_BNF = spectrum_BNF.abs().clamp(min=MIN_MAGNITUDE).log()
    return torch.cat([log_magnitude_BNF, spectrum_BNF.angle() / math.pi], dim=1).to(wave_BT.dtype)


def _over_width(norm: nn.LayerNorm, x_BDF: Tensor) -> Tensor:
    return norm(x_BDF.transpose(1, 2)).transpose(1, 2)
