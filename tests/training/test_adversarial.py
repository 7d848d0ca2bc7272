import pytest
import torch
from torch.nn import functional

from training.adversarial import FORMS, Opinions, Policy, credit_of, discriminator_loss, generator_loss

NUM_SEGMENTS, NUM_CLIPS, NUM_REPRESENTATIONS, NUM_FRAMES = 4, 6, 3, 8


def opinions(seed, segments=NUM_SEGMENTS):
    draws = torch.Generator().manual_seed(seed)
    logits_SBN = torch.randn(segments, NUM_CLIPS, NUM_REPRESENTATIONS, generator=draws)
    return Opinions(logits_SBN.requires_grad_(), torch.randn(*logits_SBN.shape, 5, generator=draws).requires_grad_())


def policy(num_frames_B=None):
    log_likely_BNF = -torch.rand(NUM_CLIPS, NUM_REPRESENTATIONS, NUM_FRAMES, generator=torch.Generator().manual_seed(2))
    return Policy(
        log_likely_BNF.requires_grad_(), torch.full((NUM_CLIPS,), NUM_FRAMES) if num_frames_B is None else num_frames_B
    )


def test_relativistic_losses_are_the_mean_over_segments_and_representations_of_the_pairs():
    real, fake = opinions(0), opinions(1)
    differences = [
        (real.logits_SBN[s, b, n] - fake.logits_SBN[s, b, n])
        for s in range(NUM_SEGMENTS)
        for b in range(NUM_CLIPS)
        for n in range(NUM_REPRESENTATIONS)
    ]
    expected = -torch.stack(differences).sigmoid().log().mean()
    torch.testing.assert_close(discriminator_loss("relgan", real, fake), expected)
    torch.testing.assert_close(generator_loss("relgan", fake, real), -(-torch.stack(differences)).sigmoid().log().mean())


@pytest.mark.parametrize("form", FORMS)
def test_one_segment_is_the_plain_gan(form):
    real, fake, of = opinions(0, 1), opinions(1, 1), policy()
    real_BN, fake_BN = real.logits_SBN[0], fake.logits_SBN[0]
    if form == "seqgan":
        expected = functional.binary_cross_entropy_with_logits(
            torch.cat([real_BN, fake_BN]), torch.cat([torch.ones_like(real_BN), torch.zeros_like(fake_BN)])
        )
        rewards_BN = fake_BN.sigmoid()
        advantage_BN = rewards_BN - rewards_BN.mean(0)
        of_generator = -(advantage_BN * of.log_likely_BNF.mean(-1)).mean()
    else:
        expected = -(real_BN - fake_BN).sigmoid().log().mean()
        of_generator = -(fake_BN - real_BN).sigmoid().log().mean()
    if form == "leakgan":
        of_generator = of_generator + 1 - functional.cosine_similarity(fake.features_SBND, real.features_SBND, dim=-1).mean()
    torch.testing.assert_close(discriminator_loss(form, real, fake), expected)
    torch.testing.assert_close(generator_loss(form, fake, real, of), of_generator)


@pytest.mark.parametrize("form", FORMS)
def test_the_generator_s_loss_has_no_gradient_in_what_is_real(form):
    real, fake = opinions(0), opinions(1)
    generator_loss(form, fake, real, policy()).backward()
    assert real.logits_SBN.grad is None and real.features_SBND.grad is None


def test_a_token_is_credited_by_segments_that_end_after_it_only():
    rewards_SBN = torch.rand(NUM_SEGMENTS, NUM_CLIPS, NUM_REPRESENTATIONS).requires_grad_()
    credit_BNF = credit_of(rewards_SBN, torch.full((NUM_CLIPS,), NUM_FRAMES), NUM_FRAMES)
    for frame in range(NUM_FRAMES):
        (gradient,) = torch.autograd.grad(credit_BNF[..., frame].square().sum(), rewards_SBN, retain_graph=True)
        ended = frame // 2  # segments of 2, 4, 6, 8 frames
        assert not gradient[:ended].any()
        assert gradient[ended:].abs().sum((1, 2)).min() > 0


def test_credit_past_a_clip_s_end_is_zero_and_padding_changes_no_loss():
    num_frames_B = torch.tensor([3, 5, 8, 8, 2, 1])
    rewards_SBN = torch.rand(NUM_SEGMENTS, NUM_CLIPS, NUM_REPRESENTATIONS)
    credit_BNF = credit_of(rewards_SBN, num_frames_B, NUM_FRAMES)
    outside_BF = torch.arange(NUM_FRAMES) >= num_frames_B[:, None]
    assert not credit_BNF.masked_select(outside_BF[:, None].expand_as(credit_BNF)).any()
    of, fake = policy(num_frames_B), opinions(1)
    junk = torch.where(outside_BF[:, None], torch.tensor(-100.0), of.log_likely_BNF)
    more = Policy(torch.cat([junk, junk], dim=-1), num_frames_B)
    torch.testing.assert_close(generator_loss("seqgan", fake, fake, of), generator_loss("seqgan", fake, fake, more))


def test_a_codebook_with_several_representations_is_credited_by_their_mean():
    of, fake = policy(), opinions(1)
    one = Policy(of.log_likely_BNF[:, :1], of.num_frames_B)
    mean = Opinions(fake.logits_SBN, fake.features_SBND)
    rewards = mean.logits_SBN.detach().sigmoid()
    credit_B1F = credit_of(rewards, of.num_frames_B, NUM_FRAMES).mean(1, keepdim=True)
    expected = -(credit_B1F * one.log_likely_BNF).mean()
    torch.testing.assert_close(generator_loss("seqgan", fake, fake, one), expected)


def test_halves_are_the_first_and_the_second_clips():
    logits, features = torch.randn(2, 6, 3), torch.randn(2, 6, 3, 5)
    first, second = Opinions.halves((logits, features))
    assert torch.equal(first.logits_SBN, logits[:, :3]) and torch.equal(second.features_SBND, features[:, 3:])
