import pytest

from infra.config import from_json, to_json
from training.lm_config import LMTraining


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"label_smoothing": 1.0}, "label-smoothing is 1.0: give a number from 0, below 1"),
        ({"condition_dropout": -0.1}, "condition-dropout is -0.1"),
        ({"peak_tflops": 0.0}, "peak-tflops is 0.0: give more than 0"),
    ],
)
def test_what_cannot_be_is_refused_by_name(values, message):
    with pytest.raises(ValueError, match=message):
        LMTraining(**values)


def test_a_configuration_survives_json():
    config = LMTraining(label_smoothing=0.2, activation_checkpointing=True)
    assert from_json(LMTraining, to_json(config), "run.json") == config
