import pytest
import torch

from lm import loss
from lm.layout import IGNORED


@pytest.fixture
def case():
    torch.manual_seed(0)
    labels = torch.randint(11, (23, 3))
    labels[::4, 1] = IGNORED
    labels[5] = IGNORED
    return torch.randn(23, 6, dtype=torch.float64), torch.randn(3, 11, 6, dtype=torch.float64), labels


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("max_logits", [2**24, 55, 1])
def test_the_fused_loss_and_its_gradients_equal_the_plain_ones(case, smoothing, max_logits, monkeypatch):
    monkeypatch.setattr(loss, "MAX_LOGITS", max_logits)
    x, weight, labels = case
    found, wanted = ([t.clone().requires_grad_() for t in (x, weight)] for _ in range(2))
    total = loss.head_losses(*found, labels, smoothing).total
    plain = loss.plain_head_losses(*wanted, labels, smoothing)
    torch.testing.assert_close(total, plain)
    (2.5 * total).backward()
    (2.5 * plain).backward()
    for ours, theirs in zip(found, wanted):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_gradients_are_those_of_finite_differences(case):
    x, weight, labels = case
    x, weight, labels = x[:6].requires_grad_(), weight.requires_grad_(), labels[:6]
    assert torch.autograd.gradcheck(lambda x, weight: loss.head_losses(x, weight, labels, 0.2).total, (x, weight))


@pytest.mark.parametrize("max_logits", [2**24, 55])
def test_raised_logits_and_their_gradients_are_those_of_plain_ones(case, max_logits, monkeypatch):
    monkeypatch.setattr(loss, "MAX_LOGITS", max_logits)
    x, weight, labels = case
    symbols, by = torch.randint(11, labels.shape), torch.randn(labels.shape, dtype=torch.float64)
    found, wanted = ([t.clone().requires_grad_() for t in (x, weight, by)] for _ in range(2))
    ours = loss.head_losses(*found[:2], labels, 0.1, loss.Raised(symbols, found[2]))
    logits = torch.einsum("nd,kvd->nkv", *wanted[:2]).scatter_add(2, symbols[..., None], wanted[2][..., None])
    plain = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, label_smoothing=0.1, reduction="sum"
    )
    torch.testing.assert_close(ours.total, plain)
    (2.5 * ours.total).backward()
    (2.5 * plain).backward()
    for one, other in zip(found, wanted):
        torch.testing.assert_close(one.grad, other.grad)


def test_each_position_and_head_is_reported_without_smoothing(case):
    x, weight, labels = case
    found = loss.head_losses(x, weight, labels, 0.3)
    log_p = torch.einsum("nd,kvd->nkv", x, weight).log_softmax(-1)
    wanted = labels != IGNORED
    picked = -log_p.gather(2, labels.clamp(min=0)[..., None])[..., 0] * wanted
    torch.testing.assert_close(found.nll_NK, picked)
    assert torch.equal(found.correct_NK, (log_p.argmax(-1) == labels) & wanted)
    assert not found.nll_NK.requires_grad


def test_no_label_at_all_loses_nothing(case):
    x, weight, labels = case
    x.requires_grad_()
    total = loss.head_losses(x, weight, torch.full_like(labels, IGNORED)).total
    total.backward()
    assert total == 0 and not x.grad.any()


def test_low_precision_sums_in_float32(case):
    x, weight, labels = (t.bfloat16() if t.is_floating_point() else t for t in case)
    x.requires_grad_()
    found = loss.head_losses(x, weight, labels)
    wanted = loss.plain_head_losses(x.float(), weight.float(), labels)
    assert found.total.dtype == torch.float32
    torch.testing.assert_close(found.total, wanted, rtol=2e-2, atol=0)
    found.total.backward()
    assert x.grad.dtype == torch.bfloat16
