import math
from collections import Counter

import numpy as np
import pytest
import torch

from tests.bench.seggan.measures import BLEU_ORDER, Language, self_bleu
from tests.bench.seggan.networks import TokenLSTM, gumbel
from tests.bench.seggan.token_measures import divergence, repeats


def plain_bleu(sequence, references):
    logs = []
    for order in range(1, BLEU_ORDER + 1):
        mine, *others = (Counter(zip(*(one[start:] for start in range(order)))) for one in (sequence, *references))
        matched = sum(min(count, max(other[ngram] for other in others)) for ngram, count in mine.items())
        logs.append(math.log(max(matched, 0.1) / mine.total()))
    return math.exp(sum(logs) / BLEU_ORDER)


def test_self_bleu_is_that_of_each_against_all_others():
    rows = torch.randint(4, (7, 12), generator=torch.Generator().manual_seed(0)).tolist()
    expected = [plain_bleu(row, rows[:index] + rows[index + 1 :]) for index, row in enumerate(rows)]
    assert self_bleu(rows) == pytest.approx(sum(expected) / len(expected))
    assert self_bleu([rows[0]] * 3) == pytest.approx(1)


def test_the_oracle_is_at_no_distance_from_itself():
    language = Language.of(5, 6, 8, 0, num_training=16)
    judged = language.judge(language.oracle, 512, 0)
    assert judged.kl == pytest.approx(0, abs=1e-6)
    assert judged.nll_oracle == pytest.approx(judged.held_out, rel=0.15)


def test_relaxed_samples_are_the_samples():
    torch.manual_seed(0)
    network, noise_TBV = TokenLSTM(5, 8), gumbel((6, 4, 5), 0)
    relaxed_BTV = network.relaxed(noise_TBV)
    assert torch.equal(relaxed_BTV.argmax(-1), network.sample(noise_TBV))
    relaxed_BTV[:, -1].sum().backward()
    assert network.embedding.weight.grad is not None  # a token's gradient goes back through those before it


def test_repetition_and_divergence():
    one = [np.array([[1, 1, 2, 2, 3]])]
    assert repeats(one) == 0.5
    assert divergence(one, one, 2) == pytest.approx(0)
    assert divergence(one, [np.array([[5, 6, 7, 8]])], 1) == pytest.approx(1)
