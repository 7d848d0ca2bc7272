"""Frozen encoders of audio: the continuous conditions of the language model.

Shapes: B clips, T samples, F frames, D width.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RATE_HZ = 16000  # of what every encoder takes
FRAME_RATE_HZ = 50.0
SAMPLES_PER_FRAME = 320


class AudioEncoder(Protocol):
    """Frozen: no gradient. A padded batch equals each clip alone."""

    width: int

    def __call__(self, wave_BT: Tensor, num_samples_B: Tensor | None = None) -> Tensor:
        """(B, F, width) at 50 frames/s of 16 kHz audio; ceil(samples / 320) frames of each clip mean something."""

    def to(self, device: torch.device | str) -> "AudioEncoder": ...


def open_audio_encoder(name: str, layers: tuple[int, ...] = ()) -> AudioEncoder:
    """The encoder `log-mel`, or the transformers speech model (HuBERT, WavLM, wav2vec 2.0 ...) of a path or hub id.

    ValueError for one that is not to be had.
    """
    return LogMel() if name == "log-mel" else SpeechModel(name, layers)


class LogMel(nn.Module):
    """Log-mel spectrum without any weights: two windows of 25 ms a frame, 80 bands each, scaled to about unit variance."""

    WINDOW, HOP, NUM_BANDS = 400, 160, 80
    FLOOR = 1e-6  # of a band's power: quieter is silence

    width = 2 * NUM_BANDS

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(self.WINDOW), persistent=False)
        self.register_buffer("bands", mel_bands(self.NUM_BANDS, self.WINDOW // 2 + 1), persistent=False)

    @torch.no_grad()
    def forward(self, wave_BT: Tensor, num_samples_B: Tensor | None = None) -> Tensor:
        num_samples = wave_BT.shape[1]
        if num_samples_B is not None:
            wave_BT = wave_BT * (torch.arange(num_samples, device=wave_BT.device) < num_samples_B[:, None])
        num_frames = -(-num_samples // SAMPLES_PER_FRAME)
        margin = (self.WINDOW - self.HOP) // 2
        padded = F.pad(wave_BT, (margin, num_frames * SAMPLES_PER_FRAME - num_samples + margin))
        windows = padded.unfold(1, self.WINDOW, self.HOP) * self.window
        power = torch.fft.rfft(windows).abs().square() @ self.bands
        return (power.clamp(min=self.FLOOR).log() / 4 + 1).unflatten(1, (num_frames, 2)).flatten(2)


def mel_bands(num_bands: int, num_bins: int) -> Tensor:
    """(bins, bands) triangles evenly spaced in mel (O'Shaughnessy 1987), from 20 Hz to half the sample rate."""
    limits = torch.tensor([20.0, RATE_HZ / 2], dtype=torch.float64)
    low, high = (2595 * torch.log10(1 + limits / 700)).tolist()
    edges_hz = 700 * (10 ** (torch.linspace(low, high, num_bands + 2, dtype=torch.float64) / 2595) - 1)
    bins_hz = torch.linspace(0, RATE_HZ / 2, num_bins, dtype=torch.float64)[:, None]
    rising = (bins_hz - edges_hz[:-2]) / (edges_hz[1:-1] - edges_hz[:-2])
    falling = (edges_hz[2:] - bins_hz) / (edges_hz[2:] - edges_hz[1:-1])
    return torch.minimum(rising, falling).clamp(min=0).float()


class SpeechModel:
    """A self-supervised speech model of transformers: the mean of its hidden states (of all, where none are named).

    Clips of one length go through the network together, others apart: padding would change the statistics of its group norms.
    """

    def __init__(self, source: str, layers: tuple[int, ...] = ()):
        from transformers import AutoModel  # here, because it takes seconds to import

        try:
            self.network, info = AutoModel.from_pretrained(source, output_loading_info=True)
            missing = sorted(name for name in info["missing_keys"] if name != "masked_spec_embed")  # used in training alone
            if missing:  # transformers would go on with random ones
                raise ValueError(f"weights of {', '.join(missing[:3])} are missing")
        except (OSError, ValueError) as error:
            raise ValueError(f"audio encoder {source!r}: not a speech model of transformers: {str(error)[:200]}") from error
        self.network.eval().requires_grad_(False)
        self.normalises = getattr(self.network.config, "feat_extract_norm", "group") == "layer"
        self.width, self.layers = self.network.config.hidden_size, layers
        num_states = self.network.config.num_hidden_layers + 1
        if any(not 0 <= layer < num_states for layer in layers):
            raise ValueError(f"audio encoder {source!r}: layers {layers}; it has hidden states 0 to {num_states - 1}")

    def to(self, device: torch.device | str) -> "SpeechModel":
        self.network.to(device)
        return self

    @torch.no_grad()
    def __call__(self, wave_BT: Tensor, num_samples_B: Tensor | None = None) -> Tensor:
        num_clips, num_samples = wave_BT.shape
        lengths_B = torch.full((num_clips,), num_samples) if num_samples_B is None else num_samples_B.cpu()
        features_BFD = wave_BT.new_zeros(num_clips, -(-num_samples // SAMPLES_PER_FRAME), self.width)
        for length in lengths_B.unique().tolist():
            rows = (lengths_B == length).nonzero()[:, 0].to(wave_BT.device)
            features = self._encode(wave_BT[rows, :length])
            features_BFD[rows, : features.shape[1]] = features
        return features_BFD

    def _encode(self, wave_BT: Tensor) -> Tensor:
        if self.normalises:  # what the feature extractors of these models do
            wave_BT = (wave_BT - wave_BT.mean(1, keepdim=True)) / (wave_BT.var(1, keepdim=True, correction=0) + 1e-7).sqrt()
        padded = F.pad(wave_BT, (160, 160 + -wave_BT.shape[1] % SAMPLES_PER_FRAME))  # so that frames = samples / 320
        states = self.network(padded, output_hidden_states=True).hidden_states
        return torch.stack([states[layer] for layer in self.layers or range(len(states))]).mean(0)
