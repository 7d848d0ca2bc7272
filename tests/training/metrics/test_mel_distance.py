import librosa
import numpy as np
import pytest

from tests.training.real_speech import RATE_HZ
from training.metrics.mel_distance import score


def test_the_distance_is_the_published_definition_written_with_librosa(speech, noise):
    estimate, distance = speech + 0.01 * noise, 0.0
    for window, bands in ((2048, 150), (512, 80)):
        options = {
            "sr": RATE_HZ,
            "n_fft": window,
            "hop_length": window // 4,
            "n_mels": bands,
            "power": 1,
            "pad_mode": "reflect",
        }
        x, y = (librosa.feature.melspectrogram(y=signal.astype(np.float64), **options) for signal in (speech, estimate))
        distance += np.abs(x - y).mean()
        distance += np.abs(np.log10(np.maximum(x, 1e-5) ** 2) - np.log10(np.maximum(y, 1e-5) ** 2)).mean()
    assert score(speech, estimate, RATE_HZ) == pytest.approx(distance, rel=1e-6)


def test_the_distance_goes_both_ways(speech, noise):
    assert score(speech, noise, RATE_HZ) == score(noise, speech, RATE_HZ)


def test_silence_is_finite(speech):
    assert 1 < score(speech, np.zeros_like(speech), RATE_HZ) < 100
    assert score(np.zeros(4000), np.zeros(4000), RATE_HZ) == 0.0
