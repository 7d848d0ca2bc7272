import math

import torch

from tests.training.ranks import run_ranks
from training.collective import mean_over_ranks, rank, world_size


def means():
    values = torch.tensor([1.0 + 2 * rank(), math.nan if rank() else 0.0, -math.inf if rank() else math.inf])
    return rank(), world_size(), mean_over_ranks(values), values


def test_the_mean_is_of_all_ranks_and_not_finite_where_any_is_not(tmp_path):
    results = run_ranks(means, 2, tmp_path)
    assert [(rank, size) for rank, size, _, _ in results] == [(0, 2), (1, 2)]
    for index, (_, _, mean, values) in enumerate(results):
        assert mean[0] == 2
        assert mean[1:].isnan().all()
        assert values[0] == 1 + 2 * index  # the argument is left alone


def test_a_world_of_one_needs_no_process_group():
    assert (rank(), world_size()) == (0, 1)
    assert torch.equal(mean_over_ranks(torch.tensor([1.5])), torch.tensor([1.5]))
