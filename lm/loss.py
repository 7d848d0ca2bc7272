"""Cross-entropy of K heads without all logits in memory at once.

Shapes: N positions with a label, K heads, V symbols, D width.

Logits of K heads are the largest tensors of a training step. Here each head's are made, turned into loss and gradient in the
forward pass, and dropped, as in Liger Kernel's fused linear cross-entropy (Hsu et al. 2024, arXiv 2410.10989, section 3.2):
nothing is computed twice.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lm.layout import IGNORED

MAX_LOGITS = 2**24  # made at once


class HeadLosses(NamedTuple):
    """What K heads lose on N positions; 0 where the label is IGNORED. A tuple: ZeRO-3 sees no tensors in other classes."""

    total: Tensor  # scalar to train on: the sum over all labels, smoothed
    nll_NK: Tensor  # -log p(label), without smoothing and gradient
    correct_NK: Tensor  # bool: the label has the highest probability


class Raised(NamedTuple):
    """A symbol of each position and head whose logit is raised by so much."""

    symbols_NK: Tensor
    by_NK: Tensor


def head_losses(
    x_ND: Tensor, weight_KVD: Tensor, labels_NK: Tensor, label_smoothing: float = 0.0, raised: Raised | None = None
) -> HeadLosses:
    """Losses of logits x @ weight[k]. With label smoothing e the label weighs 1 - e, and all symbols share e."""
    return HeadLosses(*_HeadLosses.apply(x_ND, weight_KVD, labels_NK, label_smoothing, *(raised or (None, None))))


class _HeadLosses(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx,
        x_ND: Tensor,
        weight_KVD: Tensor,
        labels_NK: Tensor,
        label_smoothing: float,
        raised_NK: Tensor | None,
        by_NK: Tensor | None,
    ):
        needs_x, needs_weight = ctx.needs_input_grad[:2]
        wide = torch.promote_types(x_ND.dtype, torch.float32)  # of what is summed
        grad_x = torch.zeros_like(x_ND, dtype=wide) if needs_x else None
        grad_weight = torch.zeros_like(weight_KVD, dtype=wide) if needs_weight else None
        nll_NK = x_ND.new_zeros(labels_NK.shape, dtype=wide)
        correct_NK = torch.zeros_like(labels_NK, dtype=torch.bool)
        total = x_ND.new_zeros((), dtype=wide)
        num_symbols = weight_KVD.shape[1]
        grad_by = None if by_NK is None else torch.zeros_like(by_NK, dtype=wide)
        for k, weight_VD in enumerate(weight_KVD):
            for rows in torch.arange(len(x_ND), device=x_ND.device).split(max(MAX_LOGITS // num_symbols, 1)):
                part = slice(int(rows[0]), int(rows[-1]) + 1)
                x_RD, labels_R = x_ND[part], labels_NK[part, k]
                wanted_R = labels_R != IGNORED
                logits_RV = (x_RD @ weight_VD.T).to(wide)
                if by_NK is not None:
                    logits_RV.scatter_add_(1, raised_NK[part, k, None], by_NK[part, k, None].to(wide))
                target_R1 = labels_R.clamp(min=0)[:, None]
                logit_R, most_R = logits_RV.gather(1, target_R1)[:, 0], logits_RV.amax(1)
                mean_R = logits_RV.mean(1) if label_smoothing else None
                exp_RV = logits_RV.sub_(most_R[:, None]).exp_()  # one exponential for the loss and its gradient
                sum_R = exp_RV.sum(1)
                log_sum_R = most_R + sum_R.log()
                nll_R = (log_sum_R - logit_R) * wanted_R
                nll_NK[part, k], correct_NK[part, k] = nll_R, wanted_R & (logit_R == most_R)
                total += nll_R.sum()
                if label_smoothing:
                    total += label_smoothing * ((log_sum_R - mean_R) * wanted_R - nll_R).sum()
                if needs_x or needs_weight or by_NK is not None:
                    # d loss / d logits = softmax - smoothed label, 0 where there is no label
                    grad_RV = exp_RV.mul_((wanted_R.to(wide) / sum_R)[:, None])
                    grad_RV.scatter_add_(1, target_R1, (wanted_R.to(wide) * (label_smoothing - 1))[:, None])
                    if label_smoothing:
                        grad_RV.sub_((wanted_R.to(wide) * (label_smoothing / num_symbols))[:, None])
                    if by_NK is not None:
                        grad_by[part, k] = grad_RV.gather(1, raised_NK[part, k, None])[:, 0]
                    grad_RV = grad_RV.to(x_RD.dtype)
                    if needs_x:
                        _add_product(grad_x[part], grad_RV, weight_VD)
                    if needs_weight:
                        _add_product(grad_weight[k], grad_RV.T, x_RD)
        ctx.save_for_backward(grad_x, grad_weight, grad_by)
        ctx.dtypes = x_ND.dtype, weight_KVD.dtype, None if by_NK is None else by_NK.dtype
        ctx.mark_non_differentiable(nll_NK, correct_NK)
        return total, nll_NK, correct_NK

    @staticmethod
    def backward(ctx, grad_total: Tensor, *_: Tensor):
        grads = [None if grad is None else (grad * grad_total).to(dtype) for grad, dtype in zip(ctx.saved_tensors, ctx.dtypes)]
        return *grads[:2], None, None, None, grads[2]


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, at once where the types allow it."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


def plain_head_losses(x_ND: Tensor, weight_KVD: Tensor, labels_NK: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The same total with all logits in memory: what the fused version is tested and measured against."""
    logits_NKV = torch.einsum("nd,kvd->nkv", x_ND, weight_KVD)
    return F.cross_entropy(
        logits_NKV.flatten(0, 1), labels_NK.flatten(), ignore_index=IGNORED, label_smoothing=label_smoothing, reduction="sum"
    )
