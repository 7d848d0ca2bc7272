import torch

from lm.segments import prefix_lengths, prefix_masks, straight_through


def test_prefixes_are_quarters_of_a_clip_s_own_length_rounded_up():
    assert prefix_lengths(torch.tensor([64, 10, 1]), 4).tolist() == [[16, 3, 1], [32, 5, 1], [48, 8, 1], [64, 10, 1]]


def test_one_segment_is_the_whole():
    lengths_B = torch.tensor([7, 3])
    assert torch.equal(prefix_lengths(lengths_B, 1)[0], lengths_B)


def test_prefixes_are_nested_and_the_last_is_all_there_is():
    masks_SBF = prefix_masks(torch.tensor([9, 4]), 3, 12)
    assert bool((masks_SBF[:-1] <= masks_SBF[1:]).all())
    assert masks_SBF[-1].sum(1).tolist() == [9, 4]


def test_one_hots_are_exact_and_have_the_gradient_of_the_softmax():
    torch.manual_seed(0)
    logits, noise = torch.randn(5, 7, 11, requires_grad=True), torch.randn(5, 7, 11)
    chosen = (logits + noise).argmax(-1)
    found = straight_through(logits, noise, chosen, 0.5)
    assert torch.equal(found.detach(), torch.nn.functional.one_hot(chosen, 11).float())
    weight = torch.randn(5, 7, 11)
    (mine,) = torch.autograd.grad((found * weight).sum(), logits)
    (softmax,) = torch.autograd.grad((((logits + noise) / 0.5).softmax(-1) * weight).sum(), logits)
    assert torch.equal(mine, softmax)
