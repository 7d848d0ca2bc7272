import torch

from codec.discriminators.multi_resolution import ResolutionDiscriminator
from tests.codec.discriminators import waves


def test_a_padded_clip_is_judged_as_it_is_alone():
    judge = ResolutionDiscriminator(256, 4).double()
    wave_BT, num_samples_B = waves.padded([2000, 1, 777, 64])
    waves.assert_each_as_alone(judge, waves.silenced(wave_BT, num_samples_B), num_samples_B)


def test_it_hears_no_change_of_sign():
    judge = ResolutionDiscriminator(128, 4).double()
    wave_BT, _ = waves.padded([1000])
    torch.testing.assert_close(judge(wave_BT).logits_BFW, judge(-wave_BT).logits_BFW)
