"""The music of the starter corpus: in key, in time, and as its caption says."""

import itertools

import numpy as np
import pytest

from simulation.seeds import Rng
from simulation.starter import music
from simulation.starter.waves import SAMPLE_RATE_HZ
from tests.simulation.starter.measures import peak_hz

RNG = Rng(0, "starter", 0)


@pytest.mark.parametrize("number", range(5))
def test_a_piece_lasts_8_to_10_s_unclipped_and_is_the_same_again(number):
    work = music.piece(RNG, number)
    audio = music.perform(work, RNG, number, 0)
    assert audio.dtype == np.float32 and audio.shape[0] == 1
    assert 8 <= audio.shape[1] / SAMPLE_RATE_HZ <= 10
    assert 0.35 < np.abs(audio).max() < 0.9
    assert np.array_equal(audio, music.perform(music.piece(Rng(0, "starter", 0), number), RNG, number, 0))


def test_takes_of_a_piece_have_other_melodies():
    work = music.piece(RNG, 3)
    first, second = (music.perform(work, RNG, 3, take) for take in range(2))
    assert first.shape == second.shape and not np.allclose(first, second, atol=1e-2)


def test_degrees_climb_the_scale_and_seven_make_an_octave():
    work = music.piece(RNG, 0)
    pitches = [work.hz(degree) for degree in range(-7, 15)]
    assert all(low < high for low, high in itertools.pairwise(pitches))
    assert work.hz(7) == pytest.approx(2 * work.hz(0)) == pytest.approx(work.hz(0, octave=1))
    third = work.hz(2) / work.hz(0)
    assert third == pytest.approx(2 ** ((4 if work.mode == "major" else 3) / 12), rel=1e-4)


@pytest.mark.parametrize("instrument", music.INSTRUMENTS)
def test_every_instrument_sounds_the_pitch_that_is_asked_for(instrument):
    note = music.MAKERS[instrument](330.0, 1.0)
    partials = peak_hz(note, SAMPLE_RATE_HZ) / 330.0
    assert partials == pytest.approx(max(1, round(partials)), abs=0.01)


def test_instruments_have_different_spectra():
    def partials_db(instrument):
        note = music.MAKERS[instrument](330.0, 1.0)
        power = np.abs(np.fft.rfft(note)) ** 2
        hz = np.fft.rfftfreq(len(note), 1 / SAMPLE_RATE_HZ)
        return np.array([10 * np.log10(power[np.abs(hz - 330 * k) < 8].sum() / power.sum() + 1e-9) for k in range(1, 8)])

    spectra = [partials_db(instrument) for instrument in music.INSTRUMENTS]
    for i, first in enumerate(spectra):
        for second in spectra[:i]:
            assert np.abs(first - second).max() > 6


def test_captions_name_instrument_tempo_and_drums():
    for number in range(10):
        work = music.piece(RNG, number)
        for caption in work.captions():
            assert work.instrument in caption and work.tempo in caption
            assert ("drums" in caption) == work.drums


def test_drums_are_heard_where_there_are_drums():
    work = next(work for work in (music.piece(RNG, number) for number in range(20)) if work.drums)
    audio = music.perform(work, RNG, 0, 0)[0]
    power = np.abs(np.fft.rfft(audio)) ** 2
    hz = np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE_HZ)
    assert power[hz > 12_000].sum() > 1e-5 * power.sum()
