import numpy as np
import pytest

from simulation.signals.stretch import RATIOS, num_stretched, speed_ratio, stretched


def bells(rate: int, pitch_hz: float = 440.0) -> np.ndarray:
    """Four strokes of a tone that dies away, `(1, 2 s)`."""
    at = np.arange(2 * rate) / rate
    return (np.sin(2 * np.pi * pitch_hz * at) * np.exp(-12 * (at % 0.5)))[np.newaxis].astype(np.float32) * np.float32(0.5)


def pitch_of(audio: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(audio[0] * np.hanning(audio.shape[1])))
    return float(spectrum.argmax()) * rate / audio.shape[1]


@pytest.mark.parametrize("rate", [16000, 48000])
@pytest.mark.parametrize("ratio", [0.5, 0.8, 1.25, 2.0])
def test_the_pitch_is_kept_and_the_length_is_divided(rate, ratio):
    audio = stretched(bells(rate), ratio, rate)
    assert audio.shape == (1, num_stretched(2 * rate, ratio)) and audio.dtype == np.float32
    assert pitch_of(audio, rate) == pytest.approx(440, rel=0.01)


@pytest.mark.parametrize("ratio", [0.5, 0.8, 1.25, 2.0])
def test_the_measured_ratio_is_the_one_asked_for(ratio):
    audio = bells(16000)
    assert speed_ratio(audio, stretched(audio, ratio, 16000)) == pytest.approx(ratio, rel=0.05)


def test_the_measured_ratio_sees_what_was_not_stretched():
    audio = bells(16000)
    assert speed_ratio(audio, audio) == 1.0
    assert speed_ratio(audio, np.zeros_like(audio)) == pytest.approx(1.0)
    tape = audio[:, ::2]  # twice the speed, whatever the pitch
    assert speed_ratio(audio, tape) == pytest.approx(2.0, rel=0.01)


def test_it_is_the_same_whenever_it_is_done():
    audio = bells(16000)
    assert np.array_equal(stretched(audio, 0.7, 16000), stretched(audio, 0.7, 16000))


@pytest.mark.parametrize("ratio", [0.49, 2.01])
def test_ratios_with_random_phases_are_refused(ratio):
    with pytest.raises(ValueError, match=f"give {RATIOS[0]} to {RATIOS[1]}"):
        stretched(bells(16000), ratio, 16000)
