import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation.talkers.overlap import arrange, cut, extent, last, overlap_share, slide, stretch


def counted(extents) -> float:
    """Overlap by counting voices in every frame."""
    voices = np.zeros(1000, int)
    for start, past in extents:
        voices[start:past] += 1
    return float((voices > 1).sum() / max((voices > 0).sum(), 1))


lengths = st.lists(st.integers(1, 300), min_size=2, max_size=4)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 200)), max_size=5))
def test_overlap_is_what_counting_frames_says(spans):
    extents = [(start, start + length) for start, length in spans]
    assert overlap_share(extents) == pytest.approx(counted(extents))


@given(lengths, st.floats(0, 1))
def test_an_arrangement_fits_keeps_the_order_and_lengthens_nothing(lengths, share):
    extents = arrange(lengths, share, 250)
    assert last(extents) <= 250
    assert [start for start, _ in extents] == sorted(start for start, _ in extents)
    assert all(1 <= past - start <= length for (start, past), length in zip(extents, lengths, strict=True))


@given(st.lists(st.integers(50, 300), min_size=2, max_size=3), st.floats(0, 1))
def test_voices_of_a_second_or_more_overlap_as_asked_to_two_percent(lengths, share):
    assert overlap_share(arrange(lengths, share, 250)) == pytest.approx(share, abs=0.02)


def test_voices_that_fit_are_not_cut():
    assert arrange([100, 80], 0.2, 250) == [(0, 100), (70, 150)]


def test_no_overlap_is_one_after_the_other():
    assert slide([30, 20, 10], 0.0) == [(0, 30), (30, 50), (50, 60)]


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300))
def test_a_stretch_begins_and_ends_in_speech(seed, length):
    active = np.random.default_rng(seed).random(200) < 0.3
    active[77] = True
    start, past = stretch(active, length)
    assert active[start]
    assert active[past - 1]
    assert past - start <= length


def test_a_stretch_of_silence_is_refused():
    with pytest.raises(ValueError, match="nothing to place"):
        stretch(np.zeros(5, bool), 3)


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_what_is_heard_is_as_long_as_its_time_even_where_pauses_forbid_the_first_plan(seed, share):
    rng = np.random.default_rng(seed)
    active = [np.zeros(250, bool) for _ in range(2)]
    active[0][: rng.integers(1, 20)] = True  # a cough, a long pause, a word
    active[0][250 - rng.integers(20, 80) :] = True
    active[1] = rng.random(250) < 0.5
    active[1][5] = True
    heard, times = cut(active, share, 250)
    assert [past - first for first, past in heard] == [past - first for first, past in times]
    assert overlap_share(times) == pytest.approx(share, abs=0.05)


def test_the_extent_spans_the_pauses():
    assert extent(np.array([0, 1, 0, 0, 1, 0], bool)) == (1, 5)
    assert extent(np.zeros(4, bool)) == (0, 0)
