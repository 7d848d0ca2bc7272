import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lm.config import PRESETS
from lm.flops import attention_flops, forward_flops, layer_flops_per_position, mfu, training_flops
from lm.model import UnifiedLM
from tests.lm.made import SMALL, batch


def test_the_formula_equals_what_torch_counts():
    lm, given = UnifiedLM(SMALL), batch(["sr"], [40])
    with FlopCounterMode(display=False) as counter:
        losses = lm(given)
    counts = counter.get_flop_counts()
    length = losses.num_positions
    attention = sum(
        n
        for name, of_module in counts.items()
        if name.endswith(".attention")
        for op, n in of_module.items()
        if "scaled" in str(op)
    )
    linear = sum(
        n
        for name, of_module in counts.items()
        if name == "UnifiedLM.decoder"
        for op, n in of_module.items()
        if "scaled" not in str(op) and "bmm" not in str(op)  # bmm: the sums of squares of norms
    )
    assert linear == length * layer_flops_per_position(SMALL.decoder)
    if attention:  # torch counts the whole square
        assert attention_flops(SMALL.decoder, length) == pytest.approx(attention / 2, rel=2 / length)
    heads = sum(counts["UnifiedLM.heads"].values())  # forward alone: torch does not count products that are added in place
    slots = 2 * 40 + 3
    rows = linear + attention_flops(SMALL.decoder, length)
    assert forward_flops(SMALL, [length], slots) - rows == pytest.approx(heads, rel=0.05)


def test_a_long_row_costs_about_six_flops_a_parameter_and_position():
    with torch.device("meta"):
        decoder = UnifiedLM(PRESETS["base"]).decoder
    num_weights = sum(parameter.numel() for parameter in decoder.parameters() if parameter.ndim > 1)
    assert layer_flops_per_position(PRESETS["base"].decoder) == 2 * num_weights
    assert training_flops(PRESETS["base"], [100], 0) == pytest.approx(6 * num_weights * 100, rel=0.02)


def test_mfu_is_the_share_of_the_peak():
    assert mfu(2e12, 4.0, 1e12) == 0.5
