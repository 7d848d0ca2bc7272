import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation.speech_editing.splicing import Fade, Piece, click_db, cut, gaps_between, join, step_db

RATE_HZ = 16000


def noise(seconds: float, level: float = 3000, seed: int = 0) -> np.ndarray:
    return (
        np.rint(np.random.default_rng(seed).normal(size=round(seconds * RATE_HZ)) * level).clip(-32000, 32000).astype(np.int16)
    )


def tone(seconds: float, pitch_hz: float, level: float = 10000) -> np.ndarray:
    return np.rint(level * np.sin(2 * np.pi * pitch_hz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)).astype(np.int16)


def ms(samples: int) -> float:
    return samples / RATE_HZ * 1000


def test_the_cut_is_in_the_dip_between_words_that_run_into_each_other():
    audio = noise(0.6)
    audio[4820:4980] //= 50
    at = cut(audio, (4700, 4700), (3000, 3000), RATE_HZ)
    assert 4820 <= at <= 4980


def test_the_cut_is_in_the_middle_of_a_pause():
    audio = noise(1.0)
    audio[4000:9000] = noise(1.0, 5, seed=1)[4000:9000]
    assert cut(audio, (4000, 9000), (3000, 3000), RATE_HZ) == pytest.approx(6500, abs=16)


def test_a_click_in_the_pause_is_not_where_the_cut_is():
    audio = noise(1.0, 5)
    audio[6450:6550] = 8000
    assert not 6420 <= cut(audio, (4000, 9000), (3000, 3000), RATE_HZ) <= 6580


@given(st.integers(0, 2**32), st.integers(2000, 6000), st.integers(0, 3000), st.integers(200, 3000))
def test_a_cut_is_never_further_than_30_ms_or_a_third_of_a_word_from_the_gap(seed, low, length, word):
    audio = noise(0.8, seed=seed)
    at = cut(audio, (low, low + length), (word, word), RATE_HZ)
    reach = min(480, word // 3)
    assert low - reach <= at <= low + length + reach


@pytest.mark.parametrize("gap", [(0, 0), (0, 30), (12800, 12800), (12700, 12800)])
def test_a_cut_at_the_ends_is_within_the_audio(gap):
    assert 0 <= cut(noise(0.8), gap, (0, 0), RATE_HZ) <= 12800


def test_pieces_that_were_one_are_one_again():
    audio = noise(1.0)
    joined = join([audio], [Piece(0, 0, 7000), Piece(0, 7000, 16000)], 160, RATE_HZ)
    assert np.array_equal(joined.audio, audio)


@settings(max_examples=40)
@given(st.lists(st.integers(1500, 14000), min_size=2, max_size=4, unique=True), st.integers(80, 240), st.booleans())
def test_copies_are_copies_and_with_the_fades_they_tile_the_signal(cuts, fade, reverse):
    sources = [noise(1.0, seed=1), noise(1.0, seed=2)]
    cuts = sorted(cuts)
    cuts = [cuts[0], *(b for a, b in itertools.pairwise(cuts) if b - a > 500)]
    pieces = [Piece(0, 0, cuts[0]), *(Piece(1, a, b) for a, b in itertools.pairwise(cuts)), Piece(0, cuts[-1], 16000)]
    pieces = pieces[::-1] if reverse else pieces
    joined = join(sources, pieces, fade, RATE_HZ)
    assert joined.audio.dtype == np.int16
    spans = [(fade.start, fade.end) for fade in joined.fades]
    for copy in joined.copies:
        original = sources[copy.source][copy.source_start : copy.source_start + copy.length]
        assert np.array_equal(joined.audio[copy.start : copy.start + copy.length], original)
        spans.append((copy.start, copy.start + copy.length))
    assert gaps_between(spans, len(joined.audio)) == []
    assert sum(end - start for start, end in spans) == len(joined.audio)
    wanted = sum(piece.end - piece.start for piece in pieces)
    assert abs(len(joined.audio) - wanted) <= 64 * len(pieces) + 2 * fade  # shifts of up to 4 ms, room for the fades


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_no_sample_is_larger_than_what_was_joined(one, other):
    sources = [noise(0.5, 15000, one), noise(0.5, 15000, other)]
    joined = join(sources, [Piece(0, 0, 3000), Piece(1, 4000, 8000)], 160, RATE_HZ)
    assert np.abs(joined.audio.astype(int)).max() <= max(np.abs(source.astype(int)).max() for source in sources)


def test_what_begins_or_ends_within_its_source_is_faded():
    joined = join([np.full(8000, 10000, np.int16)], [Piece(0, 2000, 6000)], 160, RATE_HZ)
    assert abs(int(joined.audio[0])) < 10 and abs(int(joined.audio[-1])) < 10
    assert (np.diff(joined.audio.astype(int)[:160]) >= 0).all()
    assert len(joined.fades) == 2
    whole = join([np.full(8000, 10000, np.int16)], [Piece(0, 0, 8000)], 160, RATE_HZ)
    assert (whole.audio == 10000).all() and whole.fades == []


@pytest.mark.parametrize("fade", [80, 160, 240])
def test_a_fade_takes_its_whole_length(fade):
    sources = [np.full(8000, 10000, np.int16), np.full(8000, -10000, np.int16)]
    joined = join(sources, [Piece(0, 0, 4000), Piece(1, 4000, 8000)], fade, RATE_HZ)
    steps = np.abs(np.diff(joined.audio.astype(int)))
    assert steps.max() <= 1.6 * 20000 / fade
    assert (steps > 0).sum() >= fade - 4


def test_a_tone_goes_on_through_a_join_as_if_it_had_not_been_cut():
    audio = tone(1.0, 220)
    joined = join([audio], [Piece(0, 0, 5000), Piece(0, 9013, 16000)], 160, RATE_HZ)  # 9013: another phase
    fade = joined.fades[0]
    around = joined.audio[fade.start - 400 : fade.end + 400].astype(float)
    assert np.abs(around).reshape(-1, 40).max(axis=1).min() > 5500  # no dip
    assert click_db(joined.audio, joined.fades, RATE_HZ) < 1


def test_a_hard_cut_is_a_click_and_a_fade_is_none():
    audio = tone(0.5, 200)
    hard = np.concatenate([audio[:4020], audio[4060:]])  # from crest to trough
    assert click_db(hard, [Fade(4000, 4040, 800)], RATE_HZ) > 20
    joined = join([audio], [Piece(0, 0, 4020), Piece(0, 4060, len(audio))], 80, RATE_HZ)
    assert click_db(joined.audio, joined.fades, RATE_HZ) < 1


def test_a_step_in_level_is_measured_in_db():
    audio = noise(1.0)
    audio[8000:] = np.rint(audio[8000:] / 10)
    assert step_db(audio, [Fade(7920, 8080, 1)], RATE_HZ) == pytest.approx(20, abs=1.5)
    assert step_db(audio, [Fade(3920, 4080, 1)], RATE_HZ) < 2


def test_gaps_are_what_spans_leave():
    assert gaps_between([(2, 4), (6, 8)], 10) == [(0, 2), (4, 6), (8, 10)]
    assert gaps_between([(6, 8), (0, 6)], 8) == []
    assert gaps_between([], 3) == [(0, 3)]
