"""What the input has in a slot is offered for the target's: a pointer, so that what an edit leaves alone is copied.

The input's own tokens, delayed as the target's are, lie beside the target slot by slot. The model hears what is offered for the
slot that it predicts next, and adds to that symbol's logit what it trusts the offer with (a pointer to one place; See et al.
2017, "Get to the point", mix where it points with what they generate).

Shapes: B clips, K layers, C codebooks (acoustic, then semantic), F frames, P slots, N positions, D width.
"""

import torch
from torch import Tensor, nn

from lm import layout
from lm.config import LMConfig, TokenConfig
from lm.features import Features


def offers(codes: Features | None, tokens: TokenConfig, size: int, num_targets_B: Tensor) -> Tensor:
    """(B, P, K) symbols of the first `size` slots, pads where the input has nothing, of its codes (B, F, C).

    A target of several signals is offered the input for each.
    """
    nothing = torch.full((len(num_targets_B), size, tokens.num_layers), tokens.pad, device=num_targets_B.device)
    if codes is None or not codes.values_BMD.shape[1]:
        return nothing
    lengths_B1 = codes.lengths_B[:, None]
    frames_F = torch.arange(-(-size // 2), device=lengths_B1.device)
    source_BF = frames_F % lengths_B1.clamp(min=1)
    codes_BCF = codes.values_BMD.take_along_dim(source_BF[..., None], 1).transpose(1, 2)
    streams = codes_BCF[:, : tokens.num_acoustic], codes_BCF[:, tokens.num_acoustic :]
    ends_B = (codes.lengths_B * num_targets_B).clamp(max=len(frames_F))
    there_B11 = (codes.lengths_B > 0)[:, None, None]
    return layout.delayed(*streams, ends_B, tokens)[:, :size].where(there_B11, nothing)


class Offered(nn.Linear):
    """What the model hears of an offer, from the embedding of its symbols."""

    def __init__(self, config: LMConfig):
        super().__init__(config.decoder.width, config.decoder.width, bias=False)


class Trust(nn.Module):
    """How much is added to the logit of an offered symbol, in even and odd slots."""

    def __init__(self, config: LMConfig):
        super().__init__()
        self.weight_2KD = nn.Parameter(torch.empty(2, config.tokens.num_layers, config.decoder.width))

    def forward(self, hidden: Tensor, parity: int) -> Tensor:
        """(.., K) of hidden states (.., D)."""
        return nn.functional.linear(hidden, self.weight_2KD[parity])


def trusted(logits: Tensor, symbols: Tensor, trust: Tensor) -> Tensor:
    """Logits (.., K, V) with the trust (.., K) added to those of the offered symbols (.., K); pads and S have none."""
    index, is_there = known(symbols, logits.shape[-1])
    return logits.scatter_add(-1, index[..., None], (trust * is_there).to(logits.dtype)[..., None])


def known(symbols: Tensor, num_symbols: int) -> tuple[Tensor, Tensor]:
    """Offered symbols as places among those that heads predict (0 for the others), and whether they are among them."""
    is_there = symbols < num_symbols
    return symbols * is_there, is_there
