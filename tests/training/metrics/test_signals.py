import librosa
import numpy as np
import pytest

from training.metrics.signals import Unscorable, at_rate, check, check_length, check_sound, magnitudes, mel_filters


def test_signals_of_unequal_length_or_more_channels_are_a_mistake_that_is_named():
    with pytest.raises(ValueError, match="800 samples, the estimate 801") as unequal:
        check(np.ones(800), np.ones(801), 16000)
    assert not isinstance(unequal.value, Unscorable)
    with pytest.raises(ValueError, match=r"reference has the shape \(2, 800\)"):
        check(np.ones((2, 800)), np.ones((2, 800)), 16000)
    with pytest.raises(ValueError, match="rate is 0"):
        check(np.ones(800), np.ones(800), 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_has_no_score_and_says_whose_it_is(bad):
    broken = np.ones(800)
    broken[3:5] = bad
    with pytest.raises(Unscorable, match="2 of 800 samples of the estimate are not finite"):
        check(np.ones(800), broken, 16000)


def test_a_short_or_silent_clip_has_no_score():
    with pytest.raises(Unscorable, match=r"0.1 s is shorter than 0.25 s"):
        check_length(1600, 16000, 0.25)
    with pytest.raises(Unscorable, match="the estimate is silent"):
        check_sound(reference=np.ones(100), estimate=np.full(100, 1e-6))
    check_sound(reference=np.full(100, 1 / 32767))
    with pytest.raises(Unscorable, match="fewer than half a window"):
        magnitudes(np.ones(256), 512)


def test_resampling_keeps_a_tone_and_its_own_rate_is_the_signal_itself():
    tone = np.sin(2 * np.pi * 1000 * np.arange(48000) / 48000)
    low = at_rate(tone, 48000, 16000)
    wanted = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    assert len(low) == 16000
    assert np.abs(low - wanted)[200:-200].max() < 1e-3
    assert at_rate(tone, 48000, 48000) is tone


@pytest.mark.parametrize("window_samples", [512, 2048])
def test_magnitudes_are_those_of_librosa(window_samples, noise):
    found = magnitudes(noise.astype(np.float64), window_samples)
    options = {"n_fft": window_samples, "hop_length": window_samples // 4, "pad_mode": "reflect"}
    assert np.allclose(found.T, np.abs(librosa.stft(noise.astype(np.float64), **options)), atol=1e-9)


@pytest.mark.parametrize("rate_hz, window_samples, num_bands", [(16000, 2048, 150), (16000, 512, 80), (48000, 2048, 150)])
def test_mel_filters_are_those_of_librosa(rate_hz, window_samples, num_bands):
    wanted = librosa.filters.mel(sr=rate_hz, n_fft=window_samples, n_mels=num_bands, dtype=np.float64)
    assert np.allclose(mel_filters(rate_hz, window_samples, num_bands), wanted, atol=1e-12)
