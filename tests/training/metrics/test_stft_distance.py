import numpy as np
import pytest
import torch

from tests.training.real_speech import RATE_HZ
from training.metrics.stft_distance import score


def test_the_distance_is_the_published_definition_written_with_torch(speech, noise):
    pair, distance = [torch.tensor(signal, dtype=torch.float64) for signal in (speech, speech + 0.01 * noise)], 0.0
    for window in (2048, 512):
        hann = torch.hann_window(window, dtype=torch.float64)
        x, y = (torch.stft(signal, window, window // 4, window=hann, return_complex=True).abs() for signal in pair)
        distance += (x - y).abs().mean() + (x.clamp(1e-5).pow(2).log10() - y.clamp(1e-5).pow(2).log10()).abs().mean()
    assert score(speech, speech + 0.01 * noise, RATE_HZ) == pytest.approx(float(distance), rel=1e-5)


def test_a_delay_of_one_sample_is_nearly_nothing_beside_noise(speech, noise):
    assert score(speech, np.roll(speech, 1), RATE_HZ) < 0.3 * score(speech, speech + 0.03 * noise, RATE_HZ)
