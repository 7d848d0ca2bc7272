"""What a language model costs: parameters counted, FLOPs by formula, everything else by a parameter that is named."""

import dataclasses

import pytest
import torch

from lm.config import PRESETS
from lm.model import UnifiedLM
from pipelines.plan import read_prices
from pipelines.plan_lm import CHECKPOINT_BYTES, PlanLM, estimate, example_flops, main, num_parameters, training_bounds

PRICES = read_prices("infra/prices.toml")
TINY = PlanLM(preset="tiny", hours=1000.0)


def test_parameters_are_those_of_the_model():
    torch.manual_seed(0)
    assert num_parameters(PRESETS["tiny"]) == sum(weight.numel() for weight in UnifiedLM(PRESETS["tiny"]).parameters())


def test_a_row_takes_about_six_flops_a_parameter_and_position():
    positions = 2 + 250 + 253
    assert example_flops(PRESETS["1b"], 5.0) == pytest.approx(6 * num_parameters(PRESETS["1b"]) * positions, rel=0.1)


def test_twice_the_work_costs_twice_and_twice_the_gpus_take_half_as_long():
    once = estimate(TINY, PRICES)
    for change in ({"hours": 2000.0}, {"epochs": 2.0}, {"mfu": 0.2}):
        assert estimate(dataclasses.replace(TINY, **change), PRICES)["cost_training"] == pytest.approx(
            2 * once["cost_training"]
        )
    assert estimate(dataclasses.replace(TINY, gpus=128), PRICES)["wall_hours"] == pytest.approx(once["wall_hours"] / 2)
    assert once["checkpoint_gigabytes"] * 1e9 == CHECKPOINT_BYTES * num_parameters(PRESETS["tiny"])


def test_larger_batches_move_the_limit_of_the_gradients():
    def hours(config: PlanLM) -> dict[str, float]:
        return {bound.name: bound.hours for bound in training_bounds(config, estimate(config, PRICES), PRICES)}

    small, large = hours(TINY), hours(dataclasses.replace(TINY, batch_size=10 * TINY.batch_size))
    assert large["gradients between the GPUs"] == pytest.approx(small["gradients between the GPUs"] / 10)
    assert large["matrix products of the GPUs"] == small["matrix products of the GPUs"]


def test_the_command_prints_the_totals_the_limits_and_its_own_prices(capsys):
    assert main(["--preset", "tiny", "--hours", "10", "--price", "gpu_hour=100"]) == 0
    said = capsys.readouterr().out
    assert "MFU 0.4" in said and "first bottleneck: " in said and "cost training" in said


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"preset": "2b"}, "no preset '2b'"),
        ({"gpu": "abacus"}, "--gpu abacus: there are B200"),
        ({"mfu": 1.5}, "--mfu is 1.5"),
        ({"batch_size": 0}, "--batch-size must be more than 0"),
    ],
)
def test_what_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        PlanLM(**wrong)
