"""Edits told from audio: a copy of the input has 0, the reference edit 1, whatever noise a codec adds to both."""

import numpy as np
import pytest

from tests.training.real_speech import RATE_HZ
from training.baselines import griffin_lim
from training.metrics.edit_accuracy import aligned, measure
from training.metrics.signals import Unscorable


@pytest.fixture(scope="module")
def before() -> np.ndarray:
    """Five tones of half a second, each a "word" of its own."""
    return np.concatenate([tone(hz) for hz in (300, 500, 800, 1300, 2100)])


def tone(hz: float, seconds: float = 0.5) -> np.ndarray:
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return sum(0.1 * np.sin(2 * np.pi * hz * k * at) / k for k in range(1, 8)) * np.hanning(at.size) ** 0.25


EDITS = {
    "insert": lambda x: np.concatenate([x[:16000], tone(3000), x[16000:]]),
    "delete": lambda x: np.concatenate([x[:16000], x[24000:]]),
    "replace": lambda x: np.concatenate([x[:16000], tone(3000, 0.7), x[24000:]]),
    "add": lambda x: x + np.pad(tone(5000, 1.0), (12000, len(x) - 28000)),
}


@pytest.mark.parametrize("name", EDITS)
def test_the_reference_edit_has_one_and_the_untouched_input_nothing(before, name):
    wanted = EDITS[name](before)
    done, undone = measure(before, wanted, wanted, RATE_HZ), measure(before, wanted, before, RATE_HZ)
    assert done.accuracy == 1.0 and done.kept_db == 0.0 and done.length_s == 0.0
    assert undone.accuracy < 0.1
    assert undone.length_s == pytest.approx(abs(len(wanted) - len(before)) / RATE_HZ)


@pytest.mark.parametrize("name", ["insert", "delete", "add"])
def test_resynthesis_of_both_changes_little(before, name):
    wanted = EDITS[name](before)
    done, undone = (measure(before, wanted, griffin_lim(one, RATE_HZ), RATE_HZ) for one in (wanted, before))
    assert done.accuracy > 0.8 and undone.accuracy < 0.2


def test_an_edit_at_another_place_is_not_the_edit(before):
    wanted = EDITS["insert"](before)
    elsewhere = np.concatenate([before[:32000], tone(3000), before[32000:]])
    assert measure(before, wanted, elsewhere, RATE_HZ).accuracy < 0.5


def test_damage_elsewhere_shows_in_what_was_to_be_kept(before):
    wanted = EDITS["insert"](before)
    damaged = wanted.copy()
    damaged[-8000:] = 0
    assert measure(before, wanted, damaged, RATE_HZ).kept_db > measure(before, wanted, wanted, RATE_HZ).kept_db + 1


def test_no_change_has_no_accuracy_and_bad_signals_no_value(before):
    assert measure(before, before, before, RATE_HZ).accuracy is None
    for wrong in (np.zeros_like(before), np.full_like(before, np.nan)):
        with pytest.raises(Unscorable):
            measure(wrong, before, before, RATE_HZ)
    silent = measure(before, EDITS["add"](before), np.zeros_like(before), RATE_HZ)
    assert silent.kept_db > 5


def test_alignment_finds_what_was_shifted():
    rng = np.random.default_rng(0)
    x_FM = 10 * rng.standard_normal((40, 8))
    y_FM = np.concatenate([10 * rng.standard_normal((5, 8)), x_FM])
    of_x, of_y = aligned(x_FM, y_FM)
    assert (of_x == np.arange(40) + 5).all() and (of_y[5:] == np.arange(40)).all()
