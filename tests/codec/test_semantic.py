from dataclasses import replace

import pytest
import torch

from codec.config import CodecConfig, SemanticConfig
from codec.semantic import SemanticDecoder, SemanticEncoder
from tests.codec import samples

CONFIGS: dict[str, CodecConfig] = {
    "25 Hz": samples.FIXED,
    "12.5 Hz": samples.SPECTRAL,
    "6.25 Hz": replace(samples.SPECTRAL, frame_rate_hz=6.25, semantic=SemanticConfig(16, (2, 2, 2))),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_frames_shrink_by_the_strides_and_come_back(name):
    config = CONFIGS[name]
    ratio = config.teacher_frames_per_frame
    feature_BDF = torch.randn(2, 16, 3 * ratio)
    latent_BDF = SemanticEncoder(config)(feature_BDF)
    assert latent_BDF.shape == (2, 32, 3)
    assert SemanticDecoder(config)(latent_BDF).shape == feature_BDF.shape


@pytest.mark.parametrize("name", CONFIGS)
def test_a_padded_batch_equals_each_clip_alone(name):
    config = CONFIGS[name]
    torch.manual_seed(0)
    encoder, decoder, ratio = SemanticEncoder(config), SemanticDecoder(config), config.teacher_frames_per_frame
    feature_BDF, lengths_B = torch.randn(3, 16, 5 * ratio), torch.tensor([1, 5, 3])
    for row, length in enumerate(lengths_B):
        feature_BDF[row, :, length * ratio :] = torch.nan
    latent_BDF = encoder(feature_BDF, lengths_B * ratio)
    back_BDF = decoder(latent_BDF, lengths_B)
    for row, length in enumerate(lengths_B.tolist()):
        alone_BDF = encoder(feature_BDF[row : row + 1, :, : length * ratio])
        samples.assert_close(latent_BDF[row : row + 1, :, :length], alone_BDF)
        samples.assert_close(back_BDF[row : row + 1, :, : length * ratio], decoder(alone_BDF))
