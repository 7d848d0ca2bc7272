import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.long_audio import Windowing, faded, joined, windows_of

SAMPLES = 8  # of a frame


@given(st.integers(1, 200), st.integers(0, 6), st.integers(1, 20))
def test_windows_keep_every_frame_once_and_hear_the_context_on_both_sides(num_frames, context, hop):
    size = 2 * context + hop
    windows = windows_of(num_frames, size, context)
    assert [frame for window in windows for frame in range(window.begin, window.end)] == list(range(num_frames))
    assert len({window.last - window.first for window in windows}) == 1
    assert windows[0].last - windows[0].first == min(size, num_frames)
    for before, after in itertools.pairwise(windows):
        assert before.last - before.end == context
        assert after.begin - after.first >= context
    assert (len(windows) == 1) == (num_frames <= size)


@given(st.integers(1, 120), st.integers(1, 5), st.integers(1, 12), st.floats(0, 1))
def test_windows_of_one_signal_join_to_that_signal(num_frames, context, hop, share):
    signal = np.random.default_rng(0).normal(size=(2, 1, num_frames * SAMPLES)).astype(np.float32)
    windows = windows_of(num_frames, 2 * context + hop, context)
    fade = int(share * min(2 * context, hop) * SAMPLES)
    parts = ((window, signal[..., window.first * SAMPLES : window.last * SAMPLES]) for window in windows)
    found = np.concatenate(list(joined(parts, SAMPLES, fade)), axis=-1)
    assert found.shape == signal.shape
    np.testing.assert_allclose(found, signal, atol=1e-6)  # so the weights sum to 1


def test_inside_a_window_its_own_audio_stands_and_around_a_cut_it_changes_evenly():
    windows = windows_of(30, 10, 2)
    parts = [(window, np.full((1, 10 * SAMPLES), number, np.float32)) for number, window in enumerate(windows)]
    (found,) = np.concatenate(list(joined(iter(parts), SAMPLES, 16)), axis=-1)
    for number, window in enumerate(windows):
        inside = found[window.begin * SAMPLES + 8 * (number > 0) : window.end * SAMPLES - 8 * (number < len(windows) - 1)]
        assert len(inside) and (inside == number).all()
    cut = windows[0].end * SAMPLES
    np.testing.assert_allclose(found[cut - 8 : cut + 8], (np.arange(16) + 0.5) / 16)


def test_a_fade_weighs_both_sides_to_one():
    ones, zeros = np.ones((1, 100), np.float32), np.zeros((1, 100), np.float32)
    np.testing.assert_allclose(faded(ones, zeros) + faded(zeros, ones), 1, atol=1e-6)


def test_pieces_come_before_all_windows_are_there():
    windows = windows_of(1000, 10, 2)
    parts = ((window, np.zeros((1, (window.last - window.first) * SAMPLES), np.float32)) for window in windows)
    pieces = joined(parts, SAMPLES, 4)
    next(pieces)
    assert next(parts)[0] == windows[1]


@pytest.mark.parametrize("wrong", [{"fade_s": 2.0}, {"context_s": 3.0}, {"fade_s": -0.1}, {"window_s": 0.0}])
def test_windows_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="fade_s must be"):
        Windowing(**wrong)


def test_windows_are_whole_frames():
    assert Windowing().frames(25.0) == (125, 13)
    assert Windowing().frames(12.5) == (62, 7)
