"""A semantic teacher without weights: how the log-mel spectrum moves, free of level and, as far as that goes, of the channel.

What makes a target semantic is what it leaves out. A plain log-mel spectrogram tells level, channel and voice before it tells
the sound that is made. So, for each of 40 mel bands, which are too wide to show the pitch:
- the band's own mean over the half second on either side is taken away (what stays through it is the voice's colour, the room,
  the level), as in cepstral mean normalisation;
- the course of the 0.14 s on either side is described by six cosines, because sounds are told by their movement (temporal
  patterns, TRAPs: Hermansky & Sharma, 1998; the well-known deltas, taken further).
The mean that was taken away follows at half weight without its level, or else steady sounds such as rain would be nothing.

Measured, against a compressed log-mel spectrogram of 80 bands: the nearest neighbour of a word in another voice (six voices
of eSpeak NG) is the same word for 98 % instead of 75 %; that of a recorded event (80 of ESC-10) is of its own class for 69 %
instead of 46 %; and the voice is the same in 50 % instead of 73 % of different words' nearest neighbours.

Shapes: B clips, T samples, F frames, M mel bands, P temporal patterns, E features before they are mixed, D width.
"""

import hashlib
import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from codec.config import TEACHER_RATE_HZ
from codec.masked import silenced
from codec.mel import LogMel
from codec.teacher import HOP_SAMPLES, PADDING_SAMPLES, compressed, whole_frames

NUM_MELS, NUM_PATTERNS = 40, 6
MEAN_FRAMES, PATTERN_FRAMES = 25, 7  # on either side: 0.5 s and 0.14 s
MEAN_WEIGHT = 0.5
NUM_FEATURES = NUM_MELS * (NUM_PATTERNS + 1)
ENERGY = 400.0  # of all features of a frame, over speech, music and events: outputs have about unit power
LOG_MEL = LogMel(TEACHER_RATE_HZ, 400, HOP_SAMPLES, NUM_MELS, padding_samples=PADDING_SAMPLES, fft_samples=1024)


@dataclass(frozen=True)
class LogMelTeacher:
    """Features of any width: NUM_FEATURES of them, turned by an orthogonal matrix so that each output holds a bit of all.

    The turn keeps distances and their weights (the compression that follows works on each output alone, and would lift what
    little there is in the fast patterns to the level of the slow ones). It is made of integers and cosines, never drawn: a
    codec trained with it must get the same feature on every machine. Narrower than NUM_FEATURES, a part of it is kept.
    """

    width: int

    @torch.no_grad()
    def __call__(self, wave_BT: Tensor, num_samples_B: Tensor | None = None) -> Tensor:
        with torch.autocast(wave_BT.device.type, enabled=False):
            wave_BT, num_frames_B = whole_frames(wave_BT, num_samples_B)
            moving_BMF, mean_BMF = _moving(silenced(LOG_MEL(wave_BT), num_frames_B), num_frames_B)
            patterns_PF, mixing_DE = _constants(self.width, wave_BT.device)
            moving_BEF = functional.conv1d(moving_BMF.flatten(0, 1)[:, None], patterns_PF[:, None], padding=PATTERN_FRAMES)
            moving_BEF = moving_BEF.view(len(wave_BT), -1, moving_BMF.shape[-1])
            steady_BMF = MEAN_WEIGHT * (mean_BMF - mean_BMF.mean(1, keepdim=True))
            return compressed(silenced(mixing_DE @ torch.cat([moving_BEF, steady_BMF], dim=1), num_frames_B))


def _moving(level_BMF: Tensor, num_frames_B: Tensor | None) -> tuple[Tensor, Tensor]:
    """Levels (0 past a clip's end) less their mean over the frames around that are inside the clip, and that mean."""
    inside_B1F = silenced(torch.ones_like(level_BMF[:, :1]), num_frames_B)
    mean_BMF = _around(level_BMF) / _around(inside_B1F).clamp(min=1e-6)
    return silenced(level_BMF - mean_BMF, num_frames_B), mean_BMF


def _around(x_BMF: Tensor) -> Tensor:
    """Sum over the MEAN_FRAMES on either side, up to a constant factor."""
    return functional.avg_pool1d(x_BMF, 2 * MEAN_FRAMES + 1, stride=1, padding=MEAN_FRAMES)


@cache
def _constants(width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Temporal patterns (P, frames), and the mixing (D, E): cosines, with signs that are as good as random."""
    with torch.inference_mode(False), torch.device("cpu"):
        taper_F = torch.hann_window(2 * PATTERN_FRAMES + 3, periodic=False, dtype=torch.float64)[1:-1]
        patterns_PF = _cosines(2 * PATTERN_FRAMES + 1)[:NUM_PATTERNS] * taper_F
        digest = hashlib.shake_128(b"log-mel teacher").digest(NUM_FEATURES)
        signs_E = torch.tensor([1.0 if byte & 1 else -1.0 for byte in digest], dtype=torch.float64)
        size = max(width, NUM_FEATURES)
        mixing_DE = _cosines(size)[:width, :NUM_FEATURES] * signs_E * math.sqrt(size / ENERGY)
        return patterns_PF.float().to(device), mixing_DE.float().to(device)


def _cosines(size: int) -> Tensor:
    """The orthonormal DCT-II matrix (size, size)."""
    i = torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(math.pi / size * (i + 0.5) * i[:, None]) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix
