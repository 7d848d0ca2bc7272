"""A codec that needs no training: mu-law with few bits, so that what a report says of it can be foreseen."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codec.codes import Codes
from codec.config import QuantiserConfig

MU = 255.0


@dataclass(frozen=True)
class MuLawConfig:
    """What a report reads of a codec's configuration."""

    sample_rate_hz: int
    quantiser: QuantiserConfig
    grouping: None = None


class MuLawCodec(nn.Module):
    """One code a sample in the acoustic stream, and the code 0 in the semantic one."""

    def __init__(self, num_bits: int = 4, sample_rate_hz: int = 16000):
        super().__init__()
        self.config = MuLawConfig(sample_rate_hz, QuantiserConfig(1, 1, codebook_size=2**num_bits))
        self.gain = nn.Parameter(torch.ones(()))

    def encode(self, wave_BT: Tensor) -> Codes:
        companded_BT = wave_BT.sign() * torch.log1p(MU * wave_BT.abs().clamp(max=1)) / math.log1p(MU)
        size, num_B = self.config.quantiser.codebook_size, torch.full((len(wave_BT),), wave_BT.shape[1])
        codes_BKF = ((companded_BT + 1) / 2 * (size - 1)).round().long()[:, None]
        return Codes(codes_BKF, torch.zeros_like(codes_BKF), num_B, num_B, float(self.config.sample_rate_hz), size)

    def decode(self, codes: Codes) -> Tensor:
        companded_BT = codes.acoustic_BKF[:, 0] / (codes.codebook_size - 1) * 2 - 1
        return self.gain * companded_BT.sign() * torch.expm1(companded_BT.abs() * math.log1p(MU)) / MU
