import itertools

import numpy as np
import pytest

from simulation.events.layout import GAP_S, SNUG_S, Frame, edited_overlap, edited_sequence, in_sequence, merged
from simulation.events.operations import ADDED, ADDED_IN_SEQUENCE, MOVED

KINDS = (*ADDED_IN_SEQUENCE, *MOVED, "remove", "replace", "louder", "faster", "slower")
RATES = (16000, 22050, 48000)


def layouts(kind: str, count: int = 40):
    """(frame, lengths, spans) of random lengths in sequence."""
    for seed in range(count):
        generator = np.random.default_rng(seed)
        rate, sounds = RATES[seed % 3], 2 + seed % 4
        frame = Frame(int(generator.integers(6, 11)) * rate, rate)
        longest = int(frame.longest_s(sounds + 1) * rate)
        lengths = [(n, n) for n in generator.integers(longest // 3, longest, size=sounds).tolist()]
        if kind in ("faster", "slower"):
            lengths[0] = (lengths[0][0], round(lengths[0][0] / (1.5 if kind == "faster" else 0.9)))
        yield frame, lengths, edited_sequence(kind, lengths, frame, generator)


@pytest.mark.parametrize("kind", KINDS)
def test_in_sequence_no_two_sounds_meet_on_either_side(kind):
    for frame, lengths, spans in layouts(kind):
        for side in (0, 1):
            there = sorted(span[side] for span in spans if span[side])
            assert there[0][0] >= 0 and there[-1][1] <= frame.num_samples
            assert all(b[0] - a[1] >= frame.samples(GAP_S) - 1 for a, b in itertools.pairwise(there))
        for (before, after), (one, other) in zip(spans, lengths, strict=True):
            assert before is None or before[1] - before[0] == one
            assert after is None or after[1] - after[0] == other


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_is_edited_changes(kind):
    for _, _, spans in layouts(kind, 12):
        changed = {number for number, (before, after) in enumerate(spans) if before != after}
        assert changed <= ({0, 1} if kind in ("swap", "replace") else {0})


def starts(spans, side: int) -> list[int]:
    """Sounds in the order of their starts."""
    there = [(span[side][0], number) for number, span in enumerate(spans) if span[side]]
    return [number for _, number in sorted(there)]


def test_a_move_is_the_one_that_its_kind_says():
    for _, _, spans in layouts("move_before"):
        before, after = starts(spans, 0), starts(spans, 1)
        assert before.index(0) > before.index(1) and after.index(0) + 1 == after.index(1)
    for _, _, spans in layouts("move_after"):
        before, after = starts(spans, 0), starts(spans, 1)
        assert before.index(0) < before.index(1) and after.index(0) == after.index(1) + 1
    for _, _, spans in layouts("swap"):
        before, after = starts(spans, 0), starts(spans, 1)
        assert after == [{0: 1, 1: 0}.get(number, number) for number in before]
    for frame, _, spans in layouts("move_first"):
        assert starts(spans, 0)[0] != 0 == starts(spans, 1)[0] and spans[0][1][0] <= frame.samples(SNUG_S)
    for _, _, spans in layouts("move_last"):
        assert starts(spans, 0)[-1] != 0 == starts(spans, 1)[-1]


@pytest.mark.parametrize(("kind", "sign"), [("earlier", -1), ("earlier_by", -1), ("later", 1), ("later_by", 1)])
def test_earlier_and_later_change_the_order_and_named_times_are_whole_steps(kind, sign):
    for frame, _, spans in layouts(kind):
        moved = spans[0][1][0] - spans[0][0][0]
        assert moved * sign > 0 and starts(spans, 0) != starts(spans, 1)
        if kind.endswith("_by"):
            assert abs(moved) in {frame.on_step(number) for number in range(1, 101)}


def test_an_added_sound_comes_where_its_kind_says():
    for frame, _, spans in layouts("add_start"):
        assert starts(spans, 1)[0] == 0 and spans[0][1][0] <= frame.samples(SNUG_S)
    for frame, _, spans in layouts("add_end"):
        assert starts(spans, 1)[-1] == 0
        assert frame.num_samples - spans[0][1][1] <= frame.samples(SNUG_S) + frame.on_step(1) + 1
    for kind, step in (("add_before", 1), ("add_after", -1)):
        for _, _, spans in layouts(kind):
            order = starts(spans, 1)
            assert order.index(0) + step == order.index(1)
    for frame, _, spans in layouts("add_time"):
        assert spans[0][1][0] in {frame.on_step(number) for number in range(1, 101)}


def test_what_takes_the_place_of_a_sound_begins_when_that_did():
    for _, _, spans in layouts("replace"):
        assert spans[0][1] is None is spans[1][0] and spans[1][1][0] == spans[0][0][0]


@pytest.mark.parametrize("kind", [*ADDED, "remove", "replace", "louder"])
def test_where_sounds_may_meet_all_lie_in_the_frame(kind):
    for seed in range(40):
        generator = np.random.default_rng(seed)
        frame = Frame(7 * 16000, 16000)
        lengths = [(n, n) for n in generator.integers(5000, int(frame.longest_s(1) * 16000), size=3).tolist()]
        spans = edited_overlap(kind, lengths, frame, generator)
        for span in itertools.chain(*spans):
            assert span is None or 0 <= span[0] < span[1] <= frame.num_samples
        if kind == "add_during":
            new, other = spans[0][1], spans[1][1]
            shared = min(new[1], other[1]) - max(new[0], other[0])
            assert shared >= min(lengths[0][0], lengths[1][0]) // 2
        if kind == "replace":
            assert spans[0][0][0] == spans[1][1][0] and spans[0][1] is None is spans[1][0]


def test_every_layout_of_a_sequence_is_as_likely():
    generator, frame = np.random.default_rng(1), Frame(1000 + 3200 + 90, 16000)  # 90 are left beside sounds and gap
    first = [in_sequence(generator, [500, 500], frame)[0] for _ in range(2000)]
    assert min(first) == 0 and 80 < max(first) <= 90
    assert np.mean(first) == pytest.approx(30, abs=2)  # the smaller of two even draws from 0 to 90


def test_merged_spans_are_a_union():
    assert merged([(5, 8), (0, 2), (7, 9), (2, 3)]) == ((0, 3), (5, 9))
    assert merged([]) == ()
