import pytest

from simulation.events.instructions import KINDS
from simulation.events.operations import OPERATIONS, OperationRange
from simulation.seeds import Rng


def edits(operations: OperationRange, count: int = 400):
    return [operations.draw(Rng(3, "event_edit", index)) for index in range(count)]


def test_each_operation_comes_as_often_as_its_share():
    found = [edit.operation for edit in edits(OperationRange(), 1500)]
    for name, share in OperationRange().shares().items():
        assert found.count(name) / 1500 == pytest.approx(share, abs=0.03)


def test_kinds_belong_to_their_operation_and_are_worded():
    starts = {"reorder": ("move", "swap", "earlier", "later")}
    for edit in edits(OperationRange()):
        assert edit.kind in KINDS and edit.kind.startswith(starts.get(edit.operation, edit.operation))
        assert edit.in_sequence or edit.operation not in ("reorder", "faster", "slower")


def test_amounts_lie_in_their_ranges_and_little_and_much_say_the_truth():
    for edit in edits(OperationRange(add=0, remove=0, replace=0, reorder=0)):
        if edit.operation in ("louder", "quieter"):
            assert edit.speed == 1 and edit.gain_db == (1 if edit.operation == "louder" else -1) * int(edit.words["decibels"])
            amount, little, much = abs(edit.gain_db), 5, 9
            assert 4 <= amount <= 12
        else:
            assert edit.gain_db == 0 and edit.speed == float(edit.words["times"]) == int(edit.words["percent"]) / 100
            amount, little, much = max(edit.speed, 1 / edit.speed), 1.3, 1.7
            assert (1.25 <= edit.speed <= 2) if edit.operation == "faster" else (0.5 <= edit.speed <= 0.8)
        assert amount <= little or not edit.kind.endswith("_slightly")
        assert amount >= much or not edit.kind.endswith("_much")


def test_only_what_is_asked_for_is_drawn():
    only = OperationRange(**dict.fromkeys(OPERATIONS, 0.0) | {"remove": 1.0})
    assert {edit.operation for edit in edits(only, 20)} == {"remove"}


@pytest.mark.parametrize(
    "options",
    [
        {"add": -1.0},
        dict.fromkeys(OPERATIONS, 0.0),
        {"louder_db": (0, 3)},
        {"quieter_db": (8, 4)},
        {"faster_percent": (90, 150)},
        {"slower_percent": (51, 54)},
    ],
)
def test_impossible_ranges_are_refused(options):
    with pytest.raises(ValueError, match="operations: "):
        OperationRange(**options)
