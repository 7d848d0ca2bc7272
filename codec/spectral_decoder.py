"""Decoder of H-Codec 2.0: frames are repeated to the rate of the inverse transform.

Shapes: B clips, D channels, F frames, T samples.
"""

from torch import Tensor, nn

from codec.config import CodecConfig
from codec.decoder import Vocoder
from codec.masked import MaskedConv1d
from codec.semantic import scaled


class RepeatDecoder(nn.Module):
    """Both quantised streams, joined, to the waveform: (B, 2 * latent width, F) -> (B, F * samples per frame)."""

    def __init__(self, config: CodecConfig):
        super().__init__()
        self.repeats = config.decoder_frames_per_frame
        self.conv_in = MaskedConv1d(2 * config.latent_width, config.decoder.width, 5)
        self.vocoder = Vocoder(config.decoder)

    def forward(self, latent_BDF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        """`num_frames_B` counts frames of the latent."""
        num_frames_B = scaled(num_frames_B, self.repeats)
        x_BDF = self.conv_in(latent_BDF.repeat_interleave(self.repeats, dim=2), num_frames_B)
        return self.vocoder(x_BDF, num_frames_B)
