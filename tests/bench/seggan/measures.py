"""How close a generator is to the language it learns from, and how varied.

Shapes: B sequences, T tokens.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tests.bench.seggan.networks import TokenLSTM, gumbel
from training.keys import key

ROWS = 256  # of an evaluation at once
BLEU_ORDER = 3
BLEU_SEQUENCES = 128


@dataclass(frozen=True)
class Judged:
    """Nats a token, but for self-BLEU."""

    nll_oracle: float
    """Of samples, by the oracle: low also where they are all alike."""
    kl: float
    """KL(G||O), from the same samples."""
    held_out: float
    """NLL of the oracle's sequences, by the generator."""
    self_bleu: float
    """Of samples against each other: high where they are alike."""


@dataclass(frozen=True)
class Language:
    """The oracle and what it has said."""

    oracle: TokenLSTM
    training_BT: Tensor
    held_out_BT: Tensor

    @classmethod
    def of(cls, vocab_size: int, num_tokens: int, width: int, seed: int, *, num_training: int) -> "Language":
        torch.manual_seed(key(seed, "oracle"))
        oracle = TokenLSTM.oracle(vocab_size, width)
        said = [
            samples(oracle, (count, num_tokens), key(seed, name)) for name, count in (("train", num_training), ("test", 2048))
        ]
        return cls(oracle, *said)

    @torch.no_grad()
    def judge(self, generator: TokenLSTM, num_samples: int, seed: int, temperature: float = 1.0) -> Judged:
        drawn_BT = samples(generator, (num_samples, self.held_out_BT.shape[1]), key(seed, "judge"), temperature)
        by_oracle = _mean_log_likely(self.oracle, drawn_BT)
        by_itself = _mean_log_likely(generator, drawn_BT, temperature)
        held_out = -_mean_log_likely(generator, self.held_out_BT, temperature)
        return Judged(-by_oracle, by_itself - by_oracle, held_out, self_bleu(drawn_BT[:BLEU_SEQUENCES].tolist()))


def samples(network: TokenLSTM, shape: tuple[int, int], seed: int, temperature: float = 1.0) -> Tensor:
    num_sequences, num_tokens = shape
    starts = range(0, num_sequences, ROWS)
    sizes = [min(ROWS, num_sequences - start) for start in starts]
    noises = (gumbel((num_tokens, size, network.vocab_size), key(seed, start)) for start, size in zip(starts, sizes))
    return torch.cat([network.sample(noise_TBV, temperature) for noise_TBV in noises])


def self_bleu(sequences: Sequence[Sequence[int]]) -> float:
    """Mean BLEU-3 of each sequence against all others (Zhu et al., "Texygen", arXiv 1802.01886); all are equally long."""
    scores = []
    counted = [[_ngrams(one, order) for one in sequences] for order in range(1, BLEU_ORDER + 1)]
    most = [_two_largest(counts) for counts in counted]
    for row in range(len(sequences)):
        logs = [_log_precision(counts[row], largest, row) for counts, largest in zip(counted, most)]
        scores.append(math.exp(sum(logs) / BLEU_ORDER))
    return sum(scores) / len(scores)


def _ngrams(sequence: Sequence[int], order: int) -> Counter:
    return Counter(zip(*(sequence[start:] for start in range(order))))


def _two_largest(counts: list[Counter]) -> dict[tuple[int, ...], list[tuple[int, int]]]:
    """Of each n-gram the two largest (count, row): of the others there is one at least, whichever row is left out."""
    found: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for row, counter in enumerate(counts):
        for ngram, count in counter.items():
            found[ngram] = sorted([*found.get(ngram, []), (count, row)], reverse=True)[:2]
    return found


def _log_precision(mine: Counter, largest: dict, row: int) -> float:
    matched = 0
    for ngram, count in mine.items():
        matched += min(count, max((other for other, place in largest[ngram] if place != row), default=0))
    return math.log(max(matched, 0.1) / mine.total())


def _mean_log_likely(network: TokenLSTM, tokens_BT: Tensor, temperature: float = 1.0) -> float:
    parts = [network.log_likely(part_BT, temperature).double().sum() for part_BT in tokens_BT.split(ROWS)]
    return float(sum(parts) / tokens_BT.numel())
