import numpy as np
import pytest
import scipy.signal

from simulation.voice_conversion.pitch import PERIOD_S, track
from simulation.voice_conversion.psola import Spectrum, input_pulses, lay_out, overlap_add
from simulation.voice_conversion.timbre import formants, timbre
from tests.simulation.made_speech import said

RATE_HZ = 16000
UNCHANGED = Spectrum((0.0, 9000.0), (0.0, 9000.0))


def resaid(audio: np.ndarray, *, pitch: float = 1.0, stretch: float = 1.0, spectrum: Spectrum = UNCHANGED) -> np.ndarray:
    """The audio at `pitch` times its F0, as its frames' number times `stretch`."""
    found = track(audio, RATE_HZ)
    source_s = np.arange(round((len(found.f0_hz) + 2) * stretch)) * PERIOD_S / stretch
    f0_hz = pitch * np.interp(source_s, np.arange(len(found.f0_hz)) * PERIOD_S, found.filled())
    return overlap_add(audio, lay_out(found, f0_hz, source_s, RATE_HZ), spectrum, RATE_HZ)


@pytest.mark.parametrize("pitch_hz", [90, 150, 260])
def test_there_is_one_pulse_a_period(pitch_hz):
    found = track(said(pitch_hz=pitch_hz, swing_semitones=1), RATE_HZ)
    steps = np.diff(input_pulses(found)) * pitch_hz
    inside = steps[steps < 2.5]  # not across a pause
    assert np.median(inside) == pytest.approx(1, abs=0.05)
    assert ((inside > 0.8) & (inside < 1.25)).mean() > 0.92  # all but some at the edges of syllables


@pytest.mark.parametrize("pitch", [0.7, 1.4])
def test_pitch_changes_and_formants_stay(pitch):
    audio = said(pitch_hz=150, swing_semitones=0.5)
    changed = resaid(audio, pitch=pitch)
    assert track(changed, RATE_HZ).median_hz() == pytest.approx(pitch * 150, rel=0.02)
    assert formants(timbre(changed, RATE_HZ), timbre(audio, RATE_HZ), RATE_HZ).ratio == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("ratio", [0.8, 1.25])
def test_formants_move_and_pitch_stays(ratio):
    audio = said(pitch_hz=110, swing_semitones=0.5)
    changed = resaid(audio, spectrum=Spectrum((0.0, 6000.0, 8000.0), (0.0, 6000.0 / ratio if ratio > 1 else 7500.0, 8000.0)))
    true = said(pitch_hz=110, swing_semitones=0.5, ratio=ratio)
    found = [formants(timbre(other, RATE_HZ), timbre(audio, RATE_HZ), RATE_HZ).ratio for other in (changed, true)]
    assert found[0] == pytest.approx(ratio, rel=0.06) and found[0] == pytest.approx(found[1], rel=0.02)
    assert track(changed, RATE_HZ).median_hz() == pytest.approx(110, rel=0.02)


@pytest.mark.parametrize("stretch", [0.6, 1.0, 1.7])
def test_duration_changes_and_pitch_and_formants_stay(stretch):
    audio, wanted = (said(pitch_hz=130, swing_semitones=0.5, stretch=by) for by in (1, stretch))
    changed = resaid(audio, stretch=stretch)[:, : wanted.shape[1]]
    assert abs(changed.shape[1] - wanted.shape[1]) < 400
    assert track(changed, RATE_HZ).median_hz() == pytest.approx(130, rel=0.02)
    length = min(changed.shape[1], wanted.shape[1])
    envelopes = [np.add.reduceat(np.square(x[0, :length]), np.arange(0, length, 320)) for x in (changed, wanted)]
    assert np.corrcoef(*envelopes)[0, 1] > 0.9


def test_what_is_not_voiced_is_copied():
    audio = said(pitch_hz=150, num_syllables=3)
    changed = resaid(audio, pitch=1.3)
    hiss = slice(0, 1200)  # the first syllable's
    rest = changed[0, hiss] - audio[0, hiss]
    assert np.square(rest).sum() < 0.02 * np.square(audio[0, hiss]).sum()


def test_power_is_kept_whatever_the_pitch():
    audio = said(pitch_hz=150)
    for pitch in (0.7, 1.0, 1.4):
        assert np.square(resaid(audio, pitch=pitch)).mean() == pytest.approx(np.square(audio).mean(), rel=0.35)


def test_a_gain_is_heard_where_it_was_put():
    audio = said(pitch_hz=120)
    raised = Spectrum(UNCHANGED.heard_hz, UNCHANGED.from_hz, (0.0, 1500.0, 2500.0, 8000.0), (0.0, 0.0, 12.0, 12.0))
    levels = [scipy.signal.welch(resaid(audio, spectrum=spectrum)[0], RATE_HZ, nperseg=512) for spectrum in (UNCHANGED, raised)]
    difference_db = 10 * np.log10(levels[1][1] / levels[0][1])
    frequencies = levels[0][0]
    assert difference_db[(frequencies > 300) & (frequencies < 1200)].mean() == pytest.approx(0, abs=1)
    assert difference_db[(frequencies > 3000) & (frequencies < 5000)].mean() == pytest.approx(12, abs=1.5)


def test_breath_is_noise_above_its_frequency_and_keeps_the_level():
    audio = said(pitch_hz=120, swing_semitones=0)
    breathy = Spectrum(UNCHANGED.heard_hz, UNCHANGED.from_hz, breathiness=0.9, seed=5)
    plain, changed = resaid(audio), resaid(audio, spectrum=breathy)

    def regular(x: np.ndarray, band: tuple[int, int]) -> float:
        """Correlation with itself one period on, in a band."""
        y = scipy.signal.sosfiltfilt(scipy.signal.butter(4, band, "band", fs=RATE_HZ, output="sos"), x[0])
        lag = round(RATE_HZ / 120)
        return float(np.corrcoef(y[lag:], y[:-lag])[0, 1])

    assert regular(changed, (200, 1200)) > regular(plain, (200, 1200)) - 0.05
    assert regular(plain, (2200, 3400)) - regular(changed, (2200, 3400)) > 0.3
    assert np.square(changed).mean() == pytest.approx(np.square(plain).mean(), rel=0.1)


def test_the_same_layout_gives_the_same_samples():
    audio = said(pitch_hz=200)
    breathy = Spectrum(UNCHANGED.heard_hz, UNCHANGED.from_hz, breathiness=0.5, seed=1)
    assert np.array_equal(resaid(audio, pitch=1.2, spectrum=breathy), resaid(audio, pitch=1.2, spectrum=breathy))


def test_one_creaky_period_does_not_make_all_windows_long():
    audio = said(pitch_hz=200)
    found = track(audio, RATE_HZ)
    f0_hz = found.filled()
    layout = lay_out(found, f0_hz, np.arange(len(f0_hz)) * PERIOD_S, RATE_HZ)
    assert layout.half.max() <= 1.5 * np.median(layout.half) + 0.1
