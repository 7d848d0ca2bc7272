import pytest
import torch
from torch import nn

from codec.presets import PRESETS
from codec.seanet import SeanetEncoder
from tests.codec import samples


def test_a_padded_batch_equals_each_clip_alone():
    encoder = samples.make(samples.FIXED).encoder
    lengths_B = torch.tensor([640, 1920, 1280])
    wave_BT = samples.noises(3, 1920)
    for row, length in enumerate(lengths_B):
        wave_BT[row, length:] = torch.nan
    with torch.no_grad():
        latent_BDF = encoder(wave_BT, lengths_B)
        for row, length in enumerate(lengths_B.tolist()):
            alone_BDF = encoder(wave_BT[row : row + 1, :length])
            assert alone_BDF.shape == (1, 32, length // 640)
            samples.assert_close(latent_BDF[row : row + 1, :, : length // 640], alone_BDF)


def test_convolutions_are_weight_normed():
    encoder = SeanetEncoder(samples.FIXED)
    convolutions = [module for module in encoder.modules() if isinstance(module, nn.Conv1d)]
    assert len(convolutions) == 1 + 4 * 3 + 4 + 1
    for convolution in convolutions:
        gain = convolution.parametrizations.weight.original0
        torch.testing.assert_close(convolution.weight.flatten(1).norm(dim=1), gain.flatten())


@pytest.mark.parametrize("preset", ["tiny", "small", "hcodec-1.0"])
def test_an_untrained_encoder_already_tells_frames_apart(preset):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = SeanetEncoder(PRESETS[preset]).eval()
    with torch.no_grad():
        latent_BDF = encoder(samples.noises(1, 16000))
    assert latent_BDF.std(2).norm() > 0.2 * latent_BDF.norm(dim=1).mean()
    assert 0.1 < latent_BDF.square().mean().sqrt() < 2
