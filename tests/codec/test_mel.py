"""Mel filters and log-mel spectrograms against librosa."""

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.mel import FLOOR, LogMel, hz_to_mel, mel_filterbank, mel_to_hz


def noise(num_samples: int, num_clips: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(num_clips, num_samples, generator=torch.Generator().manual_seed(seed)) * 0.1


@given(st.floats(0, 24000))
def test_mels_and_hertz_are_inverse(hz):
    assert mel_to_hz(hz_to_mel(hz)) == pytest.approx(hz, abs=1e-6)


@pytest.mark.parametrize("rate, window, mels", [(16000, 400, 40), (16000, 2048, 80), (48000, 1920, 128), (16000, 33, 5)])
def test_filters_are_those_of_librosa(rate, window, mels):
    ours, theirs = mel_filterbank(rate, window, mels), librosa.filters.mel(sr=rate, n_fft=window, n_mels=mels)
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-5, atol=1e-8)


def test_filters_between_two_frequencies_are_those_of_librosa():
    ours = mel_filterbank(16000, 1024, 64, low_hz=60, high_hz=7600)
    np.testing.assert_allclose(
        ours.numpy(), librosa.filters.mel(sr=16000, n_fft=1024, n_mels=64, fmin=60, fmax=7600), rtol=1e-5, atol=1e-8
    )


def test_frequencies_out_of_order_or_above_half_the_rate_are_refused():
    with pytest.raises(ValueError, match="8000"):
        mel_filterbank(16000, 1024, 64, high_hz=9000)
    with pytest.raises(ValueError, match="low < high"):
        mel_filterbank(16000, 1024, 64, low_hz=500, high_hz=400)


@pytest.mark.parametrize("window, hop, mels", [(1024, 256, 80), (512, 128, 40), (64, 16, 5)])
def test_the_log_mel_is_that_of_librosa(window, hop, mels):
    wave_BT = noise(8000, 2)
    magnitude = librosa.feature.melspectrogram(
        y=wave_BT.numpy(), sr=16000, n_fft=window, hop_length=hop, n_mels=mels, power=1.0, pad_mode="constant"
    )
    ours = LogMel(16000, window, hop, mels)(wave_BT)
    np.testing.assert_allclose(ours.numpy(), np.log(np.maximum(magnitude, FLOOR)), rtol=1e-4, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 300))
def test_there_are_as_many_frames_as_announced(num_samples, padding):
    if num_samples + 2 * padding >= 400:
        frames = LogMel(16000, 400, 320, 10, padding_samples=padding)(noise(num_samples)).shape[-1]
        assert frames == (num_samples + 2 * padding - 400) // 320 + 1


def test_a_longer_transform_interpolates_the_same_spectrum():
    wave_BT = noise(4000)
    short, long = (LogMel(16000, 400, 160, 20, fft_samples=size)(wave_BT) for size in (400, 800))
    assert short.shape == long.shape
    assert (long - short - np.log(2)).abs().max() < 0.1  # twice the bins in each band


def test_a_first_call_in_inference_mode_leaves_training_possible():
    wave_BT, log_mel = noise(1000).requires_grad_(), LogMel(16000, 222, 111, 7)
    with torch.inference_mode():
        log_mel(wave_BT.detach())
    log_mel(wave_BT).sum().backward()
    assert wave_BT.grad.abs().sum() > 0


def test_silence_has_a_finite_level_and_no_gradient():
    wave_BT = torch.zeros(1, 2000, requires_grad=True)
    level = LogMel(16000, 512, 128, 40)(wave_BT)
    level.sum().backward()
    assert torch.all(level == torch.tensor(FLOOR).log())
    assert torch.all(wave_BT.grad == 0)


def test_gradients_are_those_of_finite_differences():
    wave_BT = noise(600).requires_grad_()
    log_mel = LogMel(16000, 256, 128, 8)
    log_mel(wave_BT).sum().backward()
    step = noise(600, seed=1)
    with torch.no_grad():
        slope = (log_mel(wave_BT + 1e-3 * step).double().sum() - log_mel(wave_BT - 1e-3 * step).double().sum()) / 2e-3
    assert float((wave_BT.grad * step).sum()) == pytest.approx(float(slope), rel=1e-2)


def test_autocast_and_half_precision_waves_are_computed_in_float32():
    wave_BT = noise(2000).bfloat16()
    log_mel = LogMel(16000, 512, 128, 40)
    with torch.autocast("cpu", torch.bfloat16):
        level = log_mel(wave_BT)
    assert level.dtype == torch.float32
    assert torch.equal(level, log_mel(wave_BT.float()))
