"""What any language model must beat: tokens by how often they come, and a copy of the input's tokens.

The copy knows how far to trust itself: a token is the input's at the same place with probability w, else one as often as it
comes at all; w is fitted for every task, stream and layer to training examples (expectation maximisation).

Shapes: K layers, F frames, V symbols.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lm.config import TokenConfig
from lm.tasks import TASKS, task
from training.data.token_examples import TokenExample
from training.token_scores import TokenScores

SMOOTHING = 0.5  # seen in addition of each symbol (Krichevsky and Trofimov 1981)
ROUNDS = 30
MOST_TRUST = 0.999
NO_TOKEN = -1  # of a copy that has ended
Codes = tuple[np.ndarray, np.ndarray]
"""Acoustic and semantic, (K, F)."""
Place = tuple[str, int, int]
"""Task, stream, layer."""


@dataclass(frozen=True)
class Row:
    """The symbols of one layer of an example, and what a copy of its input has in their place."""

    place: Place
    symbols: np.ndarray
    copied: np.ndarray


def rows_of(example: TokenExample, tokens: TokenConfig, copied: Codes | None = None) -> Iterator[Row]:
    """All layers of an example. E counts as a symbol of the first one where the length is free."""
    of_task = task(example.task)
    for stream, codes_KF in enumerate((example.acoustic_KF, example.semantic_KF)):
        for layer, symbols in enumerate(codes_KF):
            copy = np.zeros(0, np.int64) if copied is None else np.tile(copied[stream][layer], of_task.num_targets)
            if of_task.length == "free" and (stream, layer) == (0, 0):
                symbols = np.append(symbols, tokens.end)
                copy = copy if copied is None else np.append(copy, np.full(len(symbols), tokens.end))
            missing = max(len(symbols) - len(copy), 0)
            yield Row(
                (example.task, stream, layer), symbols, np.pad(copy, (0, missing), constant_values=NO_TOKEN)[: len(symbols)]
            )


class Unigram:
    """How often each symbol comes in each layer of each task."""

    def __init__(self, tokens: TokenConfig):
        self.tokens = tokens
        self.counts: dict[Place, np.ndarray] = {}

    def add(self, example: TokenExample) -> None:
        for row in rows_of(example, self.tokens):
            counts_V = self.counts.setdefault(row.place, np.full(self.tokens.end + 1, SMOOTHING))
            counts_V += np.bincount(row.symbols, minlength=self.tokens.end + 1)

    def probabilities(self, place: Place) -> np.ndarray:
        """(V,), all alike for a task that was never seen."""
        counts_V = self.counts.get(place, np.ones(self.tokens.end + 1))
        return counts_V / counts_V.sum()


class Copy:
    """A mixture of the input's tokens and a unigram."""

    def __init__(self, unigram: Unigram):
        self.unigram = unigram
        self.trust: dict[Place, float] = {}

    def fit(self, examples: Sequence[TokenExample], copies: Sequence[Codes]) -> None:
        """The trust under which the training examples are most likely."""
        seen: dict[Place, list[tuple[np.ndarray, np.ndarray]]] = {}
        for example, copied in zip(examples, copies, strict=True):
            for row in rows_of(example, self.unigram.tokens, copied):
                there = row.copied != NO_TOKEN
                by_chance = self.unigram.probabilities(row.place)[row.symbols[there]]
                seen.setdefault(row.place, []).append((row.symbols[there] == row.copied[there], by_chance))
        for place, parts in seen.items():
            same, by_chance = (np.concatenate(part) for part in zip(*parts))
            trust = 0.5
            for _ in range(ROUNDS if len(same) else 0):
                trust = min(float(np.mean(trust * same / (trust * same + (1 - trust) * by_chance))), MOST_TRUST)
            self.trust[place] = trust

    def probabilities(self, row: Row) -> tuple[np.ndarray, np.ndarray]:
        """Of each symbol of a row, and whether the most likely one is it."""
        by_chance_V = self.unigram.probabilities(row.place)
        trust = np.where(row.copied == NO_TOKEN, 0.0, self.trust.get(row.place, 0.0))
        likely = trust * (row.symbols == row.copied) + (1 - trust) * by_chance_V[row.symbols]
        follows = trust + (1 - trust) * by_chance_V[row.copied] > (1 - trust) * by_chance_V.max()
        return likely, np.where(follows, row.copied, by_chance_V.argmax()) == row.symbols


def unigram_scores(unigram: Unigram, examples: Sequence[TokenExample]) -> TokenScores:
    return _scores(
        unigram, [(row, *_by_chance(unigram, row)) for example in examples for row in rows_of(example, unigram.tokens)]
    )


def copy_scores(copy: Copy, examples: Sequence[TokenExample], copies: Sequence[Codes]) -> TokenScores:
    found = []
    for example, copied in zip(examples, copies, strict=True):
        found += [(row, *copy.probabilities(row)) for row in rows_of(example, copy.unigram.tokens, copied)]
    return _scores(copy.unigram, found)


def _by_chance(unigram: Unigram, row: Row) -> tuple[np.ndarray, np.ndarray]:
    probabilities_V = unigram.probabilities(row.place)
    return probabilities_V[row.symbols], row.symbols == probabilities_V.argmax()


def _scores(unigram: Unigram, found: list[tuple[Row, np.ndarray, np.ndarray]]) -> TokenScores:
    scores = TokenScores(tuple(TASKS), unigram.tokens.num_layers)
    for row, likely, correct in found:
        name, stream, layer = row.place
        sums = torch.tensor([-np.log(likely).sum(), correct.sum(), len(correct)], dtype=torch.float64)
        scores.sums_3NSK[:, scores.tasks.index(name), stream, layer] += sums
    return scores
