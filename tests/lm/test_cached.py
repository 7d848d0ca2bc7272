import pytest
import torch

from lm.cached import Cache, Stepper, prefill, turns
from tests.lm.test_decoder import CONFIG, GROUPED, decoder_of


@pytest.mark.parametrize("config", [CONFIG, GROUPED])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("lengths", [[9, 9], [9, 4]])
@torch.no_grad()
def test_steps_from_the_cache_equal_the_whole_forward(config, lengths, masked):
    decoder = decoder_of(config)
    x, lengths = torch.randn(2, 14, 64), torch.tensor(lengths)
    clock = torch.arange(14.0).expand(2, -1) * 0.5 - 3
    whole = decoder(x, clock)
    cache, stepper = Cache(config, 2, 14, x), Stepper(decoder)
    hidden = prefill(decoder, x[:, :9], clock[:, :9], lengths, cache)
    cache.uniform = cache.uniform and not masked
    rows = torch.arange(2)
    torch.testing.assert_close(hidden, whole[rows, lengths - 1], atol=1e-5, rtol=1e-5)
    for step in range(5):
        at = rows, lengths + step
        hidden = stepper(x[at], turns(clock[at][:, None], config, x.dtype), cache)
        torch.testing.assert_close(hidden, whole[at], atol=1e-5, rtol=1e-5)
    assert cache.lengths_B.tolist() == (lengths + 5).tolist()


def test_what_is_stale_in_the_cache_is_not_seen():
    decoder = decoder_of(CONFIG)
    x, lengths, clock = torch.randn(2, 6, 64), torch.tensor([5, 2]), torch.arange(6.0).expand(2, -1)
    hidden = []
    for stale in (0.0, 100.0):
        with torch.no_grad():
            cache = Cache(CONFIG, 2, 8, x)
            for layer in (*cache.keys, *cache.values):
                layer.fill_(stale)
            prefill(decoder, x[:, :5], clock[:, :5], lengths, cache)
            hidden.append(Stepper(decoder)(x[:, 5], turns(lengths[:, None], CONFIG, x.dtype), cache))
    assert torch.equal(*hidden)
