"""Multi-band complex STFT discriminator: real and imaginary part of each frequency band have convolutions of their own.

Source: Kumar et al., "High-fidelity audio compression with improved RVQGAN" (arXiv 2306.06546), section 3.4.

Shapes: B clips, T samples, F frames, W bins.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from codec.discriminators.judgement import Convolution, Judgement, Stack, spectrogram


class BandDiscriminator(nn.Module):
    """(B, T) -> Judgement. `edges`: where the bands end, as shares of half the sample rate, from 0 to 1."""

    def __init__(self, window_samples: int, width: int, edges: tuple[float, ...]):
        super().__init__()
        self.window_samples = window_samples
        self.sizes = band_sizes(window_samples, edges)
        self.bands = nn.ModuleList([_band(width) for _ in self.sizes])
        self.last = Convolution(width, 1, (3, 3))

    def forward(self, wave_BT: Tensor, num_samples_B: Tensor | None = None) -> Judgement:
        spectrum_BFW, num_frames_B = spectrogram(wave_BT, self.window_samples, num_samples_B)
        spectrum_B2FW = torch.view_as_real(spectrum_BFW).permute(0, 3, 1, 2)
        features, ends = [], []
        for band, band_B2FW in zip(self.bands, spectrum_B2FW.split(self.sizes, dim=-1)):
            hidden, _ = band(band_B2FW, num_frames_B)  # no stride over frames
            features += hidden
            ends.append(hidden[-1])
        logits_B1FW, num_frames_B = self.last(torch.cat(ends, dim=-1), num_frames_B)
        return Judgement(logits_B1FW[:, 0], features, num_frames_B)


def band_sizes(window_samples: int, edges: tuple[float, ...]) -> list[int]:
    """Bins of each band."""
    bins = [round(edge * (window_samples // 2 + 1)) for edge in edges]
    return [end - start for start, end in pairwise(bins)]


def _band(width: int) -> Stack:
    halving = [Convolution(width, width, (3, 9), (1, 2)) for _ in range(3)]
    return Stack([Convolution(2, width, (3, 9)), *halving, Convolution(width, width, (3, 3))])
