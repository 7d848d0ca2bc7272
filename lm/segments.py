"""Sub-sequences that a discriminator judges, and one-hots that gradients pass through.

SegGAN (arXiv 1905.12835) judges nested prefixes beside the whole sequence, all by the same network. Here a prefix is cut on
frames, before the delay pattern, and each clip has its own: shares of its own length.

Shapes: B clips, F frames, V symbols, S segments (nested prefixes; the last one is the whole).
"""

import torch
from torch import Tensor


def prefix_lengths(num_frames_B: Tensor, num_segments: int) -> Tensor:
    """(S, B) frames of each prefix: whole numbers, rounded up, so that none is empty and the last is the whole."""
    shares_S1 = torch.arange(1, num_segments + 1, device=num_frames_B.device)[:, None]
    return (num_frames_B * shares_S1 + num_segments - 1) // num_segments


def prefix_masks(num_frames_B: Tensor, num_segments: int, num_frames: int) -> Tensor:
    """(S, B, F) bool: which frames each prefix has, of clips padded to `num_frames`."""
    frames = torch.arange(num_frames, device=num_frames_B.device)
    return frames < prefix_lengths(num_frames_B, num_segments)[:, :, None]


def straight_through(logits: Tensor, noise: Tensor, chosen: Tensor, temperature: float) -> Tensor:
    """(..., V) one-hots of the chosen symbols, bit for bit; their gradient is that of softmax((logits + noise) / temperature).

    With Gumbel noise, and the symbols that it makes largest, these are samples of the logits' distribution (Jang et al.,
    arXiv 1611.01144). Both sums are taken before the one-hot is added, so that nothing is left of them.
    """
    soft = ((logits + noise) / temperature).softmax(-1)
    hard = torch.zeros_like(soft).scatter_(-1, chosen[..., None], 1.0)
    return (soft - soft.detach()) + hard
