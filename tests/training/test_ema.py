from types import SimpleNamespace

import pytest
import torch

from tests.training import mlp
from tests.training.ranks import run_ranks
from training import state_dicts
from training.ema import WeightAverage

pytestmark = pytest.mark.slow
DECAY = 0.9


def averaged(stage):
    """Weights after each step, the average in the end, the weights after it was lent and given back."""
    engine = mlp.engine(stage)
    average = WeightAverage(engine, DECAY)
    found = [state_dicts.weights(engine)]
    for step in range(1, 4):
        mlp.train(engine, range(step, step + 1))
        average.update(step)
        found.append(state_dicts.weights(engine))
    with average.swapped():
        lent = state_dicts.weights(engine)
    return found, lent, state_dicts.weights(engine)


def at_every_stage():
    return mlp.at_every_stage(averaged)


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    return run_ranks(at_every_stage, 2, tmp_path_factory.mktemp("ema"))[0]


@pytest.mark.parametrize("stage", mlp.STAGES)
def test_the_average_is_that_of_the_weights_after_each_step(two_ranks, stage):
    found, lent, _ = two_ranks[stage]
    for name in ("layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias"):
        expected = found[0][name]
        for step, weights in enumerate(found[1:], start=1):
            decay = (1 + step) / (10 + step)  # below DECAY so early
            expected = decay * expected + (1 - decay) * weights[name]
        torch.testing.assert_close(lent[name], expected)
        assert not torch.equal(lent[name], found[-1][name])


def test_a_short_run_is_not_averaged_with_its_random_start_and_a_long_one_by_the_decay_asked_for():
    average = WeightAverage(no_weights(), DECAY)
    assert [average.decay_at(step) for step in (1, 2)] == [2 / 11, 3 / 12]
    assert average.decay_at(10_000) == DECAY


def no_weights():
    """An engine without weights: the decay alone is asked for."""
    return SimpleNamespace(masters=list)


@pytest.mark.parametrize("stage", mlp.STAGES)
def test_lending_the_average_leaves_the_weights_as_they_were(two_ranks, stage):
    found, _, after = two_ranks[stage]
    assert all(torch.equal(after[name], found[-1][name]) for name in after)
