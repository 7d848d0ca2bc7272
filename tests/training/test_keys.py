import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.keys import generator, key

PARTS = st.lists(st.integers(-(2**70), 2**70) | st.text(max_size=8), max_size=4)


@given(PARTS)
def test_a_draw_depends_on_its_key_only(parts):
    generator("other").random(100)  # what else is drawn, and how much of it, shifts nothing
    assert generator(*parts).random() == generator(*parts).random()
    assert key(*parts) == key(*parts)


@given(PARTS)
def test_a_key_seeds_torch_and_fits_a_signed_integer(parts):
    assert 0 <= key(*parts) < 2**63
    torch.Generator().manual_seed(key(*parts))


def test_order_and_type_of_the_parts_count():
    lists = [(0, "a"), (1, "a"), ("a", 0), (0, "b"), (0, "a", 1), (0, "a", "1"), (0, "a1"), ("0", "a"), ()]
    assert len({key(*parts) for parts in lists}) == len(lists)
    assert len({generator(*parts).random() for parts in lists}) == len(lists)


def test_integers_of_numpy_and_python_are_alike_and_floats_are_refused():
    assert key(0, np.int64(7)) == key(np.int32(0), 7)
    with pytest.raises(TypeError):
        key(0, 7.0)


def test_neighbouring_keys_are_uncorrelated_and_uniform():
    draws = np.array([generator(0, "crop", position).random() for position in range(4000)])
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.05
    assert abs(draws.mean() - 0.5) < 0.02


def test_a_known_key_keeps_its_value():
    """The streams decide the order of training data: a change here changes every run."""
    assert key(0, "crop", 1) == 3843718891343788533
    assert generator(0, "crop", 1).random() == 0.8006280804009561
