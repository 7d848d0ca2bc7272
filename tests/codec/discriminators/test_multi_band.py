import torch

from codec.discriminators.multi_band import BandDiscriminator
from tests.codec.discriminators import waves

EDGES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)


def test_a_padded_clip_is_judged_as_it_is_alone():
    judge = BandDiscriminator(256, 4, EDGES).double()
    wave_BT, num_samples_B = waves.padded([2000, 1, 777, 64])
    waves.assert_each_as_alone(judge, waves.silenced(wave_BT, num_samples_B), num_samples_B)


def test_it_hears_a_change_of_sign():
    judge = BandDiscriminator(128, 4, EDGES).double()
    wave_BT, _ = waves.padded([1000])
    assert not torch.allclose(judge(wave_BT).logits_BFW, judge(-wave_BT).logits_BFW)


def test_every_bin_belongs_to_one_band():
    for window in (32, 512, 1024, 2048):
        judge = BandDiscriminator(window, 2, EDGES)
        assert sum(judge.sizes) == window // 2 + 1
        assert min(judge.sizes) > 0


@torch.no_grad()
def test_a_tone_changes_the_features_of_its_band_only():
    judge = BandDiscriminator(512, 4, EDGES).double()
    wave_BT, _ = waves.padded([4096])
    tone_T = torch.sin(torch.arange(4096, dtype=torch.float64) * torch.pi * 0.6)  # at 0.6 of half the rate: the fourth band
    before, after = judge(wave_BT).features, judge(wave_BT + tone_T).features
    first_of_each_band = slice(0, None, 5)
    differs = [float((one - other).abs().mean()) for one, other in zip(before[first_of_each_band], after[first_of_each_band])]
    assert differs[3] > 20 * max(differs[:3] + differs[4:])
