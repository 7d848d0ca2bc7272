from dataclasses import replace

import pytest
import torch

from lm.model import UnifiedLM
from tests.training.lm_ranks import SMALL, TASKS, encoders, made
from training.lm_batches import completed, encoded, row_lengths

CPU = torch.device("cpu")
CONDITIONS = ("text", "spelling", "reference", "input")


def lengths(batch) -> dict[str, list[int]]:
    return {name: getattr(batch.conditions, name).lengths_B.tolist() for name in CONDITIONS}


def test_each_task_has_what_it_needs_and_no_more():
    given = made(TASKS, 0)
    found = lengths(encoded(SMALL, encoders(), given, device=CPU))
    for row, wave in enumerate(given.inputs):
        assert found["input"][row] == (0 if wave is None else -(-len(wave) // 320))
        assert (found["reference"][row] > 0) == (given.references[row] is not None)
        assert found["spelling"][row] == len((given.texts[row] or "").encode())


@pytest.mark.parametrize("tasks", [("sr", "sr"), ("tta",), ("lass", "sr")])
def test_all_conditions_are_there_even_where_no_example_has_them(tasks):
    batch = encoded(SMALL, encoders(), made(tasks, 0), device=CPU)
    assert all(getattr(batch.conditions, name) is not None for name in CONDITIONS)
    again = completed(batch.conditions, SMALL.conditions, len(tasks), CPU)
    assert all(getattr(again, name) is getattr(batch.conditions, name) for name in CONDITIONS)


def test_dropout_follows_the_draws_of_each_example():
    given = made(TASKS, 0)
    whole = lengths(encoded(SMALL, encoders(), given, device=CPU))
    found = lengths(encoded(SMALL, encoders(), given, device=CPU, dropout=0.4))
    for column, names in enumerate((("text", "spelling"), ("reference",), ("input",))):
        for name in names:
            kept = (given.draws_BC[:, column] >= 0.4).tolist()
            assert found[name] == [count * keep for count, keep in zip(whole[name], kept)]
    assert found != whole


def test_kept_features_are_taken_and_the_others_made():
    given = made(("tse", "sr", "sr"), 0)
    whole = encoded(SMALL, encoders(), given, device=CPU).conditions.input
    kept = tuple(whole.values_BMD[row, : whole.lengths_B[row]].half() if row < 2 else None for row in range(3))
    found = encoded(SMALL, encoders(), replace(given, input_features=kept), device=CPU).conditions.input
    assert torch.equal(found.lengths_B, whole.lengths_B)
    torch.testing.assert_close(found.values_BMD, whole.values_BMD, atol=2e-3, rtol=1e-3)
    others = tuple(one if one is None else one + 1 for one in kept)
    changed = encoded(SMALL, encoders(), replace(given, input_features=others), device=CPU)
    difference = changed.conditions.input.values_BMD - found.values_BMD
    assert [bool(row.abs().max() > 0.5) for row in difference] == [True, True, False]


def test_a_missing_condition_and_strange_codes_are_refused():
    given = made(("tse", "sr"), 0)
    lost = replace(given, references=(None, None))
    with pytest.raises(ValueError, match="clip 0: task tse: reference missing"):
        encoded(SMALL, encoders(), lost, device=CPU)
    strange = replace(given, acoustic_BKF=given.acoustic_BKF + 12)
    with pytest.raises(ValueError, match="acoustic codes"):
        encoded(SMALL, encoders(), strange, device=CPU)


def test_a_model_that_copies_gets_the_inputs_tokens_and_says_where_they_are_missing():
    given = made(TASKS, 0)
    found = encoded(SMALL, encoders(), given, device=CPU, dropout=0.4).conditions.input_codes
    kept = (given.draws_BC[:, 2] >= 0.4).tolist()
    assert found.lengths_B.tolist() == [0 if one is None else len(one) * keep for one, keep in zip(given.input_codes, kept)]
    assert all(torch.equal(found.values_BMD[row, :n], given.input_codes[row]) for row, n in enumerate(found.lengths_B) if n)
    assert encoded(replace(SMALL, copies=False), encoders(), given, device=CPU).conditions.input_codes is None
    with pytest.raises(ValueError, match="sr-0: its input has no tokens"):
        encoded(SMALL, encoders(), replace(given, input_codes=()), device=CPU)


def test_row_lengths_are_those_of_the_model():
    batch = encoded(SMALL, encoders(), made(TASKS, 0), device=CPU, dropout=0.3)
    losses = UnifiedLM(SMALL)(batch)
    assert losses.num_positions - losses.num_padding == int(row_lengths(batch, SMALL.tokens.num_layers).sum())
