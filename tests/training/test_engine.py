import math
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from tests.training import mlp
from tests.training.ranks import run_ranks
from training import state_dicts
from training.config import TrainingConfig
from training.engine import HoldableAdamW, make_engine

pytestmark = pytest.mark.slow
STAGES = pytest.mark.parametrize("stage", mlp.STAGES)


def trained(stage):
    engine = mlp.engine(stage)
    norms = mlp.train(engine, range(1, 5))
    return state_dicts.weights(engine, everywhere=True), norms


def held(stage):
    """The whole state before and after steps that must leave no trace; the norms then; and that after one more step."""
    engine, other = mlp.engine(stage), mlp.engine(stage)
    found = [whole(engine)]
    norms = [mlp.gradient(engine, 1)]
    engine.step(held=True)
    found.append(whole(engine))
    norms.append(mlp.gradient(engine, 1, factor=math.inf if mlp.rank() == 1 or mlp.world_size() == 1 else 1.0))
    engine.step(held=True)
    found.append(whole(engine))
    for one in (engine, other):
        mlp.train(one, range(2, 4))
    return found, norms, whole(engine), whole(other)


def whole(engine):
    return state_dicts.weights(engine) | state_dicts.optimiser(engine)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """Results by number of ranks: a list over ranks of a list over stages."""
    return {size: run_ranks(both, size, tmp_path_factory.mktemp("ranks")) for size in (1, 2)}


def both():
    return mlp.at_every_stage(trained), mlp.at_every_stage(held)


@pytest.mark.parametrize("num_ranks", [1, 2])
@STAGES
def test_weights_and_gradient_norms_equal_plain_torch(ranks, num_ranks, stage):
    network, plain_norms = mlp.plain(4)
    for trainings, _ in ranks[num_ranks]:
        weights, norms = trainings[stage]
        torch.testing.assert_close(torch.stack(norms).float(), torch.stack(plain_norms).float())
        for name, tensor in network.state_dict().items():
            torch.testing.assert_close(weights[name], tensor, atol=1e-6, rtol=0)


@pytest.mark.parametrize("num_ranks", [1, 2])
@STAGES
def test_a_held_step_changes_nothing(ranks, num_ranks, stage):
    found, norms, after, other = ranks[num_ranks][0][1][stage]
    for state in found[1:]:
        assert state.keys() == found[0].keys()
        assert all(torch.equal(state[name], found[0][name]) for name in state)
    assert all(torch.equal(after[name], other[name]) for name in after)
    assert [bool(norm.isfinite()) for norm in norms] == [True, False]


def test_held_adam_keeps_even_what_decays():
    weight = torch.nn.Parameter(torch.ones(2))
    adam = HoldableAdamW([weight], weight_decay=0.5)
    weight.grad = torch.ones(2)
    adam.held = True
    adam.step()
    assert torch.equal(weight.data, torch.ones(2))
    assert not adam.state
    adam.held = False
    adam.step()
    assert not torch.equal(weight.data, torch.ones(2))


@pytest.mark.parametrize("field", ["offload_optimiser", "offload_weights"])
def test_offloading_from_a_cpu_is_refused(field):
    settings = replace(mlp.settings(3), **{field: True})
    with pytest.raises(ValueError, match=f"{field.replace('_', '-')} is True: give False on a CPU"):
        make_engine(mlp.Network(), settings, TrainingConfig(), "cpu")


def test_deepspeed_is_imported_no_sooner_than_its_device_is_known():
    code = "import sys, training.codec_step; sys.exit('deepspeed' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def says_its_device():
    """What DeepSpeed calls the device that an engine on a CPU made it use."""
    mlp.engine(1)
    from deepspeed.accelerator import get_accelerator

    return get_accelerator().device_name(), get_accelerator()._name, "DS_ACCELERATOR" in os.environ


def test_an_engine_on_a_cpu_makes_deepspeed_use_it_without_a_warning(tmp_path, capfd):
    assert run_ranks(says_its_device, 1, tmp_path, fresh=True)[0] == ("cpu", "cpu", True)
    assert "Setting accelerator to CPU" not in "".join(capfd.readouterr())
