"""From frames to the waveform: magnitude and phase of each frame, and the inverse short-time Fourier transform.

Shapes: B clips, D channels, F frames, N bins, T samples (F * hop), W samples of a window, R = W / hop.
"""

import math

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from codec.masked import inside_BF

MAX_MAGNITUDE = 100.0


class IstftHead(nn.Module):
    """A linear layer to log-magnitude and phase, then the inverse STFT, (B, D, F) -> (B, F * hop) (Vocos, arXiv 2306.00814)."""

    def __init__(self, width: int, window_samples: int, hop_samples: int):
        super().__init__()
        self.window_samples, self.hop_samples = window_samples, hop_samples
        self.out = nn.Linear(width, window_samples + 2)

    def forward(self, x_BFD: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        with torch.autocast(x_BFD.device.type, enabled=False):  # 8 bits are too few for a phase, or what exp will make large
            log_magnitude, phase = self.out(x_BFD.to(self.out.weight.dtype)).float().chunk(2, dim=-1)
        # Clipped before exp, not after: a value that overflows would give a gradient of 0 * inf.
        magnitude = log_magnitude.clamp(max=math.log(MAX_MAGNITUDE)).exp()
        spectrum_BFN = torch.complex(magnitude * phase.cos(), magnitude * phase.sin())
        return inverse_stft(spectrum_BFN, self.window_samples, self.hop_samples, num_frames_B)


def inverse_stft(spectrum_BFN: Tensor, window_samples: int, hop_samples: int, num_frames_B: Tensor | None = None) -> Tensor:
    """(B, F, window / 2 + 1) complex -> (B, F * hop): Hann window, "same" padding: (window - hop) / 2 samples go at each end.

    Samples past a clip's end are 0. The hop must divide the window, which must be as long as the transform.
    """
    assert window_samples % hop_samples == 0 and (window_samples - hop_samples) % 2 == 0, (window_samples, hop_samples)
    window_W = torch.hann_window(window_samples, device=spectrum_BFN.device)
    frames_BFW = torch.fft.irfft(spectrum_BFN, window_samples, dim=-1) * window_W
    weights_BFW = window_W.square().expand(1, spectrum_BFN.shape[1], -1)
    if num_frames_B is not None:
        outside_BF1 = ~inside_BF(num_frames_B, spectrum_BFN.shape[1])[:, :, None]
        frames_BFW, weights_BFW = frames_BFW.masked_fill(outside_BF1, 0), weights_BFW.masked_fill(outside_BF1, 0)
    edge = (window_samples - hop_samples) // 2
    inner = slice(edge, edge + spectrum_BFN.shape[1] * hop_samples)
    wave_BT, weight_BT = (overlap_add(x_BFW, hop_samples)[:, inner] for x_BFW in (frames_BFW, weights_BFW))
    if num_frames_B is None:
        return wave_BT / weight_BT
    inside_BT = inside_BF(num_frames_B * hop_samples, wave_BT.shape[1])
    return (wave_BT / weight_BT.masked_fill(~inside_BT, 1)).masked_fill(~inside_BT, 0)


def overlap_add(frames_BFW: Tensor, hop_samples: int) -> Tensor:
    """(B, F, W) -> (B, (F - 1) * hop + W), by summing W / hop shifted copies."""
    pieces_BFRh = frames_BFW.unflatten(-1, (-1, hop_samples))
    last = pieces_BFRh.shape[2] - 1
    return sum(nnf.pad(piece_BFh, (0, 0, r, last - r)) for r, piece_BFh in enumerate(pieces_BFRh.unbind(2))).flatten(1)
