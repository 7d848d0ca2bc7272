import numpy as np
import pytest

from tests.training.real_speech import RATE_HZ, five_seconds
from training.baselines import griffin_lim, narrow_band
from training.metrics import mel_distance, si_sdr, stoi_score
from training.metrics.signals import magnitudes

speech = pytest.fixture(scope="module")(five_seconds)


def band_db(wave: np.ndarray, low_hz: float, high_hz: float) -> float:
    bins = magnitudes(wave.astype(np.float64), 2048)[:, round(low_hz / RATE_HZ * 2048) : round(high_hz / RATE_HZ * 2048)]
    return 10 * np.log10(np.square(bins).mean())


def test_above_4_khz_nothing_is_left_and_below_3500_hz_nothing_is_changed(speech):
    narrow = narrow_band(speech, RATE_HZ)
    assert narrow.shape == speech.shape
    assert band_db(narrow, 4200, 8000) < band_db(speech, 4200, 8000) - 50
    assert band_db(narrow - speech, 0, 3500) < band_db(speech, 0, 3500) - 60


@pytest.mark.parametrize("num_samples", [16000, 15999, 801])
@pytest.mark.parametrize("rate_hz", [16000, 48000])
def test_both_keep_the_length(num_samples, rate_hz, speech):
    wave = np.resize(speech, num_samples * rate_hz // 16000)
    for resynthesis in (narrow_band(wave, rate_hz), griffin_lim(wave, rate_hz)):
        assert (resynthesis.shape, resynthesis.dtype) == (wave.shape, np.float32)
        assert np.isfinite(resynthesis).all()


def test_griffin_lim_keeps_the_mel_spectrum_and_the_words_but_not_the_wave(speech):
    wave = griffin_lim(speech, RATE_HZ)
    assert mel_distance.score(speech, wave, RATE_HZ) < 0.7
    assert stoi_score.score(speech, wave, RATE_HZ) > 0.9
    assert si_sdr.score(speech, wave, RATE_HZ) < 0


def test_phases_are_drawn_by_key(speech):
    first = griffin_lim(speech[:16000], RATE_HZ)
    assert np.array_equal(first, griffin_lim(speech[:16000], RATE_HZ))
    assert not np.array_equal(first, griffin_lim(speech[:16000], RATE_HZ, seed=1))


def test_silence_stays_silent_and_a_clip_of_less_than_half_a_window_is_refused():
    assert np.abs(griffin_lim(np.zeros(8000), RATE_HZ)).max() < 1e-6
    with pytest.raises(ValueError, match="more than half a window"):
        griffin_lim(np.zeros(400), RATE_HZ)
