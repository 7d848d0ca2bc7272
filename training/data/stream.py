"""Audio to batches for the codec: crops of clips, as training/data/steps.py deals them out.

Shapes: B clips of a micro-batch, T samples of a crop, N draws.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.data.config import DataConfig
from training.data.crops import Clip, Cropping, draw
from training.data.cursor import Parts
from training.data.sources import Source
from training.data.steps import Batching, Form, Steps, StreamState
from training.keys import generator

LAYERS_DRAW, THRESHOLD_DRAW = 0, 1  # columns of draws_BN: for quantiser dropout, for the grouping threshold
NUM_DRAWS = 2


@dataclass(frozen=True)
class Crop:
    """What a clip gave."""

    key: str
    wave: np.ndarray  # (channels, samples) float32, at most the samples of a crop
    draws: np.ndarray  # (NUM_DRAWS,) float32 uniforms in [0, 1), keyed by the clip and its epoch


@dataclass(frozen=True)
class Batch:
    """Clips of one micro-batch, padded with zeros to the length of a crop."""

    keys: tuple[str, ...]
    wave_BT: Tensor  # float32; (B, 2, T) where the data are stereo
    num_samples_B: Tensor  # int64
    draws_BN: Tensor  # float32 uniforms in [0, 1), keyed by clip and epoch


class Stream(Steps[Crop, Batch]):
    """Endless pairs of this rank's micro-batches of crops and the state after them."""

    def __init__(
        self,
        sources: Sequence[Source],
        config: DataConfig,
        batching: Batching,
        *,
        state: StreamState | None = None,
        quarantine: Path | None = None,
    ):
        num_samples = round(config.crop_s * batching.sample_rate_hz)
        cropping = Cropping(batching.sample_rate_hz, num_samples, config.num_channels, config.peak)
        form = Form(functools.partial(cut, cropping), functools.partial(batch, cropping))
        super().__init__(sources, config, batching, form, state=state, quarantine=quarantine)


def cut(cropping: Cropping, clip: Clip, parts: Parts) -> Crop:
    """The crop of a clip in an epoch, whoever cuts it. Rejected for what cannot serve."""
    wave = draw(clip, cropping, generator(*parts, "crop"))
    return Crop(clip.key, wave, generator(*parts, "draws").random(NUM_DRAWS, dtype=np.float32))


def batch(cropping: Cropping, crops: Sequence[Crop]) -> Batch:
    """Crops side by side, padded to the length of a whole one."""
    wave = np.empty((len(crops), cropping.num_channels, cropping.num_samples), np.float32)
    for row, crop in zip(wave, crops):
        row[:, : crop.wave.shape[1]] = crop.wave
        row[:, crop.wave.shape[1] :] = 0
    wave_BT = torch.from_numpy(wave[:, 0] if cropping.num_channels == 1 else wave)
    num_samples_B = torch.tensor([crop.wave.shape[1] for crop in crops])
    draws_BN = torch.from_numpy(np.stack([crop.draws for crop in crops]))
    return Batch(tuple(crop.key for crop in crops), wave_BT, num_samples_B, draws_BN)
