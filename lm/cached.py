"""One position of every row at a time, from a cache of the keys and values of all earlier ones.

Most of a step's time is reading the weights once and calling small operations, so there are as few of both as can be: the
weights lie as a product with one row reads them fastest, a residual is added by the product itself, and what depends on the
slot alone (rotations, masks) is made outside.

Shapes: B rows, L positions, D width, H heads, G key and value heads, C capacity of the cache, E head width.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lm.config import DecoderConfig
from lm.decoder import Decoder, Layer, rotation_of, swiglu


class Cache:
    """Keys and values of all earlier positions of a batch, of a fixed capacity.

    Every row writes at its own positions, because the rows' prefixes differ in length. What lies past a row's position is stale
    and masked.
    """

    def __init__(self, config: DecoderConfig, num_rows: int, capacity: int, like: Tensor):
        shape = (num_rows, config.kv_heads, capacity, config.head_width)
        # tensors of their own, because a compiler copies what it cannot see to be written in place
        self.keys, self.values = ([like.new_zeros(shape) for _ in range(config.num_layers)] for _ in range(2))
        self.lengths_B = torch.zeros(num_rows, dtype=torch.int64, device=like.device)  # positions written
        self.rows_B = torch.arange(num_rows, device=like.device)
        self.longest = 0  # of lengths_B, known without asking the device
        self.uniform = True  # all rows are equally long

    @property
    def capacity(self) -> int:
        return self.keys[0].shape[2]

    def advance(self) -> None:
        """Every row has one more position."""
        self.lengths_B.add_(1)
        self.longest += 1


@dataclass(frozen=True)
class Weights:
    """Of a layer, the matrices (input, output)."""

    attention_norm: Tensor
    qkv: Tensor
    out: Tensor
    feed_forward_norm: Tensor
    gate_up: Tensor
    down: Tensor

    @classmethod
    def of(cls, layer: Layer) -> "Weights":
        attention, feed_forward = layer.attention, layer.feed_forward
        matrices = (attention.qkv, attention.out, feed_forward.gate_up, feed_forward.down)
        qkv, out, gate_up, down = (turned(matrix.weight.detach()) for matrix in matrices)
        norms = layer.attention_norm.weight.detach(), layer.feed_forward_norm.weight.detach()
        return cls(norms[0], qkv, out, norms[1], gate_up, down)


class Stepper:
    """A decoder's steps. The weights are those it has now."""

    def __init__(self, decoder: Decoder):
        config = decoder.config
        self.config, self.eps = config, config.norm_eps
        self.heads, self.kv_heads = config.num_heads, config.kv_heads
        self.layers = [Weights.of(layer) for layer in decoder.layers]
        self.norm = decoder.norm.weight.detach()
        self.eps_111 = torch.full_like(self.norm[:1], self.eps)[None, None] if fast_norm(self.norm) else None

    def __call__(self, x_BD: Tensor, rotation: Tensor, cache: Cache) -> Tensor:
        """The normed last hidden states (B, D) of one more position of each row; `rotation` as of `turns`."""
        hidden_BD = self.uniform(x_BD, rotation, cache) if cache.uniform else self.masked(x_BD, rotation, cache)
        cache.advance()
        return hidden_BD

    def uniform(self, x_BD: Tensor, rotation: Tensor, cache: Cache) -> Tensor:
        """All rows write at one position and attend to all up to it."""
        position = cache.longest
        for weights, keys, values in zip(self.layers, cache.keys, cache.values):
            query, key, value = self._project(x_BD, weights, rotation)
            keys[:, :, position : position + 1], values[:, :, position : position + 1] = key, value
            x_BD = self._rest(x_BD, (query, keys[:, :, : position + 1], values[:, :, : position + 1]), weights, None)
        return self._normed(x_BD, self.norm)

    def masked(self, x_BD: Tensor, rotation: Tensor, cache: Cache) -> Tensor:
        """Every row writes at its own position and attends to all up to it.

        Over the whole capacity, so that shapes are static and no value but of tensors decides anything: this can be compiled,
        and captured as a CUDA graph.
        """
        rows_B, lengths_B = cache.rows_B, cache.lengths_B
        mask_B11C = (torch.arange(cache.capacity, device=x_BD.device) <= lengths_B[:, None])[:, None, None]
        for weights, keys, values in zip(self.layers, cache.keys, cache.values):
            query, key, value = self._project(x_BD, weights, rotation)
            keys[rows_B, :, lengths_B], values[rows_B, :, lengths_B] = key[:, :, 0], value[:, :, 0]
            x_BD = self._rest(x_BD, (query, keys, values), weights, mask_B11C)
        return self._normed(x_BD, self.norm)

    def _normed(self, x_BD: Tensor, weight: Tensor) -> Tensor:
        """RMSNorm; the sum of squares as a product of matrices, which costs a CPU half of torch's own nine operations."""
        if self.eps_111 is None:
            return F.rms_norm(x_BD, weight.shape, weight, self.eps)
        scale_B11 = torch.baddbmm(self.eps_111, x_BD[:, None], x_BD[:, :, None], alpha=1 / len(weight)).rsqrt_()
        return (x_BD * scale_B11[:, 0]).mul_(weight)

    def _project(self, x_BD: Tensor, weights: Weights, rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        normed_BD = self._normed(x_BD, weights.attention_norm)
        projected = torch.mm(normed_BD, weights.qkv).view(len(x_BD), -1, 1, self.config.head_width)
        plain_qk = projected[:, : self.heads + self.kv_heads]
        turned_qk = torch.addcmul(plain_qk * rotation[0], plain_qk.roll(self.config.head_width // 2, -1), rotation[1])
        return turned_qk[:, : self.heads], turned_qk[:, self.heads :], projected[:, self.heads + self.kv_heads :]

    def _rest(self, x_BD: Tensor, parts: tuple[Tensor, Tensor, Tensor], weights: Weights, mask: Tensor | None) -> Tensor:
        attended = F.scaled_dot_product_attention(*parts, mask, enable_gqa=self.heads != self.kv_heads)
        x_BD = torch.addmm(x_BD, attended.reshape(len(x_BD), -1), weights.out)
        normed_BD = self._normed(x_BD, weights.feed_forward_norm)
        return torch.addmm(x_BD, swiglu(torch.mm(normed_BD, weights.gate_up)), weights.down)


def fast_norm(weight: Tensor) -> bool:
    """On a CPU, and only where the square of a number needs no wider type."""
    return weight.dtype == torch.float32 and not weight.is_cuda


def turns(clock_BP: Tensor, config: DecoderConfig, dtype: torch.dtype) -> Tensor:
    """(2, B, 1, P, E): what a query or key and its halves exchanged are multiplied by, to be rotated by these times."""
    cos, sin = rotation_of(clock_BP, config, dtype)
    return torch.stack([torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)])


def turned(weight: Tensor) -> Tensor:
    """(input, output) of a linear map's (output, input): on a CPU a copy, because a product with one row reads it in 15 % less
    time; on a GPU a view."""
    return weight.t() if weight.is_cuda else weight.t().contiguous()


def prefill(decoder: Decoder, x_BLD: Tensor, clock_BL: Tensor, lengths_B: Tensor, cache: Cache) -> Tensor:
    """As the decoder's forward on an empty cache, which then holds the rows. Only the last hidden state of each row: (B, D)."""
    rotation = rotation_of(clock_BL, decoder.config, x_BLD.dtype)
    length = x_BLD.shape[1]
    for layer, keys, values in zip(decoder.layers, cache.keys, cache.values):
        query, key, value = layer.attention.project(layer.attention_norm(x_BLD), rotation)
        keys[:, :, :length], values[:, :, :length] = key, value
        x_BLD = x_BLD + layer.attention.out(layer.attention.attend(query, key, value))
        x_BLD = x_BLD + layer.feed_forward(layer.feed_forward_norm(x_BLD))
    cache.lengths_B.copy_(lengths_B)
    cache.longest = length
    cache.uniform = bool((lengths_B == length).all())
    return decoder.norm(x_BLD[cache.rows_B, lengths_B - 1])
