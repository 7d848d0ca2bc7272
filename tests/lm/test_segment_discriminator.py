from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from lm.segment_discriminator import SegmentDiscriminator, SegmentDiscriminatorConfig

SMALL = SegmentDiscriminatorConfig(representations=2, embedding_width=6, kernels=(1, 3), channels=5, features=7)
NUM_CODEBOOKS, NUM_FRAMES, VOCAB_SIZE = 3, 16, 9


def discriminator(segments=4, **options):
    torch.manual_seed(0)
    return SegmentDiscriminator(replace(SMALL, segments=segments), NUM_CODEBOOKS, VOCAB_SIZE, **options)


def tokens(num_clips=4, seed=0, num_frames=NUM_FRAMES):
    codes = torch.randint(VOCAB_SIZE, (num_clips, NUM_CODEBOOKS, num_frames), generator=torch.Generator().manual_seed(seed))
    return functional.one_hot(codes, VOCAB_SIZE).float()


def full(count=4, num_frames=NUM_FRAMES):
    return torch.full((count,), num_frames)


def plain_opinion(judge, one_hots_CFV):
    """What a text GAN's network says of one whole sequence, each codebook's embedding by itself."""
    logits = []
    for codebook, embedding in zip(one_hots_CFV, judge.embeddings):
        for part in (codebook @ embedding).split(SMALL.embedding_width, dim=1):
            hidden = [convolution(part.T[None]).relu().amax(-1)[0] for convolution in judge.convolutions]
            logits.append(judge.opinion(functional.leaky_relu(judge.hidden(torch.cat(hidden)), 0.2)))
    return torch.cat(logits)


def test_one_segment_is_the_plain_gan():
    judge, x_BCFV = discriminator(segments=1), tokens()
    logits_SBN, _ = judge(x_BCFV, full())
    assert logits_SBN.shape == (1, 4, NUM_CODEBOOKS * 2)
    torch.testing.assert_close(logits_SBN[0], torch.stack([plain_opinion(judge, one) for one in x_BCFV]))


def test_a_prefix_is_judged_as_it_is_alone_by_the_same_network():
    judge, x_BCFV = discriminator(), tokens()
    logits_SBN, _ = judge(x_BCFV, full())
    for segment, length in enumerate((4, 8, 12, 16)):
        alone_BN = torch.stack([plain_opinion(judge, one[:, :length]) for one in x_BCFV])
        torch.testing.assert_close(logits_SBN[segment], alone_BN)


def test_the_gradient_past_a_prefix_s_end_is_zero():
    judge, x_BCFV = discriminator(), tokens().requires_grad_()
    logits_SBN, _ = judge(x_BCFV, full())
    for segment, length in enumerate((4, 8, 12, 16)):
        (gradient,) = torch.autograd.grad(logits_SBN[segment].sum(), x_BCFV, retain_graph=True)
        assert not gradient[:, :, length:].any()
        assert gradient[:, :, :length].any()


def test_padding_changes_neither_opinions_nor_gradients():
    judge, x_BCFV = discriminator(), tokens(1, num_frames=10)
    junk_BCFV = torch.cat([x_BCFV, tokens(1, seed=1)], dim=2)
    found = []
    for padded in (x_BCFV, junk_BCFV):
        logits_SBN, features_SBND = judge(padded, torch.tensor([10]))
        gradients = torch.autograd.grad(logits_SBN.sum(), list(judge.parameters()))
        found.append([logits_SBN, features_SBND, *gradients])
    for one, other in zip(*found):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_the_context_belongs_to_every_segment():
    judge, x_BCFV = discriminator(), tokens()
    logits_SBN, _ = judge(x_BCFV, full(), context_B=full() // 2)
    for segment, length in enumerate((10, 12, 14, 16)):
        torch.testing.assert_close(logits_SBN[segment, 0], plain_opinion(judge, x_BCFV[0, :, :length]))


def test_averaged_features_give_one_opinion_and_of_one_segment_the_plain_one():
    x_BCFV = tokens()
    logits_SBN, features_SBND = discriminator(averages_features=True)(x_BCFV, full())
    _, every_SBND = discriminator()(x_BCFV, full())
    assert logits_SBN.shape[0] == 1
    torch.testing.assert_close(features_SBND[0], every_SBND.mean(0))
    one, plain = (discriminator(segments=1, averages_features=on)(x_BCFV, full())[0] for on in (True, False))
    assert torch.equal(one, plain)


def test_the_condition_is_seen():
    judge, x_BCFV = discriminator(), tokens()
    condition_BFE = torch.randn(4, NUM_FRAMES, SMALL.embedding_width)
    assert not torch.equal(judge(x_BCFV, full())[0], judge(x_BCFV, full(), condition_BFE)[0])


@pytest.mark.parametrize(
    ("options", "named"),
    [({"segments": 0}, "segments is 0"), ({"kernels": ()}, r"kernels are \(\)"), ({"features": 0}, "features is 0")],
)
def test_what_cannot_be_is_refused_by_name(options, named):
    with pytest.raises(ValueError, match=named):
        SegmentDiscriminatorConfig(**options)
