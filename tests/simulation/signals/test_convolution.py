import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation.signals.convolution import convolve


def noise(num_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=num_samples).astype(np.float32)


@given(st.integers(1, 6000), st.integers(1, 3000), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_it_is_the_convolution_cut_to_the_length_of_the_signal(num_samples, num_taps, seed):
    dry, response = noise(num_samples, seed), noise(num_taps, seed + 1)
    expected = np.convolve(dry.astype(np.float64), response)[:num_samples]
    (wet,) = convolve(dry[np.newaxis], [response])
    assert wet.shape == (1, num_samples) and wet.dtype == np.float32
    assert np.abs(wet[0] - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(("num_samples", "num_taps"), [(80000, 800), (80000, 9600), (80000, 90000), (240000, 24000)])
def test_long_responses_are_as_exact(num_samples, num_taps):
    dry, response = noise(num_samples), noise(num_taps, 1) * np.linspace(1, 0, num_taps, dtype=np.float32) ** 4
    (wet,) = convolve(dry[np.newaxis], [response])
    places = np.random.default_rng(2).integers(0, num_samples, 200)
    expected = [np.dot(dry[max(at + 1 - num_taps, 0) : at + 1][::-1].astype(float), response[: at + 1]) for at in places]
    assert np.abs(wet[0, places] - expected).max() <= 1e-5 * np.abs(wet).max()


def test_a_unit_impulse_changes_no_bit():
    dry = noise(5000)[np.newaxis]
    assert np.array_equal(convolve(dry, [np.ones(1, np.float32)])[0], dry)


def test_parts_of_a_response_give_parts_of_the_sound():
    dry, response = noise(20000)[np.newaxis], noise(3000, 1)
    late = response.copy()
    late[:800] = 0
    whole, early, rest = convolve(dry, [response, response[:800], late])
    assert np.allclose(early + rest, whole, atol=1e-5 * np.abs(whole).max())


def test_the_same_input_gives_the_same_bits_whatever_was_convolved_before():
    dry, response = noise(80000)[np.newaxis], noise(8000, 1)
    alone = convolve(dry, [response])[0]
    among = convolve(dry, [noise(300, 2), response, noise(20000, 3)])[1]
    assert alone.tobytes() == among.tobytes() == convolve(dry.copy(), [response.copy()])[0].tobytes()


def test_silence_stays_silent_and_keeps_its_length():
    (wet,) = convolve(np.zeros((1, 1000), np.float32), [noise(100)])
    assert wet.shape == (1, 1000) and not wet.any()
