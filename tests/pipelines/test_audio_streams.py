import itertools

import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st

from pipelines.audio_streams import (
    PIECE_SAMPLES,
    ArrayAudio,
    BadAudio,
    at_rate,
    check_samples,
    exactly,
    loudest,
    mono_at_rate,
    num_samples_at,
    resampled,
    stretches,
    whole,
)


def noise(*shape: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).normal(size=shape).astype(np.float32)


def cut(wave: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    edges = [0, *itertools.accumulate(sizes)]
    return [wave[..., start:stop] for start, stop in itertools.pairwise([*edges, wave.shape[-1]]) if start < stop]


@pytest.mark.parametrize(("from_hz", "to_hz"), [(44100, 16000), (8000, 44100), (48000, 16000), (16000, 16000)])
def test_resampling_in_pieces_is_resampling_at_once(from_hz, to_hz):
    wave = noise(2, 30000)
    at_once = soxr.resample(wave.T, from_hz, to_hz, quality="HQ").T
    for sizes in ([], [1, 7, 500], [4096] * 7):
        found = whole(resampled(cut(wave, sizes), from_hz, to_hz))
        assert np.array_equal(found, at_once)


@pytest.mark.parametrize("num_samples", [1, 2, 999, 44100, PIECE_SAMPLES + 1])
def test_a_rate_and_back_keeps_the_length(num_samples):
    audio = ArrayAudio(noise(3, num_samples), 44100)
    there = whole(at_rate(audio, 16000))
    assert there.shape == (3, num_samples_at(audio, 16000))
    assert whole(exactly(resampled([there], 16000, 44100), num_samples)).shape == (3, num_samples)
    assert whole(mono_at_rate(audio, 16000)).shape == (1, num_samples_at(audio, 16000))


@given(st.lists(st.integers(1, 40), max_size=12), st.integers(1, 30), st.integers(0, 29))
def test_stretches_are_slices_whatever_the_pieces(sizes, length, overlap):
    wave = np.arange(300, dtype=np.float32)[np.newaxis]
    hop = max(1, length - overlap)
    spans = [(start, start + length) for start in range(0, 300 - length, hop)]
    for (start, stop), found in zip(spans, stretches(cut(wave, sizes), spans), strict=True):
        assert np.array_equal(found, wave[:, start:stop])


def test_exactly_cuts_and_continues_with_zeros():
    wave = noise(2, 10)
    assert np.array_equal(whole(exactly([wave[:, :4], wave[:, 4:]], 7)), wave[:, :7])
    longer = whole(exactly([wave], 12))
    assert np.array_equal(longer[:, :10], wave) and not longer[:, 10:].any()


def test_the_loudest_stretch_holds_what_is_loud():
    wave = noise(1, 1000) * 0.01
    wave[:, 600:650] += 1
    for sizes in ([], [33] * 20):
        found = loudest(cut(wave, sizes), 200)
        assert found.shape == (1, 200) and (found > 0.5).sum() == 50
    assert np.array_equal(loudest([wave], 2000), wave)


@pytest.mark.parametrize(
    ("wave", "said"),
    [
        (np.zeros((1, 0)), "zero length"),
        (np.zeros((1, 100)), "silent"),
        (np.where(np.arange(100) == 50, np.nan, 0.1)[np.newaxis], "not finite"),
        (np.where(np.arange(100) == 50, np.inf, 0.1)[np.newaxis], "not finite"),
    ],
)
def test_audio_that_cannot_be_used_is_named(wave, said):
    with pytest.raises(BadAudio, match=f"the input.*{said}"):
        check_samples(ArrayAudio.of(wave, 16000, "the input"))


@pytest.mark.parametrize(
    ("wave", "rate", "said"),
    [
        (np.zeros(10, np.int16), 16000, "int16 array"),
        (np.zeros((1, 1, 10)), 16000, r"shape \(1, 1, 10\)"),
        (np.zeros((10, 2)), 16000, "transpose"),
        (np.zeros(10), None, "sample rate of None"),
        (np.zeros(10), 0, "sample rate of 0"),
    ],
)
def test_arrays_that_are_no_audio_are_refused(wave, rate, said):
    with pytest.raises(ValueError, match=said):
        ArrayAudio.of(wave, rate, "the input")
