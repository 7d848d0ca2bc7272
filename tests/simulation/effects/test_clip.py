import numpy as np
import pytest

from simulation.effects.clip import Clip, ClipRange
from simulation.seeds import Rng
from tests.simulation.effects.conftest import noisy_voice


def test_samples_beyond_the_quantiles_are_flattened_and_all_others_kept():
    audio = noisy_voice(16000)
    after = Clip(low=0.1, high=0.95)(audio, 16000)
    assert np.isclose(after.min(), np.quantile(audio, 0.1), rtol=1e-3)
    assert np.isclose(after.max(), np.quantile(audio, 0.95), rtol=1e-3)
    inside = (audio > after.min()) & (audio < after.max())
    assert np.array_equal(after[inside], audio[inside])


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.0, 0.9), (0.1, 1.0), (0.07, 0.93)])
def test_the_requested_share_is_found(low, high):
    effect, audio = Clip(low, high), noisy_voice(16000)
    measured = effect.measure(audio, effect(audio, 16000), 16000)["clipped_share"]
    assert abs(measured - effect.requested()["clipped_share"]) < 1e-3
    assert abs(measured - (low + 1 - high)) < 1e-3


def test_a_signal_that_was_not_clipped_is_found_out():
    audio = noisy_voice(16000)
    assert Clip(0.05, 0.95).measure(audio, audio, 16000)["clipped_share"] < 1e-3


def test_a_coarsely_quantised_pause_does_not_count_as_clipped_beyond_the_request():
    """Every fourth sample has the value of the quantile itself."""
    audio = noisy_voice(16000)
    audio[:, ::4] = np.quantile(audio, 0.05)
    effect = Clip(0.08, 1.0)
    assert abs(effect.measure(audio, effect(audio, 16000), 16000)["clipped_share"] - 0.08) < 1e-3


def test_a_short_voice_in_silence_is_clipped_and_not_flattened():
    voice = noisy_voice(16000, 1.0)
    audio = np.pad(voice, ((0, 0), (0, 9 * voice.shape[1])))
    after = Clip(0.08, 0.92)(audio, 16000)
    assert np.square(after).sum() > 0.2 * np.square(audio).sum()
    assert np.array_equal(after[:, 16000:], audio[:, 16000:])


def test_draws_stay_in_the_range():
    drawn = [ClipRange(low=(0.02, 0.03), high=(0.9, 0.91)).draw(Rng(0, "t", index)) for index in range(50)]
    assert all(0.02 <= effect.low <= 0.03 and 0.9 <= effect.high <= 0.91 for effect in drawn)
    assert len({effect.low for effect in drawn}) > 20
