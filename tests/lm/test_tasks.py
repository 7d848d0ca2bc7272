import re

import pytest

from lm.tasks import CONDITIONS, TASKS, check_conditions, frame_limit, task


def test_the_conditions_that_guide_a_task_are_among_those_it_needs():
    for of_task in TASKS.values():
        assert of_task.guided in of_task.needs
        assert {*of_task.needs, *of_task.may_have} <= {*CONDITIONS}
        assert of_task.length == "free" or "input" in of_task.needs


def test_an_unknown_task_gets_the_nearest_name():
    with pytest.raises(ValueError, match="did you mean 'speech_edit'"):
        task("speech-edit")
    with pytest.raises(ValueError, match="there are sr, tse"):
        task("xyzzy")


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("tse", {"input"}, "task tse: reference missing; it needs reference and input"),
        ("lass", set(), "text and input missing"),
        ("sr", {"input", "text"}, "task sr has no use for text; it takes input"),
    ],
)
def test_conditions_that_are_missing_or_of_no_use_are_named(name, given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check_conditions(name, given)


def test_an_optional_condition_may_be_there_or_not():
    check_conditions("tta", {"text"})
    check_conditions("tta", {"text", "reference"})


def test_an_aligned_target_has_the_frames_of_its_input_and_a_free_one_the_cap():
    assert frame_limit("sr", 120, 750) == 120
    assert frame_limit("ss", 120, 750) == 240
    assert frame_limit("speech_edit", 120, 750) == 750
    with pytest.raises(ValueError, match="a target of 0 frames"):
        frame_limit("sr", 0, 750)
    with pytest.raises(ValueError, match="a target of 90000 frames; allowed are 1 to 750: cut the input"):
        frame_limit("sr", 90000, 750)
