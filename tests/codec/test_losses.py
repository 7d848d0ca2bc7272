import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec import losses
from codec.discriminators.ensemble import DiscriminatorConfig, Discriminators

RATE_HZ = 16000
lengths = st.lists(st.integers(1, 3000), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def discriminators():
    torch.manual_seed(0)
    return Discriminators(DiscriminatorConfig((2, 3), (4, 8), (128,), (128,), spectral_width=4))


def pair(lengths, seed=0):
    """A real and a fake batch, 0 past each clip's end."""
    generator = torch.Generator().manual_seed(seed)
    num_samples_B = torch.tensor(lengths)
    inside_BT = torch.arange(max(lengths) + 100) < num_samples_B[:, None]
    real_BT, fake_BT = torch.randn(2, *inside_BT.shape, generator=generator) * inside_BT * 0.3
    return real_BT, fake_BT, num_samples_B


def judged(discriminators, real_BT, fake_BT, num_samples_B=None):
    """Every loss that discriminators have a part in."""
    twice_B = None if num_samples_B is None else num_samples_B.repeat(2)
    real, fake = losses.halves(discriminators(torch.cat([real_BT, fake_BT]), twice_B))
    adversarial = losses.adversarial_loss(fake)
    return torch.stack([losses.discriminator_loss(real, fake), adversarial, losses.feature_matching(real, fake)])


@settings(max_examples=10, deadline=None)
@given(lengths=lengths)
def test_each_loss_of_a_padded_batch_is_the_mean_of_each_clip_alone(discriminators, lengths):
    real_BT, fake_BT, num_samples_B = pair(lengths)
    clips = [(real_T[None, :length], fake_T[None, :length]) for real_T, fake_T, length in zip(real_BT, fake_BT, lengths)]
    alone = torch.stack([losses.mel_distance(real, fake, RATE_HZ) for real, fake in clips]).mean()
    torch.testing.assert_close(losses.mel_distance(real_BT, fake_BT, RATE_HZ, num_samples_B), alone)
    alone = torch.stack([judged(discriminators, real, fake) for real, fake in clips]).mean(0)
    torch.testing.assert_close(judged(discriminators, real_BT, fake_BT, num_samples_B), alone)


def test_padding_gets_no_gradient(discriminators):
    real_BT, fake_BT, num_samples_B = pair([2000, 500])
    fake_BT.requires_grad_()
    judged(discriminators, real_BT, fake_BT, num_samples_B).sum().backward()
    assert fake_BT.grad[1, :500].any()
    assert not fake_BT.grad[1, 500:].any()


def test_feature_frames_past_the_end_are_not_compared():
    real_BDF, predicted_BDF = torch.randn(2, 2, 4, 10)
    predicted_BDF[1, :, 6:] = math.nan
    expected = ((real_BDF[0] - predicted_BDF[0]) ** 2).mean() + ((real_BDF - predicted_BDF)[1, :, :6] ** 2).mean()
    torch.testing.assert_close(losses.semantic_distance(real_BDF, predicted_BDF, torch.tensor([10, 6])), expected / 2)


def test_the_same_wave_has_no_distance(discriminators):
    real_BT, _, num_samples_B = pair([2000, 500])
    assert losses.mel_distance(real_BT, real_BT, RATE_HZ, num_samples_B) == 0
    real, fake = losses.halves(discriminators(torch.cat([real_BT, real_BT])))
    assert losses.feature_matching(real, fake) == 0


def test_ten_times_the_level_is_the_logarithm_of_ten_apart():
    wave_BT = torch.randn(1, 16000)
    assert float(losses.mel_distance(wave_BT, wave_BT * 10, RATE_HZ)) == pytest.approx(math.log(10), rel=0.1)


def test_hinge_losses_are_those_of_the_paper():
    logits_BFW = torch.tensor([[[2.0], [0.0]]])
    judgement = [losses.Judgement(logits_BFW, [], None)]
    assert losses.discriminator_loss(judgement, judgement) == (0 + 1) / 2 + (3 + 1) / 2
    assert losses.adversarial_loss(judgement) == -1


def test_silence_keeps_losses_and_gradients_finite(discriminators):
    fake_BT = torch.zeros(1, 2000, requires_grad=True)
    loss = losses.mel_distance(torch.zeros(1, 2000), fake_BT, RATE_HZ)
    (loss + judged(discriminators, torch.zeros(1, 2000), fake_BT).sum()).backward()
    assert fake_BT.grad.isfinite().all()


def test_real_features_pass_no_gradient_to_the_real_wave(discriminators):
    real_BT, fake_BT, _ = pair([2000])
    real_BT.requires_grad_(), fake_BT.requires_grad_()
    losses.feature_matching(discriminators(real_BT), discriminators(fake_BT)).backward()
    assert real_BT.grad is None
    assert fake_BT.grad.any()


def test_weights_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"losses.mel is nan"):
        losses.LossConfig(mel=math.nan)
