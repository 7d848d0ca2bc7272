import math

import numpy as np
import pytest

from simulation.acoustics.loudspeaker import Loudspeaker, LoudspeakerRange, Overdrive
from simulation.seeds import Rng
from simulation.signals.levels import power

RATE_HZ = 16000
CURVES = ("soft", "hard", "sigmoid")


def tone(hz: float, amplitude: float = 0.1) -> np.ndarray:
    """One second."""
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(RATE_HZ) / RATE_HZ)).astype(np.float32)[np.newaxis]


def at_hz(audio: np.ndarray, hz: int) -> float:
    """Amplitude of a partial in one second."""
    return float(2 * np.abs(np.fft.rfft(audio[0]))[hz] / RATE_HZ)


def driven(audio: np.ndarray, drive_db: float, curve: str = "soft", **more: float) -> np.ndarray:
    return Loudspeaker(200.0, 6000.0, 0.7, Overdrive(curve, drive_db, **more)).driven(audio, power(audio), RATE_HZ)


def test_without_overdrive_the_cone_follows():
    audio = tone(500)
    assert Loudspeaker(200.0, 6000.0, 0.7).driven(audio, power(audio), RATE_HZ) is audio


def test_silence_stays_silence():
    silence = np.zeros((1, RATE_HZ), np.float32)
    speaker = Loudspeaker(200.0, 6000.0, 0.7, Overdrive("sigmoid", 0.0, 0.3, 0.3))
    assert not speaker.driven(silence, 0.0, RATE_HZ).any()
    assert not speaker.driven(silence, 0.01, RATE_HZ).any()


@pytest.mark.parametrize("curve", CURVES)
def test_faint_signals_pass_and_loud_ones_end_at_the_limit(curve):
    x = np.array([[-50.0, -1e-3, 0.0, 1e-3, 50.0]], np.float32)
    low, faint_low, zero, faint, high = Overdrive(curve, 0.0).curved(x)[0]
    assert zero == 0
    assert faint == pytest.approx(1e-3, rel=0.01) and faint_low == pytest.approx(-1e-3, rel=0.01)
    assert 0.3 < high <= 1 and -1 <= low < -0.3


@pytest.mark.parametrize("curve", CURVES)
def test_more_drive_means_more_distortion_and_the_level_of_faint_signals_is_kept(curve):
    shares = []
    for drive_db in (-30.0, -12.0, 3.0):
        out = driven(tone(500), drive_db, curve)
        shares.append(sum(at_hz(out, 500 * k) for k in (2, 3, 5)) / at_hz(out, 500))
    assert shares == sorted(shares)
    assert shares[0] < 0.02 and shares[2] > 0.05
    assert at_hz(driven(tone(500), -30.0, curve), 500) == pytest.approx(0.1, rel=0.02)


@pytest.mark.parametrize(("curve", "drive_db"), [("soft", 0.0), ("hard", 0.0), ("sigmoid", -15.0)])
def test_asymmetry_adds_even_harmonics(curve, drive_db):
    straight, unlike = (driven(tone(500), drive_db, curve, asymmetry=value) for value in (0.0, 0.4))
    assert at_hz(unlike, 1000) > 2 * at_hz(straight, 1000)
    assert at_hz(unlike, 1000) > 0.02 * at_hz(unlike, 500)


def test_the_sigmoid_at_full_asymmetry_has_the_slopes_of_the_literature():
    faint = np.array([[-1e-3, 1e-3]], np.float32)
    below, above = Overdrive("sigmoid", 0.0, 1.0).curved(faint)[0]
    assert -above / below == pytest.approx(4 / 0.5, rel=0.01)


def test_excursion_is_a_memory_the_same_sample_comes_out_otherwise_after_a_loud_low_tone():
    """A high tone is quieter while a low one moves the cone, and a tone far above the resonance does not."""

    def high_beside(hz: float) -> float:
        audio = tone(2000, 0.01) + tone(hz, 0.2)
        out = Loudspeaker(200.0, 6000.0, 0.7, Overdrive("hard", -60.0, 0.0, 0.5)).driven(audio, 0.02, RATE_HZ)
        return at_hz(out, 2000)

    assert high_beside(100) < 0.9 * 0.01
    assert high_beside(3000) == pytest.approx(0.01, rel=0.02)


def test_the_same_signal_at_another_level_is_distorted_alike():
    audio = tone(300) + tone(700)
    for stroke in (0.0, 0.3):
        loud, soft = (driven(audio * np.float32(gain), -3.0, "soft", stroke=stroke) / gain for gain in (1.0, 0.125))
        assert np.allclose(loud, soft, atol=1e-6)


def test_the_band_of_a_small_box():
    impulse = np.zeros(4000, np.float32)
    impulse[0] = 1
    response = Loudspeaker(400.0, 4000.0, math.sqrt(0.5)).through(impulse, RATE_HZ)
    assert response.dtype == np.float32 and len(response) == 4000 + RATE_HZ // 50
    db = 20 * np.log10(np.abs(np.fft.rfft(response, RATE_HZ)) + 1e-9)
    assert db[400] == pytest.approx(-3, abs=0.1) and db[4000] == pytest.approx(-3, abs=0.1)
    assert abs(db[1200]) < 0.2
    assert db[50] - db[100] == pytest.approx(-12, abs=0.3)
    assert db[7000] < -15


def test_a_corner_above_the_band_is_no_filter():
    impulse = np.zeros(400, np.float32)
    impulse[0] = 1
    flat = Loudspeaker(100.0, 7900.0, 0.7).through(impulse, RATE_HZ)
    assert abs(20 * math.log10(abs(np.fft.rfft(flat, RATE_HZ)[7900]))) < 0.1


def test_draws_keep_to_their_ranges_and_a_share_is_linear():
    drawn = [LoudspeakerRange().draw(Rng(0, "t", index)) for index in range(300)]
    assert 35 < sum(speaker.overdrive is None for speaker in drawn) < 90
    over = [speaker.overdrive for speaker in drawn if speaker.overdrive]
    assert {each.curve for each in over} == set(CURVES)
    assert 0.35 < sum(each.stroke > 0 for each in over) / len(over) < 0.65
    assert all(-27 <= each.drive_db <= -3 and 0 <= each.asymmetry <= 0.4 and 0 <= each.stroke <= 0.4 for each in over)
    assert all(80 <= speaker.low_hz <= 400 and 4000 <= speaker.high_hz <= 16000 for speaker in drawn)


@pytest.mark.parametrize(
    "wrong",
    [{"curves": ()}, {"linear_probability": 1.2}, {"low_hz": (0.0, 100.0)}, {"q": (2.0, 1.0)}, {"asymmetry": (0.0, 2.0)}],
)
def test_ranges_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="loudspeaker: "):
        LoudspeakerRange(**wrong)
