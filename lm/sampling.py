"""From logits to symbols.

Shapes: B rows, K layers, V symbols.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

NEVER = float("-inf")


@dataclass(frozen=True)
class Sampling:
    """How symbols are chosen. The defaults sample from the model's own distribution."""

    temperature: float = 1.0
    """0 takes the most probable symbol."""
    top_k: int = 0
    """Only the k most probable symbols; 0: all."""
    top_p: float = 1.0
    """Only the most probable symbols that together have this probability (Holtzman et al. 2020)."""
    guidance: float = 1.0
    """Classifier-free guidance (Ho and Salimans 2022) away from the logits without the task's guiding condition. 1: none."""

    def __post_init__(self) -> None:
        if not self.temperature >= 0 or not self.top_k >= 0 or not 0 < self.top_p <= 1 or not self.guidance >= 0:
            raise ValueError(f"{self}: temperature, top_k and guidance are 0 or more, top_p is above 0 and at most 1")


def guided(logits: Tensor, scale: float) -> Tensor:
    """Logits of the first half of the rows, moved away from those of the second half, which lack the condition."""
    with_condition, without = logits.chunk(2)
    return without + scale * (with_condition - without)


def choose(logits_BKV: Tensor, uniform_BK: Tensor | None, sampling: Sampling) -> Tensor:
    """(B, K) symbols: the most probable, or where a draw in [0, 1) falls in the cumulated probabilities.

    One draw a symbol makes a clip's symbols independent of the batch it is in.
    """
    if sampling.temperature == 0:
        return logits_BKV.argmax(-1)
    probabilities = probabilities_of(logits_BKV, sampling)
    cumulated = probabilities.cumsum(-1, dtype=torch.float64)
    point = uniform_BK.to(cumulated)[..., None] * cumulated[..., -1:]
    return torch.searchsorted(cumulated, point, right=True)[..., 0].clamp(max=logits_BKV.shape[-1] - 1)


def probabilities_of(logits_BKV: Tensor, sampling: Sampling) -> Tensor:
    """What symbols are drawn from: temperature, then top-k, then top-p."""
    logits_BKV = logits_BKV.float() / sampling.temperature
    if 0 < sampling.top_k < logits_BKV.shape[-1]:
        least = logits_BKV.topk(sampling.top_k).values[..., -1:]
        logits_BKV = logits_BKV.masked_fill(logits_BKV < least, NEVER)
    probabilities = logits_BKV.softmax(-1)
    if sampling.top_p < 1:
        sorted_down, order = probabilities.sort(dim=-1, descending=True, stable=True)
        before = sorted_down.cumsum(-1) - sorted_down  # the first symbol has 0 before it, and always stays
        probabilities = probabilities.masked_fill(torch.zeros_like(before).scatter(-1, order, before) >= sampling.top_p, 0)
    return probabilities
