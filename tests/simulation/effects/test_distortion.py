import math

import numpy as np

from simulation.effects.distortion import Distortion, DistortionRange, saturated, scale_free_ratio_db
from simulation.seeds import Rng, stored_noise
from simulation.signals.levels import power
from tests.simulation.effects.conftest import noisy_voice


def harmonic(audio: np.ndarray, number: int) -> float:
    """Amplitude at a multiple of 500 Hz in one second at 16 kHz."""
    return float(2 * np.abs(np.fft.rfft(audio[0]))[500 * number] / 16000)


def test_the_curve_follows_tanh_and_ends_at_one():
    x = np.linspace(-6, 6, 241, dtype=np.float32)
    assert np.abs(saturated(x) - np.tanh(x)).max() < 0.03
    assert np.array_equal(saturated(x), -saturated(-x))
    assert saturated(np.float32(100)) == 1
    assert (np.diff(saturated(x)) >= 0).all()


def test_the_level_is_kept():
    audio = noisy_voice(16000)
    for index in range(5):
        after = DistortionRange().draw(Rng(0, "t", index))(audio, 16000)
        assert abs(10 * math.log10(power(after) / power(audio))) < 0.01


def test_drive_adds_odd_harmonics_and_bias_even_ones():
    at = np.arange(16000) / 16000
    tone = (0.1 * np.sin(2 * np.pi * 500 * at)).astype(np.float32)[np.newaxis]
    straight, biased = Distortion(3.0)(tone, 16000), Distortion(3.0, 0.4)(tone, 16000)
    assert harmonic(straight, 3) > 0.05 * harmonic(straight, 1)
    assert harmonic(straight, 2) < 1e-4 * harmonic(straight, 1)
    assert harmonic(biased, 2) > 0.05 * harmonic(biased, 1)


def test_more_drive_means_more_distortion():
    audio = noisy_voice(16000)
    effects = [Distortion(drive_db) for drive_db in (-20.0, -8.0, 4.0)]
    ratios = [effect.measure(audio, effect(audio, 16000), 16000)["distortion_sdr_db"] for effect in effects]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] > 20


def test_the_same_scene_at_another_level_is_distorted_alike():
    audio = noisy_voice(16000)
    loud, quiet = Distortion(2.0, 0.1)(audio, 16000), Distortion(2.0, 0.1)(audio * np.float32(0.125), 16000)
    assert np.allclose(quiet, loud * 0.125, atol=1e-6)


def test_the_ratio_ignores_scale_and_counts_noise():
    signal, noise = stored_noise(1, (1, 40000)), stored_noise(2, (1, 40000))
    assert scale_free_ratio_db(3 * signal, signal) > 80
    assert abs(scale_free_ratio_db(signal + np.float32(0.1) * noise, signal) - 20) < 0.3
    assert scale_free_ratio_db(signal, np.zeros_like(signal)) is None
