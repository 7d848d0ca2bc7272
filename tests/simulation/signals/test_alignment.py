import numpy as np
import pytest

from simulation.seeds import stored_noise
from simulation.signals.alignment import delay_samples


def smooth(seed: int, num_samples: int) -> np.ndarray:
    return np.convolve(stored_noise(seed, (num_samples,)), np.hanning(9), "same").astype(np.float32)[np.newaxis]


@pytest.mark.parametrize("delay", [0, 1, -1, 37, -900])
@pytest.mark.parametrize("polarity", [1, -1])
def test_a_delay_is_found_whatever_the_polarity(delay, polarity):
    before = smooth(1, 32000)
    after = np.roll(before, delay, axis=1) * np.float32(0.3 * polarity) + np.float32(0.05) * smooth(2, 32000)
    assert delay_samples(after, before, 16000) == delay


def test_a_delay_in_the_loudest_part_alone_is_found():
    before = smooth(3, 64000)
    before[:, :30000] *= 0.01
    after = before.copy()
    after[:, 30000:] = np.roll(before[:, 30000:], 5, axis=1)
    assert delay_samples(after, before, 16000) == 5


def test_an_offset_does_not_hide_a_delay():
    before = smooth(4, 32000)
    assert delay_samples(np.roll(before, 3, axis=1) + np.float32(50), before + np.float32(50), 16000) == 3


@pytest.mark.parametrize("num_samples", [1, 10, 16000])
def test_silence_has_none(num_samples):
    silence = np.zeros((1, num_samples), np.float32)
    assert delay_samples(silence, silence, 16000) == 0


def test_a_real_voice_a_sample_late_is_found_and_one_limited_and_clipped_is_not(real_bank):
    from simulation.effects.band_limit import BandLimit
    from simulation.effects.clip import Clip
    from simulation.seeds import Rng

    bank, load = real_bank
    for index in range(20):
        voice = load(bank.draw(Rng(0, "alignment", index)("voice"), "speech", 3.0))
        assert delay_samples(np.roll(voice, 1, axis=1), voice, 16000) == 1
        damaged = Clip(0.09, 0.93)(BandLimit(4000, "soxr_hq")(voice, 16000), 16000)
        assert delay_samples(damaged, voice, 16000) == 0
