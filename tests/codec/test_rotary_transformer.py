"""The Transformer of the dynamic frame rate."""

import pytest
import torch

from codec.rotary_transformer import RotaryTransformer, _rotary, _rotate


def tiny(layer_scale: float = 0.5, seed: int = 0) -> RotaryTransformer:
    torch.manual_seed(seed)
    return RotaryTransformer(16, num_layers=3, num_heads=2, feed_forward_width=32, layer_scale=layer_scale).eval()


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_padded_batch_equals_each_clip_alone():
    model, lengths = tiny(), [9, 1, 23]
    x_BDF = noise(3, 16, 23)
    for clip, length in enumerate(lengths):
        x_BDF[clip, :, length:] = torch.nan
    batch_BDF = model(x_BDF, torch.tensor(lengths))
    for clip, length in enumerate(lengths):
        alone_DF = model(x_BDF[clip : clip + 1, :, :length])[0]
        torch.testing.assert_close(batch_BDF[clip, :, :length], alone_DF)


def test_every_frame_reads_every_other_however_far():
    x_BDF = noise(1, 16, 100).requires_grad_()
    tiny()(x_BDF)[0, :, 0].sum().backward()
    assert torch.all(x_BDF.grad.abs().sum(1) > 0)


def test_queries_and_keys_meet_by_their_distance_alone():
    query, key = noise(1, 1, 1, 8), noise(1, 1, 1, 8, seed=2)
    turned = [_rotate(x.expand(-1, -1, 40, -1), _rotary(40, 8, torch.device("cpu"))) for x in (query, key)]
    products_FF = (turned[0] @ turned[1].transpose(-1, -2))[0, 0]
    for distance in (-7, 0, 1, 30):
        along = products_FF.diagonal(distance)
        torch.testing.assert_close(along, along[:1].expand_as(along), atol=1e-4, rtol=1e-4)
    assert products_FF[0].std() > 0.1


def test_order_matters():
    x_BDF = noise(1, 16, 10)
    assert not torch.allclose(tiny()(x_BDF.flip(2)).flip(2), tiny()(x_BDF), atol=1e-3)


def test_it_starts_close_to_doing_nothing():
    x_BDF = noise(2, 16, 20)
    change = tiny(layer_scale=0.01)(x_BDF) - x_BDF
    assert 0 < change.abs().max() < 0.1


def test_a_width_that_heads_cannot_share_is_refused():
    with pytest.raises(ValueError, match="width 18 with 4 heads"):
        RotaryTransformer(18, num_layers=1, num_heads=4, feed_forward_width=8)
