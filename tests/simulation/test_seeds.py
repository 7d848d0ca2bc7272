import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simulation.seeds import Rng, chance, integer, stored_noise, uniform


@given(st.integers(0, 2**40), st.text(max_size=8), st.integers(0, 2**40))
def test_a_draw_depends_on_its_key_only(seed, task, index):
    first = Rng(seed, task, index)
    first("other").random(100)  # what else is drawn, and how much of it, shifts nothing
    assert first("snr").random() == Rng(seed, task, index)("snr").random()


def test_every_part_of_the_key_counts():
    keys = [Rng(0, "sr", 0), Rng(1, "sr", 0), Rng(0, "tse", 0), Rng(0, "sr", 1), Rng(0, "sr", 0, attempt=1)]
    draws = [key("a").random() for key in keys] + [keys[0]("b").random(), keys[0]("a", 1).random(), keys[0]("a", "1").random()]
    assert len(set(draws)) == len(draws)


def test_neighbouring_indices_are_uncorrelated():
    draws = np.array([Rng(0, "sr", index)("snr").random() for index in range(4000)])
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.05
    assert abs(draws.mean() - 0.5) < 0.02


def test_a_known_key_keeps_its_value():
    """The streams are part of every dataset's identity: a change here changes all data."""
    assert Rng(0, "sr", 0)("snr").random() == 0.8288780886583528
    assert stored_noise(1, (3,)).tolist() == [0.038877055048942566, -0.1436416059732437, 0.46660396456718445]


@given(st.floats(-50, 50), st.floats(0, 50))
def test_uniform_stays_in_its_bounds_and_is_rounded(low, width):
    value = uniform(Rng(0, "t", 0)("x"), (low, low + width), digits=3)
    assert low - 5e-4 <= value <= low + width + 5e-4
    assert value == round(value, 3)


def test_integers_reach_both_bounds_and_chances_their_share():
    assert {integer(Rng(0, "t", i)("n"), (2, 4)) for i in range(100)} == {2, 3, 4}
    share = np.mean([chance(Rng(0, "t", i)("c"), 0.3) for i in range(3000)])
    assert abs(share - 0.3) < 0.03
    assert not chance(Rng(0, "t", 0)("c"), 0.0)
    assert chance(Rng(0, "t", 0)("c"), 1.0)


def test_stored_noise_is_white_and_of_unit_variance():
    noise = stored_noise(7, (1, 2**16))[0]
    assert noise.dtype == np.float32
    assert abs(noise.std() - 1) < 0.01
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    quarters = [part.mean() for part in np.array_split(spectrum[1:], 4)]
    assert max(quarters) / min(quarters) < 1.1
