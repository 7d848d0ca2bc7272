import numpy as np
import pytest
import scipy.signal

from simulation.voice_conversion.timbre import centres_hz, distance_db, formants, timbre
from tests.simulation.made_speech import said


@pytest.mark.parametrize("sample_rate_hz", [16000, 48000])
@pytest.mark.parametrize("ratio", [0.82, 0.9, 1.0, 1.12, 1.25])
def test_the_shift_of_formants_is_found(ratio, sample_rate_hz):
    voices = [timbre(said(pitch_hz=105, ratio=by, sample_rate_hz=sample_rate_hz), sample_rate_hz) for by in (1, ratio)]
    assert formants(voices[1], voices[0], sample_rate_hz).ratio == pytest.approx(ratio, rel=0.06)


def test_pitch_and_an_equaliser_have_no_say_in_formants():
    plain = timbre(said(pitch_hz=105), 16000)
    other_pitch = timbre(said(pitch_hz=140), 16000)
    coloured = timbre(scipy.signal.lfilter([1, -0.9], [1, -0.3], said(pitch_hz=105)).astype(np.float32), 16000)
    assert formants(other_pitch, plain, 16000).ratio == pytest.approx(1, abs=0.05)
    assert formants(coloured, plain, 16000).ratio == pytest.approx(1, abs=0.01)


def test_other_words_are_less_alike_than_another_voice():
    voices = ((105, 1, 0), (150, 1.1, 0), (105, 1, 3))  # pitch, ratio and words
    plain, same, other = (timbre(said(pitch_hz=hz, ratio=by, seed=seed), 16000) for hz, by, seed in voices)
    assert formants(same, plain, 16000).likeness > formants(other, plain, 16000).likeness + 0.1


def test_the_distance_is_zero_to_itself_and_blind_to_level():
    audio = said(pitch_hz=120)
    one, louder = timbre(audio, 16000), timbre(audio * np.float32(0.1), 16000)
    assert distance_db(one, one) == 0
    assert distance_db(one, louder) == pytest.approx(0, abs=0.05)


def test_speakers_lie_further_apart_than_utterances_of_one(real_bank):
    bank, load = real_bank
    rng, within, between = np.random.default_rng(0), [], []
    before = None
    for _ in range(20):
        group = bank.group(rng, "speech", min_clips=2)
        first = bank.row(rng, "speech", group)
        rows = (first, bank.row(rng, "speech", group, exclude={first}))
        one, other = (timbre(load(bank.clip(rng, row, 4.0)), 16000) for row in rows)
        within.append(distance_db(one, other))
        between += [distance_db(one, before)] if before else []
        before = one
    assert np.median(between) > 1.4 * np.median(within)


def test_silence_and_the_shortest_signals_have_a_timbre():
    for audio in (np.zeros((1, 8000), np.float32), np.full((1, 3), 0.1, np.float32)):
        found = timbre(audio, 16000)
        assert np.isfinite(found.levels_db).all() and np.isfinite(distance_db(found, found))
        assert formants(found, found, 16000).ratio == 1.0


def test_a_low_rate_has_fewer_bands():
    assert centres_hz(8000)[-1] < 4000 < centres_hz(16000)[-1] < 8000
    assert timbre(said(sample_rate_hz=8000), 8000).levels_db.shape[1] == len(centres_hz(8000))
