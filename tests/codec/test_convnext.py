import torch
from torch.nn import functional as nnf

from codec.convnext import ConvNext, ConvNextBlock


def test_a_block_is_the_published_formula():
    torch.manual_seed(0)
    block = ConvNextBlock(4, 12, 0.5)
    x_BDF = torch.randn(2, 4, 10)
    y_BDF = nnf.conv1d(x_BDF, block.depthwise.weight, block.depthwise.bias, padding=3, groups=4).transpose(1, 2)
    y_BDF = nnf.layer_norm(y_BDF, (4,), block.norm.weight, block.norm.bias, 1e-6)
    y_BDF = nnf.gelu(y_BDF @ block.up.weight.T + block.up.bias) @ block.down.weight.T + block.down.bias
    torch.testing.assert_close(block(x_BDF), x_BDF + 0.5 * y_BDF.transpose(1, 2))


def test_blocks_start_at_their_share_of_the_whole():
    assert all(block.scale.eq(1 / 3).all() for block in ConvNext(4, 12, 3).blocks)


def test_a_padded_batch_equals_each_clip_alone():
    torch.manual_seed(0)
    blocks, x_BDF, lengths_B = ConvNext(4, 12, 3), torch.randn(2, 4, 20), torch.tensor([6, 20])
    y_BDF = blocks(x_BDF, lengths_B)
    for row, length in enumerate(lengths_B.tolist()):
        torch.testing.assert_close(y_BDF[row : row + 1, :, :length], blocks(x_BDF[row : row + 1, :, :length]))
