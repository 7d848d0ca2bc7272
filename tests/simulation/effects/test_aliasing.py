import numpy as np

from simulation.effects.aliasing import Aliasing, AliasingRange
from simulation.seeds import Rng


def test_a_tone_above_the_lower_rates_half_is_folded_below_it():
    at = np.arange(16000) / 16000
    tone = np.sin(2 * np.pi * 5000 * at).astype(np.float32)[np.newaxis]
    spectrum = np.abs(np.fft.rfft(Aliasing(8000)(tone, 16000)[0]))
    assert abs(int(np.argmax(spectrum)) - 3000) <= 1  # 8000 - 5000


def test_the_rate_is_a_share_of_the_tasks():
    drawn = [AliasingRange(rate_percent=(30, 90)).draw(Rng(0, "t", index), 48000).sample_rate_hz for index in range(100)]
    assert min(drawn) >= 14400
    assert max(drawn) <= 43200
    assert len(set(drawn)) > 20


def test_a_lower_rate_spoils_more():
    at = np.arange(32000) / 16000
    tone = np.sin(2 * np.pi * 1300 * at).astype(np.float32)[np.newaxis]
    effects = [Aliasing(5000), Aliasing(9000), Aliasing(14000)]
    ratios = [effect.measure(tone, effect(tone, 16000), 16000)["aliasing_sdr_db"] for effect in effects]
    assert ratios == sorted(ratios)
