"""The decoder: Transformer layers of the LLaMA family (Touvron et al. 2023, section 2.2; grouped queries as in Llama 2).

Shapes: B rows, L positions, D width, H heads, G key and value heads, E head width, N positions of all rows together.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lm.config import DecoderConfig


class Norm(nn.RMSNorm):
    """Root mean square norm (Zhang and Sennrich 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        mixed = x.dtype != self.weight.dtype or torch.is_autocast_enabled(x.device.type)
        if x.is_cuda or mixed or x.dtype not in (torch.float32, torch.float64) or not torch.is_grad_enabled():
            return super().forward(x)
        return RMSNorm.apply(x, self.weight, self.eps)


class Attention(nn.Module):
    """Causal self-attention with rotary positions."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.heads = (config.num_heads, config.kv_heads, config.kv_heads)
        self.head_width = config.head_width
        self.qkv = nn.Linear(config.width, sum(self.heads) * config.head_width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x_BLD: Tensor, rotation: Tensor, lengths: list[int] | None = None) -> Tensor:
        """Rows side by side, or with `lengths` one after the other in a single one."""
        parts = self.project(x_BLD, rotation)
        if lengths is None:
            return self.out(self.attend(*parts))
        rows = zip(*(part.split(lengths, dim=2) for part in parts))
        return self.out(torch.cat([self.attend(*row) for row in rows], dim=1))

    def project(self, x_BLD: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys, rotated, and values; heads before positions."""
        projected = self.qkv(x_BLD).unflatten(-1, (-1, self.head_width)).transpose(1, 2)
        rotated, value_BGLE = projected.split([sum(self.heads[:2]), self.heads[2]], dim=1)
        query_BHLE, key_BGLE = rotate(rotated, rotation).split(self.heads[:2], dim=1)
        return query_BHLE, key_BGLE, value_BGLE

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        grouped = self.heads[0] != self.heads[1]
        x_BHLE = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=grouped)
        return x_BHLE.transpose(1, 2).flatten(2)


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.gate_up = nn.Linear(config.width, 2 * config.feed_forward_width, bias=False)
        self.down = nn.Linear(config.feed_forward_width, config.width, bias=False)

    def forward(self, x_BLD: Tensor) -> Tensor:
        return self.down(swiglu(self.gate_up(x_BLD)))


class Layer(nn.Module):
    """Attention and feed-forward, each behind an RMSNorm and added to the residual stream."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.attention_norm = Norm(config.width, config.norm_eps)
        self.attention = Attention(config)
        self.feed_forward_norm = Norm(config.width, config.norm_eps)
        self.feed_forward = FeedForward(config)

    def forward(self, x_BLD: Tensor, rotation: Tensor, lengths: list[int] | None = None) -> Tensor:
        x_BLD = x_BLD + self.attention(self.attention_norm(x_BLD), rotation, lengths)
        return x_BLD + self.feed_forward(self.feed_forward_norm(x_BLD))


class Decoder(nn.Module):
    """Layers and a last norm, on embeddings. Rows are padded at their end, where causal attention does not look."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))
        self.norm = Norm(config.width, config.norm_eps)
        self.activation_checkpointing = False  # recompute a layer in the backward pass instead of keeping its activations

    def forward(self, x_BLD: Tensor, clock_BL: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """The normed last hidden states of rows whose positions have these times (float or int, any origin).

        With `lengths_B` nothing is computed for the padding, and what comes out there is 0.
        """
        if lengths_B is None:
            return self._forward(x_BLD, clock_BL, None)
        inside_BL = torch.arange(x_BLD.shape[1], device=x_BLD.device) < lengths_B[:, None]
        hidden_1ND = self._forward(x_BLD[inside_BL][None], clock_BL[inside_BL][None], lengths_B.tolist())
        return torch.zeros_like(x_BLD).index_put((inside_BL,), hidden_1ND[0])

    def _forward(self, x_BLD: Tensor, clock_BL: Tensor, lengths: list[int] | None) -> Tensor:
        rotation = rotation_of(clock_BL, self.config, x_BLD.dtype)
        for layer in self.layers:
            if self.activation_checkpointing and self.training:
                x_BLD = checkpoint(layer, x_BLD, rotation, lengths, use_reentrant=False)
            else:
                x_BLD = layer(x_BLD, rotation, lengths)
        return self.norm(x_BLD)


def rotation_of(clock_BL: Tensor, config: DecoderConfig, dtype: torch.dtype) -> Tensor:
    """(2, B, 1, L, E/2) cosines and sines of rotary position embeddings (Su et al. 2021), computed in float32."""
    octaves = torch.arange(0, config.head_width, 2, device=clock_BL.device, dtype=torch.float32) / config.head_width
    angles = clock_BL[:, None, :, None].float() * config.rope_theta**-octaves
    return torch.stack([angles.cos(), angles.sin()]).to(dtype)


def rotate(x_BHLE: Tensor, rotation: Tensor) -> Tensor:
    """Rotate the pairs (e, e + E/2) by their angles."""
    return Rotate.apply(x_BHLE, rotation) if torch.is_grad_enabled() else rotated(x_BHLE, *rotation)


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) * up of both in one tensor."""
    if torch.is_grad_enabled():
        return SwiGLU.apply(gate_up)
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate).mul_(up)


class Rotate(torch.autograd.Function):
    """Gradients are rotated back. By hand, because autograd's way copies three times."""

    @staticmethod
    def forward(ctx, x_BHLE: Tensor, rotation: Tensor) -> Tensor:
        ctx.save_for_backward(rotation)
        return rotated(x_BHLE, *rotation)

    @staticmethod
    def backward(ctx, grad_BHLE: Tensor) -> tuple[Tensor, None]:
        (rotation,) = ctx.saved_tensors
        cos, sin = rotation
        return rotated(grad_BHLE, cos, -sin), None


def rotated(x_BHLE: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`rotate` without a gradient."""
    out_BHLE = torch.empty_like(x_BHLE)
    (first, second), (to_first, to_second) = x_BHLE.chunk(2, dim=-1), out_BHLE.chunk(2, dim=-1)
    torch.mul(first, cos, out=to_first).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=to_second).addcmul_(first, sin)
    return out_BHLE


class RMSNorm(torch.autograd.Function):
    """In few passes over memory: on a CPU torch's own takes a dozen for the gradient."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        scale = torch.einsum("...d,...d->...", x, x).div_(x.shape[-1]).add_(eps).rsqrt_()[..., None]
        ctx.save_for_backward(x, weight, scale)
        return (x * scale).mul_(weight)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight, scale = ctx.saved_tensors
        grad_weight = (grad * x).flatten(0, -2).T.mv(scale.flatten())
        grad_x = grad * weight
        share = torch.einsum("...d,...d->...", grad_x, x)[..., None].mul_(scale**3).div_(-x.shape[-1])
        return grad_x.mul_(scale).addcmul_(x, share), grad_weight, None


class SwiGLU(torch.autograd.Function):
    """Keeps its input alone, and writes both gradients into one tensor."""

    @staticmethod
    def forward(ctx, gate_up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up)
        gate, up = gate_up.chunk(2, dim=-1)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        gate, up = gate_up.chunk(2, dim=-1)
        grad_gate_up = torch.empty_like(gate_up)
        grad_gate, grad_up = grad_gate_up.chunk(2, dim=-1)
        torch.mul(grad, F.silu(gate), out=grad_up)
        torch.ops.aten.silu_backward.grad_input(grad * up, gate, grad_input=grad_gate)
        return grad_gate_up
