import pytest
import torch
from torch import nn
from torch.nn import functional as nnf

from codec.masked import (
    MaskedConv1d,
    MaskedConvTranspose1d,
    MaskedGroupNorm,
    ReflectConv1d,
    inside_BF,
    silenced,
)

LENGTHS_B = torch.tensor([4, 12, 8])
LAYERS = {
    "conv of 3": (MaskedConv1d(8, 6, 3), 1),
    "conv of 1": (MaskedConv1d(8, 6, 1), 1),
    "depthwise": (MaskedConv1d(8, 8, 7, groups=8), 1),
    "stride 2, kernel 4": (MaskedConv1d(8, 6, 4, stride=2), 0.5),
    "stride 4, kernel 9": (MaskedConv1d(8, 6, 9, stride=4), 0.25),
    "transposed, stride 2": (MaskedConvTranspose1d(8, 6, 2), 2),
    "transposed, stride 3": (MaskedConvTranspose1d(8, 6, 3), 3),
    "reflecting": (ReflectConv1d(8, 6, 7), 1),
    "reflecting, stride 2": (ReflectConv1d(8, 6, 4, 2), 0.5),
    "reflecting, kernel 1": (ReflectConv1d(8, 6, 1), 1),
    "group norm": (MaskedGroupNorm(4, 8, 1e-6), 1),
}


@pytest.mark.parametrize("name", LAYERS)
def test_inside_a_clip_a_layer_gives_what_it_gives_for_the_clip_alone(name):
    layer, ratio = LAYERS[name]
    x_BDF = 1 + torch.randn(3, 8, 12, generator=torch.Generator().manual_seed(0))
    for row, length in enumerate(LENGTHS_B):
        x_BDF[row, :, length:] = 1e3
    y_BDF = layer(x_BDF, LENGTHS_B)
    assert y_BDF.shape[-1] == 12 * ratio
    for row, length in enumerate(LENGTHS_B.tolist()):
        alone_BDF = layer(x_BDF[row : row + 1, :, :length])
        assert alone_BDF.shape[-1] == length * ratio
        torch.testing.assert_close(y_BDF[row : row + 1, :, : int(length * ratio)], alone_BDF, rtol=1e-4, atol=1e-5)


def test_silenced_hides_even_what_is_not_a_number():
    x_BDF = torch.full((2, 3, 4), torch.nan)
    assert silenced(x_BDF, torch.tensor([0, 0])).eq(0).all()
    assert silenced(x_BDF, None) is x_BDF
    assert inside_BF(torch.tensor([1, 3]), 3).tolist() == [[True, False, False], [True, True, True]]


def test_a_reflecting_conv_pads_the_larger_half_on_the_left():
    """As in EnCodec: of 5 padded frames 3 stand on the left."""
    layer = ReflectConv1d(1, 1, 10, 5)
    x_BDF = torch.randn(1, 1, 20)
    wanted = nnf.conv1d(nnf.pad(x_BDF, (3, 2), mode="reflect"), layer.weight, layer.bias, stride=5)
    torch.testing.assert_close(layer(x_BDF), wanted)


def test_a_masked_group_norm_is_a_group_norm():
    layer, plain = MaskedGroupNorm(4, 8, 1e-6), nn.GroupNorm(4, 8, 1e-6)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    plain.load_state_dict(layer.state_dict())
    x_BDF = 3 + torch.randn(2, 8, 10)
    torch.testing.assert_close(layer(x_BDF, torch.tensor([10, 10])), plain(x_BDF), rtol=1e-4, atol=1e-5)
