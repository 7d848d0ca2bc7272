"""Codecs of each published design, small enough for tests, and audio for them."""

import math

import torch
from torch import Tensor

from codec.config import (
    CodecConfig,
    DecoderConfig,
    GroupingConfig,
    QuantiserConfig,
    SeanetConfig,
    SemanticConfig,
    SpectralConfig,
    TeacherConfig,
)
from codec.model import Codec

TEACHER = TeacherConfig(width=16)
DECODER = DecoderConfig(width=64, inner_width=96, feed_forward_width=64, num_blocks=2, num_layers=1, num_heads=2)
QUANTISER = QuantiserConfig(num_acoustic=3, num_semantic=2, codebook_size=32)
FIXED = CodecConfig(
    latent_width=32,
    seanet=SeanetConfig(width=2, num_layers=1, num_heads=2),
    semantic=SemanticConfig(width=16),
    quantiser=QUANTISER,
    decoder=DECODER,
    teacher=TEACHER,
)
DYNAMIC = CodecConfig(
    latent_width=32,
    seanet=SeanetConfig(width=2, strides=(8, 5, 4, 2), num_layers=1, num_heads=2),
    semantic=SemanticConfig(width=16),
    quantiser=QUANTISER,
    grouping=GroupingConfig(num_layers=2, num_heads=2, feed_forward_width=64, num_bottleneck_layers=2),
    decoder=DECODER,
    teacher=TEACHER,
)
SPECTRAL = CodecConfig(
    sample_rate_hz=48000,
    frame_rate_hz=12.5,
    latent_width=32,
    seanet=None,
    spectral=SpectralConfig(32, 64, 2, 1, 2, 64),
    semantic=SemanticConfig(width=16, strides=(2, 1, 2)),
    quantiser=QUANTISER,
    decoder=DecoderConfig("repeat", 64, 96, 64, 2, 1, 2, 1920, 960),
    teacher=TEACHER,
)
DESIGNS = {"1.0": FIXED, "1.5": DYNAMIC, "2.0": SPECTRAL}


def make(config: CodecConfig, seed: int = 0) -> Codec:
    """Random weights that keep a signal's level, and codebooks of the codec's own latents: codes differ from frame to frame."""
    codec = Codec(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in codec.named_parameters():
            if name.endswith(("bias", "query")):
                parameter.normal_(std=0.1, generator=generator)
            elif name.endswith("scale"):
                parameter.fill_(0.3)
            elif name.endswith("weight.original0"):
                parameter.fill_(1.5)
            elif parameter.ndim > 1:
                parameter.normal_(std=1.5 / math.sqrt(math.prod(parameter.shape[1:])), generator=generator)
    wave_BT = noises(2, 4 * config.sample_rate_hz)
    with torch.no_grad():
        latents = codec._latents(wave_BT, codec.feature(wave_BT), None, 1.0)
        codec.acoustic_quantiser.initialise(latents.acoustic_BDG.transpose(1, 2).flatten(0, 1), key=0)
        codec.semantic_quantiser.initialise(latents.semantic_BDG.transpose(1, 2).flatten(0, 1), key=0)
    return codec


def noises(num_clips: int, num_samples: int, seed: int = 0) -> Tensor:
    """Noise whose level and brightness wander, (B, T)."""
    generator = torch.Generator().manual_seed(seed)
    white_BT = torch.randn(num_clips, num_samples, generator=generator)
    knots = torch.rand(num_clips, 2, 2 + num_samples // 2000, generator=generator)
    level_BT, mix_BT = torch.nn.functional.interpolate(knots, num_samples, mode="linear").unbind(1)
    dull_BT = torch.nn.functional.avg_pool1d(white_BT[:, None], 15, 1, 7)[:, 0] * 3
    return 0.3 * level_BT * (mix_BT * white_BT + (1 - mix_BT) * dull_BT)


def assert_close(found: Tensor, wanted: Tensor) -> None:
    """The same but for rounding: to 1e-4 of the peak."""
    assert found.shape == wanted.shape
    difference, peak = (found - wanted).abs().max().item(), wanted.abs().max().item()
    assert difference <= 1e-4 * peak, (difference, peak)
