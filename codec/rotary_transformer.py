"""Transformer of the dynamic frame rate: rotary positions, full attention, small residual steps.

The layers of Mimi (arXiv 2410.00037) without their causal window, as H-Codec 1.5 uses them: LayerNorm first, GELU, no biases,
layer scale. The released configuration names a context of 16 frames, but its network attends everywhere, by the golden tensors.

Shapes: B clips, D width, F frames, H heads, E width of a head.
"""

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from codec.masked import inside_BF, silenced

ROPE_THETA = 10000.0


class RotaryTransformer(nn.Module):
    """(B, D, F) to (B, D, F). Frames past `num_frames_B` are not attended to, and come out unspecified."""

    def __init__(self, width: int, *, num_layers: int, num_heads: int, feed_forward_width: int, layer_scale: float = 0.01):
        super().__init__()
        if width % (2 * num_heads):
            raise ValueError(f"a transformer of width {width} with {num_heads} heads: a head needs an even, whole width")
        self.head_width = width // num_heads
        self.layers = nn.ModuleList(_Layer(width, num_heads, feed_forward_width, layer_scale) for _ in range(num_layers))

    def forward(self, x_BDF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        num_frames = x_BDF.shape[2]
        mask_B11F = None if num_frames_B is None else inside_BF(num_frames_B, num_frames)[:, None, None]
        rotary = _rotary(num_frames, self.head_width, x_BDF.device)
        x_BFD = silenced(x_BDF, num_frames_B).transpose(1, 2)  # a value that is not finite would pass a weight of 0
        for layer in self.layers:
            x_BFD = layer(x_BFD, rotary, mask_B11F)
        return x_BFD.transpose(1, 2)


class _Layer(nn.Module):
    def __init__(self, width: int, num_heads: int, feed_forward_width: int, layer_scale: float):
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.attention_scale = nn.Parameter(torch.full((width,), layer_scale))
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward_in = nn.Linear(width, feed_forward_width, bias=False)
        self.feed_forward_out = nn.Linear(feed_forward_width, width, bias=False)
        self.feed_forward_scale = nn.Parameter(torch.full((width,), layer_scale))

    def forward(self, x_BFD: Tensor, rotary: tuple[Tensor, Tensor], mask_B11F: Tensor | None) -> Tensor:
        x_BFD = x_BFD + self.attention_scale * self._attend(self.attention_norm(x_BFD), rotary, mask_B11F)
        hidden_BFD = nnf.gelu(self.feed_forward_in(self.feed_forward_norm(x_BFD)))
        return x_BFD + self.feed_forward_scale * self.feed_forward_out(hidden_BFD)

    def _attend(self, x_BFD: Tensor, rotary: tuple[Tensor, Tensor], mask_B11F: Tensor | None) -> Tensor:
        heads = self.query_key_value(x_BFD).unflatten(2, (3, self.num_heads, -1))
        query_BHFE, key_BHFE, value_BHFE = heads.permute(2, 0, 3, 1, 4)
        query_BHFE, key_BHFE = _rotate(query_BHFE, rotary), _rotate(key_BHFE, rotary)
        attended_BHFE = nnf.scaled_dot_product_attention(query_BHFE, key_BHFE, value_BHFE, mask_B11F)
        return self.attention_out(attended_BHFE.transpose(1, 2).flatten(2))


def _rotary(num_frames: int, head_width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine of each position's angles, (F, E / 2) in float32."""
    pairs_E = torch.arange(0, head_width, 2, device=device, dtype=torch.float32)
    positions_F = torch.arange(num_frames, device=device, dtype=torch.float32)
    angles_FE = torch.outer(positions_F, ROPE_THETA ** (-pairs_E / head_width))
    return angles_FE.cos(), angles_FE.sin()


def _rotate(x_BHFE: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary positions (arXiv 2104.09864) whose pairs are neighbouring channels, 2i and 2i + 1."""
    cos_FE, sin_FE = rotary
    even, odd = x_BHFE[..., 0::2], x_BHFE[..., 1::2]
    rotated = torch.stack([even * cos_FE - odd * sin_FE, even * sin_FE + odd * cos_FE], dim=-1)
    return rotated.flatten(-2).to(x_BHFE.dtype)
