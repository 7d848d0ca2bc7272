"""Transformer of the H-Codec encoders and decoders: an LSTM inside each attention, rotary positions, SwiGLU, full attention.

Shapes: B clips, F frames, D width, H heads, E width of a head.
"""

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from codec.masked import inside_BF, silenced

ROPE_THETA = 10000.0


def rotary_FE(num_frames: int, head_width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine of each position's angles, (num_frames, head_width), float32; the two halves of a head form the pairs."""
    steps_E = torch.arange(0, head_width, 2, device=device, dtype=torch.float32) / head_width
    positions_F = torch.arange(num_frames, device=device, dtype=torch.float32)
    angles_FE = torch.outer(positions_F, ROPE_THETA**-steps_E).repeat(1, 2)
    return angles_FE.cos(), angles_FE.sin()


def rotate(x_BHFE: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary position embedding (arXiv 2104.09864) applied to queries or keys."""
    cos_FE, sin_FE = rotary
    first, second = x_BHFE.chunk(2, dim=-1)
    return (x_BHFE * cos_FE + torch.cat([-second, first], dim=-1) * sin_FE).to(x_BHFE.dtype)


class RecurrentAttention(nn.Module):
    """Attention over all frames whose queries, keys and values are read from a unidirectional LSTM over its input."""

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x_BFD: Tensor, rotary: tuple[Tensor, Tensor], mask_B11F: Tensor | None) -> Tensor:
        with torch.autocast(x_BFD.device.type, enabled=False):  # or on GPUs it casts an LSTM to float16, bf16 asked or not
            x_BFD, _ = self.lstm(x_BFD.to(self.lstm.weight_ih_l0.dtype))
        query, key, value = (
            layer(x_BFD).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        mixed_BHFE = nnf.scaled_dot_product_attention(rotate(query, rotary), rotate(key, rotary), value, attn_mask=mask_B11F)
        return self.out(mixed_BHFE.transpose(1, 2).flatten(2))


class SwiGlu(nn.Module):
    """Gated feed-forward layer without bias (arXiv 2002.05202)."""

    def __init__(self, width: int, inner_width: int):
        super().__init__()
        self.gate = nn.Linear(width, inner_width, bias=False)
        self.up = nn.Linear(width, inner_width, bias=False)
        self.down = nn.Linear(inner_width, width, bias=False)

    def forward(self, x_BFD: Tensor) -> Tensor:
        return self.down(nnf.silu(self.gate(x_BFD)) * self.up(x_BFD))


class TransformerLayer(nn.Module):
    """Attention and feed-forward, each after an RMSNorm and added to its input."""

    def __init__(self, width: int, num_heads: int, feed_forward_width: int):
        super().__init__()
        self.attention_norm = nn.RMSNorm(width, eps=1e-6)
        self.attention = RecurrentAttention(width, num_heads)
        self.feed_forward_norm = nn.RMSNorm(width, eps=1e-6)
        self.feed_forward = SwiGlu(width, feed_forward_width)

    def forward(self, x_BFD: Tensor, rotary: tuple[Tensor, Tensor], mask_B11F: Tensor | None) -> Tensor:
        x_BFD = x_BFD + self.attention(self.attention_norm(x_BFD), rotary, mask_B11F)
        return x_BFD + self.feed_forward(self.feed_forward_norm(x_BFD))


class Transformer(nn.Module):
    """Layers over channels-first frames, (B, D, F) -> (B, D, F)."""

    def __init__(self, width: int, num_heads: int, feed_forward_width: int, num_layers: int):
        super().__init__()
        if width % (2 * num_heads):
            raise ValueError(f"a Transformer of width {width} cannot have {num_heads} heads: the width of a head must be even")
        self.head_width = width // num_heads
        self.layers = nn.ModuleList(TransformerLayer(width, num_heads, feed_forward_width) for _ in range(num_layers))

    def forward(self, x_BDF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        num_frames = x_BDF.shape[-1]
        rotary = rotary_FE(num_frames, self.head_width, x_BDF.device)
        mask_B11F = None if num_frames_B is None else inside_BF(num_frames_B, num_frames)[:, None, None]
        x_BFD = silenced(x_BDF, num_frames_B).transpose(
            1, 2
        )  # what is past the end may be infinite, and weight 0 would not hide it
        for layer in self.layers:
            x_BFD = layer(x_BFD, rotary, mask_B11F)
        return x_BFD.transpose(1, 2)
