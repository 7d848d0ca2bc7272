import numpy as np
import pytest

from simulation.voice_conversion.disguise import output_frames_s
from simulation.voice_conversion.pitch import track
from simulation.voice_conversion.psola import Spectrum
from simulation.voice_conversion.timbre import formants, timbre
from simulation.voice_conversion.time_warp import timing
from simulation.voice_conversion.vocoder import resynthesise
from tests.simulation.made_speech import said

UNCHANGED = Spectrum((0.0, 30000.0), (0.0, 30000.0))


def vocoded(audio: np.ndarray, rate: int, *, pitch: float = 1.0, spectrum: Spectrum = UNCHANGED) -> np.ndarray:
    found = track(audio, rate)
    source_s = output_frames_s(audio.shape[1], rate)
    f0_hz = pitch * np.pad(found.filled(), (0, len(source_s) - len(found.f0_hz)), "edge")
    return resynthesise(audio, found, spectrum, rate, f0_hz=f0_hz, source_s=source_s)[:, : audio.shape[1]]


@pytest.mark.parametrize("rate", [16000, 48000])
def test_pitch_changes_and_words_timing_and_length_stay(rate):
    audio = said(pitch_hz=140, swing_semitones=0.5, num_syllables=4, sample_rate_hz=rate)
    changed = vocoded(audio, rate, pitch=1.3)
    voices = [timbre(x, rate) for x in (changed, audio)]
    assert changed.shape == audio.shape and changed.dtype == np.float32
    assert track(changed, rate).median_hz() == pytest.approx(182, rel=0.02)
    assert timing(*voices).error_ms < 10 and formants(*voices, rate).ratio == pytest.approx(1, abs=0.06)


def test_formants_move_and_breath_is_taken():
    audio = said(pitch_hz=110, num_syllables=4)
    moved = Spectrum((0.0, 6000.0, 8000.0), (0.0, 5000.0, 8000.0), breathiness=0.8)
    changed = vocoded(audio, 16000, spectrum=moved)
    assert formants(timbre(changed, 16000), timbre(audio, 16000), 16000).ratio == pytest.approx(1.2, rel=0.06)


def test_the_same_samples_each_time():
    audio = said(pitch_hz=180, num_syllables=3)
    assert np.array_equal(vocoded(audio, 16000, pitch=0.8), vocoded(audio, 16000, pitch=0.8))
