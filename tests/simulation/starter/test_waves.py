"""Oscillators, filters and envelopes do what their names say."""

import math

import numpy as np
import pytest

from simulation.seeds import Rng
from simulation.starter import waves as w
from tests.simulation.starter.measures import peak_hz, spectrum

RATE_HZ = w.SAMPLE_RATE_HZ


def draw(*purpose):
    return Rng(0, "starter", 0)(*purpose)


def level_db(signal, hz):
    found, power = spectrum(signal, RATE_HZ)
    near = (found > hz / 2**0.25) & (found < hz * 2**0.25)
    return 10 * math.log10(power[near].mean())


def test_the_sine_is_that_of_mathematics_to_86_db():
    turns = np.linspace(-3, 5, 1001)
    assert np.abs(w.sine(turns) - np.sin(2 * np.pi * turns)).max() < 5e-5


@pytest.mark.parametrize("hz", [100.0, 997.0, 12_000.0])
def test_a_phase_of_constant_frequency_makes_a_tone_of_it(hz):
    assert peak_hz(w.sine(w.phase(hz, RATE_HZ)), RATE_HZ) == pytest.approx(hz, abs=1.0)
    assert peak_hz(w.sine(w.phase(np.full(RATE_HZ, hz))), RATE_HZ) == pytest.approx(hz, abs=1.0)


@pytest.mark.parametrize(("make", "db_an_octave"), [(w.white, 0.0), (w.pink, -3.01), (w.brown, -6.02)])
def test_noise_falls_as_its_colour_says(make, db_an_octave):
    signal = make(draw("noise"), 10 * RATE_HZ)
    assert (level_db(signal, 4000) - level_db(signal, 250)) / 4 == pytest.approx(db_an_octave, abs=0.25)


def test_white_noise_has_unit_variance_and_is_another_for_each_purpose():
    first, second = w.white(draw("a"), RATE_HZ), w.white(draw("b"), RATE_HZ)
    assert first.std() == pytest.approx(1, abs=0.02)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.02
    assert np.array_equal(first, w.white(draw("a"), RATE_HZ))


def test_a_decay_falls_by_60_db_in_its_time():
    assert 20 * math.log10(w.decay(RATE_HZ, 0.5)[RATE_HZ // 2]) == pytest.approx(-60, abs=0.1)
    impulse = np.zeros(RATE_HZ)
    impulse[0] = 1
    assert 20 * math.log10(w.trailing(impulse, 0.5)[RATE_HZ // 2]) == pytest.approx(-60, abs=0.1)


def test_an_impulse_makes_a_mode_ring_at_its_pitch_with_its_gain_and_decay():
    impulse = np.zeros(RATE_HZ)
    impulse[0] = 1
    sound = w.ringing(impulse, [(440.0, 0.6, 0.5)])
    assert peak_hz(sound, RATE_HZ) == pytest.approx(440, abs=2)
    assert np.abs(sound[:300]).max() == pytest.approx(0.5, abs=0.01)
    later = np.abs(sound[round(0.3 * RATE_HZ) :][:300]).max()
    assert 20 * math.log10(later / 0.5) == pytest.approx(-30, abs=0.5)


def test_modes_above_the_band_are_left_out():
    assert not w.ringing(np.ones(64), [(23_000.0, 0.1, 1.0)]).any()


@pytest.mark.parametrize(("make", "kept_hz", "stopped_hz"), [(w.lowpass, 200, 8000), (w.highpass, 8000, 200)])
def test_filters_keep_one_side_of_their_frequency(make, kept_hz, stopped_hz):
    noise = w.white(draw("noise"), 4 * RATE_HZ)
    out = make(noise, 1200)
    assert level_db(out, kept_hz) - level_db(noise, kept_hz) == pytest.approx(0, abs=0.3)
    assert level_db(out, stopped_hz) - level_db(noise, stopped_hz) < -25


def test_a_bandpass_keeps_its_centre_only():
    noise = w.white(draw("noise"), 4 * RATE_HZ)
    out = w.bandpass(noise, 1000, 4)
    assert level_db(out, 1000) - level_db(noise, 1000) > -2
    assert level_db(out, 4000) - level_db(noise, 4000) < -20
    assert level_db(out, 250) - level_db(noise, 250) < -20


def test_a_shelf_raises_the_treble_by_its_gain():
    noise = w.white(draw("noise"), 4 * RATE_HZ)
    out = w.shelf(noise, 2000, 6.0)
    assert level_db(out, 12_000) - level_db(noise, 12_000) == pytest.approx(6, abs=0.3)
    assert level_db(out, 200) - level_db(noise, 200) == pytest.approx(0, abs=0.3)


def test_harmonics_are_loudest_at_the_formant():
    voice = w.harmonics(np.full(RATE_HZ, 200.0), [(1000.0, 150.0, 1.0)], 20)
    assert peak_hz(voice, RATE_HZ) == pytest.approx(1000, abs=2)


def test_a_wander_stays_within_its_depth_and_moves():
    line = w.wander(draw("line"), RATE_HZ, 10, 0.2)
    assert 0.8 <= line.min() < 0.95 < 1.05 < line.max() <= 1.2


def test_scattered_impulses_come_at_their_rate_and_thin_out_with_the_envelope():
    many = w.scattered(draw("dense"), 4 * RATE_HZ, 500)
    assert np.count_nonzero(many) == pytest.approx(2000, rel=0.05)
    half = w.curve(4 * RATE_HZ, (0, 1), (4, 0))
    thinned = w.scattered(draw("dense"), 4 * RATE_HZ, 500, half)
    assert np.count_nonzero(thinned[: 2 * RATE_HZ]) > 2 * np.count_nonzero(thinned[2 * RATE_HZ :])


def test_what_is_added_past_the_end_is_left_out():
    out = np.zeros(samples := w.samples(0.1))
    w.add(out, np.ones(samples), 0.05)
    w.add(out, np.ones(samples), 5.0)
    assert out.sum() == samples // 2


def test_fades_begin_and_end_at_silence():
    faded = w.faded(np.ones(RATE_HZ), 0.1, 0.2)
    assert faded[0] == 0 and faded[RATE_HZ // 2] == 1 and faded[-1] < 1e-3


def test_saturation_stays_below_one_and_keeps_the_sign():
    driven = w.squashed(np.array([-100.0, -0.1, 0.0, 0.1, 100.0]), 3.0)
    assert np.abs(driven).max() < 1 and np.all(np.diff(driven) > 0)


def test_onsets_keep_their_gaps():
    gaps = np.diff(w.times(draw("times"), 20, (0.2, 0.3), start_s=1.0))
    assert gaps.min() >= 0.2 and gaps.max() <= 0.3
