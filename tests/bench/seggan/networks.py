"""The LSTM that the synthetic benchmark has for a language, and for what learns it (Yu et al., "SeqGAN", arXiv 1609.05473).

Shapes: B sequences, T tokens, V symbols, E embedding width, H hidden width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from lm.segments import straight_through


class TokenLSTM(nn.Module):
    """A distribution of sequences of T tokens out of V; symbol V begins each."""

    def __init__(self, vocab_size: int, width: int):
        super().__init__()
        self.vocab_size, self.width = vocab_size, width
        self.embedding = nn.Embedding(vocab_size + 1, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.out = nn.Linear(width, vocab_size)

    @classmethod
    def oracle(cls, vocab_size: int, width: int) -> "TokenLSTM":
        """All weights from N(0, 1), as published. Seed torch before."""
        made = cls(vocab_size, width).requires_grad_(False)
        for weight in made.parameters():
            weight.normal_()
        return made

    def log_likely(self, tokens_BT: Tensor, temperature: float = 1.0) -> Tensor:
        """(B, T) log-probabilities of the tokens."""
        shifted_BT = functional.pad(tokens_BT[:, :-1], (1, 0), value=self.vocab_size)
        hidden_BTH, _ = self.lstm(self.embedding(shifted_BT))
        logits_BTV = self.out(hidden_BTH) / temperature
        return logits_BTV.log_softmax(-1).gather(-1, tokens_BT[..., None])[..., 0]

    @torch.no_grad()
    def sample(self, noise_TBV: Tensor, temperature: float = 1.0) -> Tensor:
        """(B, T): the largest of logits and Gumbel noise."""
        state, symbol_B, found = None, torch.full((noise_TBV.shape[1],), self.vocab_size), []
        for noise_BV in noise_TBV:
            state = self._step(self.embedding(symbol_B), state)
            symbol_B = (self.out(state[0]) / temperature + noise_BV).argmax(-1)
            found.append(symbol_B)
        return torch.stack(found, dim=1)

    def relaxed(self, noise_TBV: Tensor, temperature: float = 1.0) -> Tensor:
        """(B, T, V) the same samples as one-hots that gradients pass through, from a token into all that follow it."""
        num_rows = noise_TBV.shape[1]
        x_BE, state, found = self.embedding.weight[-1].expand(num_rows, -1), None, []
        for noise_BV in noise_TBV:
            state = self._step(x_BE, state)
            logits_BV = self.out(state[0])
            chosen_B = (logits_BV + noise_BV).argmax(-1)
            found.append(straight_through(logits_BV, noise_BV, chosen_B, temperature))
            x_BE = found[-1] @ self.embedding.weight[:-1]
        return torch.stack(found, dim=1)

    def _step(self, x_BE: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        lstm = self.lstm
        state = state or (x_BE.new_zeros(len(x_BE), self.width),) * 2
        return torch.lstm_cell(x_BE, state, lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0, lstm.bias_hh_l0)


def gumbel(shape: tuple[int, ...], seed: int) -> Tensor:
    """Keyed Gumbel noise."""
    uniform = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    return -torch.log(-torch.log(uniform.clamp(1e-7, 1 - 1e-7)))
