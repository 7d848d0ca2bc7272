import numpy as np
import pytest

from simulation.seeds import stored_noise
from simulation.voice_conversion.cepstrum import median_f0_hz, relate
from tests.simulation.made_speech import said

RATE_HZ = 16000


@pytest.mark.parametrize("pitch_hz", [80, 120, 200, 330])
def test_the_median_is_the_pitch(pitch_hz):
    assert median_f0_hz(said(pitch_hz=pitch_hz, swing_semitones=0.5), RATE_HZ) == pytest.approx(pitch_hz, rel=0.03)


@pytest.mark.parametrize("semitones", [-7, -3, 0.5, 4, 8])
def test_the_shift_between_two_voices_is_found(semitones):
    one, other = said(pitch_hz=150), said(pitch_hz=150 * 2 ** (semitones / 12), ratio=1.15)
    found = relate(other, one, RATE_HZ)
    assert found.known and found.shift_semitones == pytest.approx(semitones, abs=0.3)


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.5])
def test_the_range_is_found(factor):
    one, other = said(pitch_hz=150, swing_semitones=4), said(pitch_hz=150, swing_semitones=4 * factor)
    found = relate(other, one, RATE_HZ, middle_hz=150)
    assert found.range_factor == pytest.approx(factor, abs=0.12) and found.shift_semitones == pytest.approx(0, abs=0.25)


def test_an_octave_error_does_not_pull_the_line():
    audio = said(pitch_hz=110)
    changed = said(pitch_hz=147)
    third = audio.shape[1] // 5
    changed[:, :third] = said(pitch_hz=220)[:, :third]  # a fifth of it where a bad tracker would put it
    assert relate(changed, audio, RATE_HZ).shift_semitones == pytest.approx(12 * np.log2(147 / 110), abs=0.3)


def test_where_there_is_no_pitch_nothing_is_claimed():
    voice, noise = said(pitch_hz=120), stored_noise(1, (1, 30000)) * np.float32(0.1)
    for one, other in ((noise, voice), (voice, noise), (np.zeros((1, 9000), np.float32), voice), (voice, voice[:, :300])):
        assert not relate(one, other, RATE_HZ).known
    assert median_f0_hz(noise, RATE_HZ) == median_f0_hz(np.zeros((1, 100), np.float32), RATE_HZ) == 0
