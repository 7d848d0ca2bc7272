import math
from dataclasses import replace

import pytest
import torch

from codec import losses
from codec.discriminators.ensemble import DISCRIMINATOR_PRESETS, Discriminators
from codec.discriminators.segments import SegmentConfig, segments_of

TINY = DISCRIMINATOR_PRESETS["tiny"]


def discriminators():
    torch.manual_seed(0)
    return Discriminators(TINY)


def waves(num_samples=2400):
    torch.manual_seed(1)
    return torch.randn(4, num_samples)


@pytest.mark.parametrize("lengths", [None, [2400, 1200, 2400, 1600]])
def test_one_segment_is_today_s_training_bit_for_bit(lengths):
    judges, wave_BT = discriminators(), waves()
    num_samples_B = lengths and torch.tensor(lengths)
    found = []
    for judgements in (judges(wave_BT, num_samples_B), judges(wave_BT, num_samples_B, SegmentConfig(1, "parts"))):
        real, fake = losses.halves(judgements)
        loss = losses.discriminator_loss(real, fake) + losses.adversarial_loss(fake) + losses.feature_matching(real, fake)
        found.append([loss, *torch.autograd.grad(loss, list(judges.parameters()))])
    assert all(torch.equal(one, other) for one, other in zip(*found))


@pytest.mark.parametrize("kind", ["nested", "parts"])
def test_segments_are_judged_by_the_same_networks_and_averaged(kind):
    judges, wave_BT = discriminators(), waves()
    judged = judges(wave_BT, None, SegmentConfig(3, kind))
    cuts = [slice(0, 2400), slice(0, 800), slice(0, 1600)]
    if kind == "parts":
        cuts = [slice(0, 2400), slice(0, 800), slice(800, 1600), slice(1600, 2400)]
    alone = [judges(wave_BT[:, cut]) for cut in cuts]
    assert len(judged) == len(cuts) * len(alone[0])
    opinions = [losses.discriminator_loss(*losses.halves(one)) for one in alone]
    torch.testing.assert_close(losses.discriminator_loss(*losses.halves(judged)), torch.stack(opinions).mean())


@pytest.mark.parametrize("kind", ["nested", "parts"])
def test_a_short_clip_s_segments_are_cut_on_its_own_length_and_nothing_past_its_end_is_read(kind):
    judges, wave_BT = discriminators(), waves(2400)
    num_samples_B = torch.tensor([2400, 900, 2400, 901])
    junk_BT = wave_BT.clone()
    junk_BT[1, 900:] = math.nan
    junk_BT[3, 901:] = math.nan
    segments = SegmentConfig(3, kind)
    for one, other in zip(judges(wave_BT, num_samples_B, segments), judges(junk_BT, num_samples_B, segments)):
        assert torch.equal(one.logits_BFW, other.logits_BFW)
        assert bool(one.logits_BFW.isfinite().all())
    lengths = [None if part_B is None else part_B.tolist() for _, part_B in segments_of(wave_BT, num_samples_B, segments)]
    nested = [[2400, 900, 2400, 901], [800, 300, 800, 301], [1600, 600, 1600, 601]]
    assert lengths == (nested if kind == "nested" else [nested[0], *[[800, 300, 800, 300]] * 3])


def test_the_gradient_past_a_segment_s_end_is_zero():
    judges, wave_BT = discriminators(), waves().requires_grad_()
    whole = len(judges(wave_BT))
    judged = judges(wave_BT, None, SegmentConfig(4))
    for segment, end in enumerate((600, 1200, 1800), start=1):
        opinions = [one.logits_BFW.sum() for one in judged[segment * whole : (segment + 1) * whole]]
        (gradient,) = torch.autograd.grad(sum(opinions), wave_BT, retain_graph=True)
        assert not gradient[:, end:].any() and gradient[:, :end].any()


def test_fewer_than_one_is_refused():
    with pytest.raises(ValueError, match=r"segments\.count is 0"):
        replace(SegmentConfig(), count=0)
