import math

import pytest
import torch

from codec.discriminators.ensemble import DISCRIMINATOR_PRESETS, DiscriminatorConfig, Discriminators


def test_all_kinds_judge():
    judgements = Discriminators(DISCRIMINATOR_PRESETS["tiny"])(torch.randn(2, 4000))
    assert len(judgements) == 5
    assert all(len(judgement.logits_BFW) == 2 for judgement in judgements)


def test_what_stands_past_a_clips_end_is_not_read():
    torch.manual_seed(0)
    discriminators = Discriminators(DISCRIMINATOR_PRESETS["tiny"])
    wave_BT, num_samples_B = torch.randn(2, 3000), torch.tensor([3000, 1234])
    junk_BT = wave_BT.clone()
    junk_BT[1, 1234:] = math.nan
    for one, other in zip(discriminators(wave_BT, num_samples_B), discriminators(junk_BT, num_samples_B)):
        assert torch.equal(one.logits_BFW, other.logits_BFW)
        assert all(torch.equal(a, b) for a, b in zip(one.features, other.features))


def test_the_full_set_has_the_size_of_the_published_ones():
    with torch.device("meta"):
        discriminators = Discriminators(DISCRIMINATOR_PRESETS["full"])
    count = sum(parameter.numel() for parameter in discriminators.period.parameters())
    assert count == pytest.approx(41.1e6, rel=0.01)  # HiFi-GAN's five period discriminators


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"periods": (), "resolution_windows": (), "band_windows": ()}, "give one at least"),
        ({"band_windows": (30,)}, "multiples of 4"),
        ({"band_edges": (0.0, 0.5, 0.5, 1.0)}, "rise from 0 to 1"),
        ({"band_edges": (0.1, 1.0)}, "rise from 0 to 1"),
        ({"band_windows": (64,)}, "fewer than 5 bins"),
        ({"periods": (0,)}, "at least 1"),
    ],
)
def test_what_cannot_be_is_refused_by_name(options, named):
    with pytest.raises(ValueError, match=named):
        DiscriminatorConfig(**options)
