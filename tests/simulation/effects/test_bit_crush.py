import numpy as np
import pytest

from simulation.effects.bit_crush import BitCrush
from tests.simulation.effects.conftest import noisy_voice


@pytest.mark.parametrize("num_bits", [5, 8, 10])
def test_the_samples_lie_on_a_grid_of_that_many_bits(num_bits):
    audio = noisy_voice(16000)
    after = BitCrush(num_bits)(audio, 16000)
    step = np.abs(audio).max() / (2 ** (num_bits - 1) + 1)
    assert np.abs(after / step - np.rint(after / step)).max() < 1e-3
    assert np.abs(after - audio).max() <= 0.501 * step


def test_a_quiet_signal_survives_as_a_loud_one_does():
    audio = noisy_voice(16000)
    assert np.allclose(BitCrush(5)(audio * np.float32(2**-6), 16000) * 2**6, BitCrush(5)(audio, 16000), atol=1e-4)


def test_a_bit_more_is_6_db_less_noise():
    audio = noisy_voice(16000)
    ratios = [BitCrush(n).measure(audio, BitCrush(n)(audio, 16000), 16000)["quantisation_snr_db"] for n in (8, 10)]
    assert abs(ratios[1] - ratios[0] - 12) < 1
