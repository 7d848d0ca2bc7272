import dataclasses

import pytest

from infra.config import from_json, to_json
from lm.tasks import TASKS
from training.data.token_config import TaskWeights, TokenData


def test_every_task_has_a_weight():
    assert [field.name for field in dataclasses.fields(TaskWeights)] == list(TASKS)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"crop_s": 0.0}, "--examples.crop-s is 0.0: give more than 0"),
        ({"reference_s": -1.0}, "--examples.reference-s is -1.0"),
        ({"bucket_steps": 0}, "--examples.bucket-steps is 0: give 1 or more"),
        ({"threads": 0}, "--examples.threads is 0: give 1 or more"),
    ],
)
def test_what_cannot_be_is_refused_by_name(values, message):
    with pytest.raises(ValueError, match=message):
        TokenData(**values)


def test_some_task_needs_a_weight():
    with pytest.raises(ValueError, match="at least one above 0"):
        TaskWeights(*[0] * len(TASKS))
    with pytest.raises(ValueError, match="0 or more"):
        TaskWeights(sr=-1)


def test_a_configuration_survives_json():
    config = TokenData(datasets=("a",), weights=TaskWeights(sr=2))
    assert from_json(TokenData, to_json(config), "run.json") == config
