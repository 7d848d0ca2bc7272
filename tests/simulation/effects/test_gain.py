import numpy as np
import pytest

from simulation.effects.gain import Gain, GainRange
from simulation.seeds import Rng
from tests.simulation.effects.conftest import noisy_voice


@pytest.mark.parametrize("effect", [Gain(-17.3, 0.008), Gain(5.5, -0.01), Gain(0.0, 0.0), Gain(-3.0, 0.002, inverted=True)])
def test_gain_and_offset_are_measured_as_requested(effect):
    audio = noisy_voice(16000)
    measured = effect.measure(audio, effect(audio, 16000), 16000)
    for label, value in effect.requested().items():
        assert abs(measured[label] - value) < 1e-4


def test_polarity_is_turned_only_where_asked():
    audio = noisy_voice(16000)
    assert np.allclose(Gain(0.0, 0.0, inverted=True)(audio, 16000), -audio)
    assert not any(GainRange().draw(Rng(0, "t", index)).inverted for index in range(50))
    turned = [GainRange(inverted_probability=0.5).draw(Rng(0, "t", index)).inverted for index in range(200)]
    assert 70 < sum(turned) < 130


def test_a_gain_beside_the_request_is_found_out():
    audio = noisy_voice(16000)
    assert abs(Gain(6.0).measure(audio, audio * np.float32(0.5), 16000)["gain_db"] + 6.02) < 0.01
