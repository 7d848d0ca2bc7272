import math

import pytest
import torch

from tests.training.ranks import run_ranks
from training.collective import rank
from training.token_scores import TokenScores

TASKS = ("sr", "tse", "lass")


def clips(seed: int, count: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sums = torch.rand(3, count, 2, 4, generator=generator)
    sums[2] = 10.0
    sums[2, :, 1, 2:] = 0.0  # the semantic stream has two layers
    return torch.arange(count) % 2, sums


def scores_of(*seeds: int) -> TokenScores:
    scores = TokenScores(TASKS, 4)
    for seed in seeds:
        scores.add(*clips(seed))
    return scores


def joined() -> torch.Tensor:
    return scores_of(rank()).over_ranks().sums_3NSK


def test_means_are_over_tokens_of_a_task_or_of_all():
    task_B, sums = clips(0)
    scores = scores_of(0)
    assert scores.loss() == pytest.approx(float(sums[0].sum() / sums[2].sum()))
    of_sr = sums[:, task_B == 0]
    assert scores.accuracy("sr") == pytest.approx(float(of_sr[1].sum() / of_sr[2].sum()))
    assert scores.num_targets == float(sums[2].sum())


def test_tasks_and_layers_without_tokens_are_left_out():
    scores = scores_of(0, 1)
    assert scores.present() == ["sr", "tse"]
    assert list(scores.layers()) == [f"acoustic-{layer}" for layer in range(4)] + ["semantic-0", "semantic-1"]
    assert math.isnan(scores.loss("lass"))
    metrics = scores.metrics()
    assert all(math.isfinite(value) for value in metrics.values())
    assert {"loss", "accuracy", "loss/task/sr", "accuracy/task/tse", "loss/layer/acoustic-3"} <= metrics.keys()
    assert not [name for name in metrics if "lass" in name or "semantic-3" in name]


@pytest.mark.slow
def test_ranks_add_up(tmp_path):
    found = run_ranks(joined, 2, tmp_path / "ranks")
    assert torch.equal(found[0], found[1])
    assert torch.allclose(found[0], scores_of(0, 1).sums_3NSK)
