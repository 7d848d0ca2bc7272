from dataclasses import replace

import pytest
import torch

from lm.model import UnifiedLM
from tests.training.lm_ranks import SMALL
from training.warm_start import warm_started


@pytest.fixture
def other(tmp_path):
    torch.manual_seed(0)
    UnifiedLM(replace(SMALL, tasks=("sr", "tse"))).save_pretrained(tmp_path / "other")
    return tmp_path / "other"


def test_all_weights_are_those_of_the_other_and_new_tasks_are_fresh(other):
    torch.manual_seed(1)
    model = warm_started(replace(SMALL, tasks=("sr", "tse", "lass")), other)
    weights = UnifiedLM.from_pretrained(other).state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor[: len(weights[name])], weights[name]), name
    assert model.tasks.weight.shape[0] == 3 and model.tasks.weight[2].abs().sum() > 0
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ("tse", "sr")}, "its tasks are sr, tse: give these first"),
        ({"clock": "running"}, "a model with clock aligned, wanted is running"),
        ({"decoder": replace(SMALL.decoder, num_layers=3)}, "a model with decoder"),
        ({"tokens": replace(SMALL.tokens, codebook_size=13)}, "tokens of another codec: codebook_size 13, the model has 12"),
    ],
)
def test_a_model_of_another_kind_is_refused(other, changes, message):
    with pytest.raises(ValueError, match=message):
        warm_started(replace(SMALL, **({"tasks": ("sr", "tse")} | changes)), other)


def test_no_model_there_is_said(tmp_path):
    with pytest.raises(ValueError, match="no folder"):
        warm_started(SMALL, tmp_path / "none")
