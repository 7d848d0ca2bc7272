import re

import pytest
import torch

from tests.training import mlp
from tests.training.ranks import run_ranks
from training import state_dicts

pytestmark = pytest.mark.slow


def save_and_go_on(stage):
    """The state after three steps and after five."""
    engine = mlp.engine(stage)
    mlp.train(engine, range(1, 4))
    saved = state_dicts.weights(engine), state_dicts.optimiser(engine)
    mlp.train(engine, range(4, 6))
    return saved, (state_dicts.weights(engine), state_dicts.optimiser(engine))


def load_and_go_on(stage, saved):
    engine = mlp.engine(stage)
    mlp.train(engine, range(7, 8))  # something else first, that must be gone
    state_dicts.load_weights(engine, saved[0])
    state_dicts.load_optimiser(engine, saved[1])
    mlp.train(engine, range(4, 6))
    return state_dicts.weights(engine), state_dicts.optimiser(engine)


def loaded(every_saved):
    return [[load_and_go_on(stage, saved) for saved in every_saved] for stage in mlp.STAGES]


def saved_at_every_stage():
    return mlp.at_every_stage(save_and_go_on)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Saved and undisturbed states by ranks and stage; continued ones by ranks before and after, stage after and before."""
    straight = {size: run_ranks(saved_at_every_stage, size, tmp_path_factory.mktemp("saved"))[0] for size in (1, 2)}
    every_saved = {size: [saved for saved, _ in straight[size]] for size in (1, 2)}
    pairs = [(1, 1), (2, 2), (2, 1), (1, 2)]
    continued = {
        (old, new): run_ranks(loaded, new, tmp_path_factory.mktemp("loaded"), every_saved[old])[0] for old, new in pairs
    }
    return straight, continued


@pytest.mark.parametrize("stage", mlp.STAGES)
@pytest.mark.parametrize("num_ranks", [1, 2])
def test_a_resumed_run_has_the_bits_of_an_undisturbed_one(runs, num_ranks, stage):
    straight, continued = runs
    for undisturbed, resumed in zip(straight[num_ranks][stage][1], continued[num_ranks, num_ranks][stage][stage]):
        assert resumed.keys() == undisturbed.keys()
        assert all(torch.equal(resumed[name], undisturbed[name]) for name in resumed)


@pytest.mark.parametrize("new_stage", mlp.STAGES)
@pytest.mark.parametrize("old_stage", mlp.STAGES)
@pytest.mark.parametrize(("old", "new"), [(2, 1), (1, 2)])
def test_another_number_of_ranks_and_another_stage_go_on_from_the_same_state(runs, old, new, old_stage, new_stage):
    straight, continued = runs
    for undisturbed, resumed in zip(straight[old][old_stage][1], continued[old, new][new_stage][old_stage]):
        for name, tensor in undisturbed.items():
            torch.testing.assert_close(resumed[name], tensor, atol=1e-6, rtol=0)


@pytest.mark.parametrize("stage", mlp.STAGES)
def test_every_weight_moment_step_and_buffer_is_there(runs, stage):
    (weights, optimiser), _ = runs[0][2][stage]
    names = [name for name, _ in mlp.Network().named_parameters()]
    assert weights.keys() == {*names, "offset"}
    assert optimiser.keys() == {f"{name}.{part}" for name in names for part in ("exp_avg", "exp_avg_sq", "step")}
    assert all(optimiser[f"{name}.step"] == 3 for name in names)
    assert all(tensor.dtype == torch.float32 and tensor.is_contiguous() for tensor in (weights | optimiser).values())


def refused(saved):
    """Messages of what must not load."""
    engine, (weights, optimiser) = mlp.engine(1), saved
    wrong_shape = weights | {"offset": torch.zeros(4)}
    messages = []
    for load, tensors in (
        (state_dicts.load_weights, {name: tensor for name, tensor in weights.items() if name != "offset"}),
        (state_dicts.load_weights, weights | {"more": torch.zeros(1)}),
        (state_dicts.load_weights, wrong_shape),
        (state_dicts.load_optimiser, {name: tensor for name, tensor in optimiser.items() if not name.endswith("step")}),
    ):
        try:
            load(engine, tensors, "step-3")
        except ValueError as error:
            messages.append(str(error))
    return messages


def test_a_state_that_lacks_a_buffer_or_differs_in_shape_is_refused_by_name(runs, tmp_path):
    messages = run_ranks(refused, 1, tmp_path / "refused", runs[0][2][1][0])[0]
    patterns = ["step-3 lacks offset", "step-3 has unknown more", r"offset is \(4,\).* \(3,\)", r"lacks layers.0.bias.step"]
    assert len(messages) == len(patterns)
    assert all(re.search(pattern, message) for pattern, message in zip(patterns, messages)), messages
