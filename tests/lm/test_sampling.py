import pytest
import torch

from lm.sampling import Sampling, choose, guided, probabilities_of

LOGITS = torch.tensor([[[2.0, 1.0, 0.0, -1.0, float("-inf")], [0.0, 0.0, 3.0, 0.5, 1.0]]])


def frequencies(sampling: Sampling, count: int = 20000) -> torch.Tensor:
    uniform = torch.rand(count, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    symbols = choose(LOGITS.expand(count, -1, -1), uniform, sampling)
    return torch.stack([symbols[:, k].bincount(minlength=5) for k in range(2)]) / count


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_symbols_are_as_frequent_as_the_exact_softmax_says(temperature):
    wanted = (LOGITS[0] / temperature).softmax(-1)
    found = frequencies(Sampling(temperature))
    assert (found - wanted).abs().max() < 4 * (0.25 / 20000) ** 0.5
    assert found[0, 4] == 0


def test_evenly_spaced_draws_give_each_symbol_its_share():
    uniform = (torch.arange(1000, dtype=torch.float64)[:, None] + 0.5).expand(-1, 2) / 1000
    symbols = choose(LOGITS.expand(1000, -1, -1), uniform, Sampling())
    shares = torch.stack([symbols[:, k].bincount(minlength=5) for k in range(2)]) / 1000
    assert (shares - LOGITS[0].softmax(-1)).abs().max() <= 1e-3


def test_the_lowest_and_highest_draws_give_possible_symbols():
    logits = torch.tensor([[[float("-inf"), 0.0, 0.0, float("-inf")]]])
    assert choose(logits, torch.zeros(1, 1, dtype=torch.float64), Sampling()).item() == 1
    assert choose(logits, torch.full((1, 1), 1 - 2.0**-53, dtype=torch.float64), Sampling()).item() == 2


@pytest.mark.parametrize("k", [1, 2, 3, 50])
def test_top_k_keeps_the_k_most_probable_in_their_proportions(k):
    found = probabilities_of(LOGITS, Sampling(top_k=k))
    for row, full in zip(found[0], LOGITS[0].softmax(-1)):
        kept = full.topk(min(k, 5)).indices
        wanted = torch.zeros(5).index_copy(0, kept, full[kept] / full[kept].sum())
        torch.testing.assert_close(row, wanted)


@pytest.mark.parametrize(("top_p", "kept"), [(1e-9, [2]), (0.8, [2, 4]), (0.88, [2, 4, 3]), (1.0, [0, 1, 2, 3, 4])])
def test_top_p_keeps_the_fewest_symbols_that_reach_it(top_p, kept):
    assert probabilities_of(LOGITS, Sampling(top_p=top_p))[0, 1].nonzero()[:, 0].tolist() == sorted(kept)


def test_greedy_needs_no_draws():
    assert choose(LOGITS, None, Sampling(temperature=0)).tolist() == [[0, 2]]


def test_guidance_extrapolates():
    given, without = torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0, 2.0]])
    both = torch.cat([given, without])
    assert torch.equal(guided(both, 1.0), given)
    assert torch.equal(guided(both, 0.0), without)
    assert torch.equal(guided(both, 3.0), torch.tensor([[-1.0, 5.0]]))


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}, {"top_k": -1}, {"guidance": float("nan")}]
)
def test_settings_outside_their_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Sampling(**wrong)
