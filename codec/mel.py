"""Mel filters and log-mel spectrograms.

Shapes: B clips, T samples, F frames, W samples of a window, S bins of a spectrum, M mel bands.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

# Slaney's mel scale ("Auditory Toolbox", 1998): linear below 1 kHz, logarithmic above.
MELS_PER_HZ, BREAK_HZ, MELS_PER_NEPER = 3 / 200, 1000.0, 27 / math.log(6.4)
FLOOR = 1e-5  # of a mel band's magnitude


def hz_to_mel(hz: float) -> float:
    """Slaney's mel scale."""
    return hz * MELS_PER_HZ if hz < BREAK_HZ else BREAK_HZ * MELS_PER_HZ + math.log(hz / BREAK_HZ) * MELS_PER_NEPER


def mel_to_hz(mel: float) -> float:
    """The inverse of `hz_to_mel`."""
    excess = mel - BREAK_HZ * MELS_PER_HZ
    return mel / MELS_PER_HZ if excess < 0 else BREAK_HZ * math.exp(excess / MELS_PER_NEPER)


def mel_filterbank(
    sample_rate_hz: int, window_samples: int, num_mels: int, *, low_hz: float = 0.0, high_hz: float | None = None
) -> Tensor:
    """Triangular filters (M, S) for spectra of S = window_samples // 2 + 1 bins, each of area 1 over frequency in Hz.

    Where there are more bands than the low bins can tell apart, some filters are empty: their band is 0 for every sound.
    """
    high_hz = sample_rate_hz / 2 if high_hz is None else high_hz
    if not 0 <= low_hz < high_hz <= sample_rate_hz / 2:
        raise ValueError(f"mel bands from {low_hz} to {high_hz} Hz: want 0 <= low < high <= {sample_rate_hz / 2} Hz")
    low, high = hz_to_mel(low_hz), hz_to_mel(high_hz)
    edges = [mel_to_hz(low + (high - low) * i / (num_mels + 1)) for i in range(num_mels + 2)]
    edges_E = torch.tensor(edges, dtype=torch.float64, device="cpu")
    bins_S = torch.arange(window_samples // 2 + 1, dtype=torch.float64, device="cpu") * sample_rate_hz / window_samples
    left_M, centre_M, right_M = edges_E[:-2, None], edges_E[1:-1, None], edges_E[2:, None]
    rising_MS = (bins_S - left_M) / (centre_M - left_M)
    falling_MS = (right_M - bins_S) / (right_M - centre_M)
    return (torch.minimum(rising_MS, falling_MS).clamp(min=0) * 2 / (right_M - left_M)).float()


@dataclass(frozen=True)
class LogMel:
    """`log_mel(wave_BT)` is the natural logarithm of mel-filtered magnitudes (B, M, F) in float32, at least log(1e-5).

    Hann windows; `padding_samples` zeros on both sides, so that F = (T + 2 * padding - window) // hop + 1. By default half a
    window: the frames are centred on the multiples of the hop. A plain function, on the wave's device: nothing to save or move.
    """

    sample_rate_hz: int
    window_samples: int
    hop_samples: int
    num_mels: int
    padding_samples: int | None = None
    fft_samples: int | None = None  # the window's by default; more interpolates the spectrum for narrow bands

    def __call__(self, wave_BT: Tensor) -> Tensor:
        padding = self.window_samples // 2 if self.padding_samples is None else self.padding_samples
        fft_samples = self.fft_samples or self.window_samples
        window_W, filters_MS = _constants(self, fft_samples, wave_BT.device)
        with torch.autocast(wave_BT.device.type, enabled=False):
            padded_BT = torch.nn.functional.pad(wave_BT.float(), (padding, padding))
            frames_BFW = padded_BT.unfold(-1, self.window_samples, self.hop_samples) * window_W
            magnitude_BFS = torch.fft.rfft(frames_BFW, n=fft_samples).abs()
            return (filters_MS @ magnitude_BFS.mT).clamp(min=FLOOR).log()


@cache
def _constants(log_mel: LogMel, fft_samples: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Window (W,) and filters (M, S). Never inference tensors: what is first asked for in a report, training needs later."""
    with torch.inference_mode(False):
        window_W = torch.hann_window(log_mel.window_samples, device=device)
        return window_W, mel_filterbank(log_mel.sample_rate_hz, fft_samples, log_mel.num_mels).to(device)
