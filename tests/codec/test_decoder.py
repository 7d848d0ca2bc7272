import torch

from codec.decoder import ResnetBlock, SubpixelUp
from tests.codec import samples


def test_a_frame_becomes_two_neighbours_from_the_two_halves_of_the_channels():
    up = SubpixelUp(4, 2)
    with torch.no_grad():
        up.depthwise.weight.zero_()[:, :, 2] = 1
        up.depthwise.bias.zero_()
    x_BDF = torch.randn(1, 4, 3)
    halves_BDF = up.up(x_BDF)
    torch.testing.assert_close(up(x_BDF)[:, :, 0::2], halves_BDF[:, :2])
    torch.testing.assert_close(up(x_BDF)[:, :, 1::2], halves_BDF[:, 2:])


def test_a_block_with_dropout_is_itself_in_eval_mode():
    torch.manual_seed(0)
    block, x_BDF = ResnetBlock(32, 0.5), torch.randn(1, 32, 6)
    assert not torch.equal(block(x_BDF), block(x_BDF))
    block.eval()
    assert torch.equal(block(x_BDF), block(x_BDF))


def test_a_padded_batch_equals_each_clip_alone():
    decoder = samples.make(samples.FIXED).decoder
    generator = torch.Generator().manual_seed(0)
    latent_BDF, lengths_B = torch.randn(3, 64, 6, generator=generator), torch.tensor([2, 6, 3])
    for row, length in enumerate(lengths_B):
        latent_BDF[row, :, length:] = torch.nan
    with torch.no_grad():
        wave_BT = decoder(latent_BDF, lengths_B)
        for row, length in enumerate(lengths_B.tolist()):
            samples.assert_close(wave_BT[row : row + 1, : 640 * length], decoder(latent_BDF[row : row + 1, :, :length]))
