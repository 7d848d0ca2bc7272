import uuid
from dataclasses import replace

import pytest
import torch

from infra.model_folder import CONFIG, WEIGHTS, model_id
from infra.storage import open_store
from lm.model import UnifiedLM
from tests.training.lm_ranks import SMALL
from training.warm_start import warm_started


@pytest.fixture
def other(tmp_path):
    torch.manual_seed(0)
    UnifiedLM(replace(SMALL, tasks=("sr", "tse"))).save_pretrained(tmp_path / "other")
    return str(tmp_path / "other")


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
    with pytest.raises(FileNotFoundError, match=r"none: no config\.json here: give the folder of a model"):
        warm_started(SMALL, str(tmp_path / "none"))


def test_another_model_at_the_place_is_refused(other, tmp_path):
    """As on a machine whose folder of that name is another one."""
    config = replace(SMALL, tasks=("sr", "tse"))
    assert warm_started(config, other, model_id(tmp_path / "other"))
    with pytest.raises(ValueError, match=f"--init {other}: another model here than on the machine of the command"):
        warm_started(config, other, "0" * 64)


@pytest.mark.s3
def test_a_place_on_s3_gives_the_weights_of_the_folder(other, tmp_path, s3):
    place = f"{s3}/{uuid.uuid4().hex}/lm"
    for name in (CONFIG, WEIGHTS):
        open_store(place).put(name, (tmp_path / "other" / name).read_bytes())
    config = replace(SMALL, tasks=("sr", "tse"))
    found = warm_started(config, place, model_id(tmp_path / "other")).state_dict()
    assert all(torch.equal(tensor, found[name]) for name, tensor in warm_started(config, other).state_dict().items())
