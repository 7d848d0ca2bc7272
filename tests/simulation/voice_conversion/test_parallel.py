import numpy as np
import pyarrow as pa
import pytest

from simulation.bank import Bank
from simulation.voice_conversion.disguise import Unvoiced
from simulation.voice_conversion.parallel import in_time, parallel_texts
from simulation.voice_conversion.pitch import track
from simulation.voice_conversion.timbre import formants, timbre
from simulation.voice_conversion.time_warp import timing
from tests.simulation.made_speech import said

RATE_HZ = 16000


def bank_of(*rows: tuple[str, str, float]) -> Bank:
    """Speech by (speaker, text, seconds)."""
    names = ("id", "path", "role", "speaker", "group", "label", "text", "sample_rate_hz", "num_frames")
    table = [
        (str(n), f"{n}.flac", "speech", speaker, "", "", text, RATE_HZ, round(seconds * RATE_HZ))
        for n, (speaker, text, seconds) in enumerate(rows)
    ]
    return Bank(pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in table]), RATE_HZ)


def test_a_text_counts_where_two_speakers_say_it_case_and_punctuation_aside():
    bank = bank_of(
        ("a", "Please call Stella.", 2), ("b", "please call STELLA", 2), ("b", "Another one.", 2), ("c", "Alone!", 2)
    )
    texts = parallel_texts(bank)
    assert texts.rows.tolist() == [0, 1] and texts.starts.tolist() == [0, 2]
    assert texts.targets.tolist() == [1]  # a has no other file to be known by


def test_the_same_speaker_twice_nobody_nothing_and_long_readings_do_not_count():
    bank = bank_of(("a", "Hello", 2), ("a", "hello", 2), ("", "hello", 2), ("b", "...", 2), ("c", "?!", 2), ("d", "hello", 21))
    assert not len(parallel_texts(bank).rows)
    assert not len(parallel_texts(bank_of(("a", "", 1))).targets)


def test_a_corpus_without_speech_has_none():
    bank = bank_of(("a", "x", 1))
    assert not len(parallel_texts(Bank(bank.table.slice(0, 0), RATE_HZ)).targets)


def test_pairs_are_of_two_speakers_with_one_text_and_all_of_them_come():
    speakers, texts = "abcde", ("one two", "three four", "five six", "seven")
    bank = bank_of(*((speaker, text, 2) for speaker in speakers for text in texts))
    found = parallel_texts(bank)
    seen = set()
    for seed in range(1000):
        row, group, other = found.pair(np.random.default_rng(seed))
        assert bank.members["speech"].names[group] == bank.value(row, "speaker") != bank.value(other, "speaker")
        assert bank.value(row, "text") == bank.value(other, "text")
        seen.add((row, other))
    assert len(seen) == 5 * 4 * 4


def test_the_index_is_made_once_for_a_table_and_anew_for_another():
    bank, other = bank_of(("a", "hi", 1), ("b", "hi", 1)), bank_of(("a", "hi", 1), ("b", "ho", 1))
    first = parallel_texts(bank)
    assert parallel_texts(bank) is first
    assert len(parallel_texts(other).rows) == 0 and len(parallel_texts(bank).rows) == 2


@pytest.mark.parametrize("stretch", [0.75, 1.3])
def test_a_reading_takes_the_leaders_time_and_keeps_its_voice(stretch):
    leader = said(pitch_hz=200, ratio=1.15)
    reading = said(pitch_hz=120, stretch=stretch, swing_semitones=0.5)
    made = in_time(reading, leader, RATE_HZ)
    assert made.shape == leader.shape
    assert timing(timbre(made, RATE_HZ), timbre(leader, RATE_HZ)).error_ms < 12
    assert track(made, RATE_HZ).median_hz() == pytest.approx(120, rel=0.04)
    assert formants(timbre(leader, RATE_HZ), timbre(made, RATE_HZ), RATE_HZ).ratio == pytest.approx(1.15, rel=0.06)


def test_a_part_of_the_text_is_found_in_the_whole_reading():
    whole = said(pitch_hz=200, ratio=1.15)
    leader = whole[:, 16000:32000]
    made = in_time(said(pitch_hz=120, stretch=1.2), leader, RATE_HZ)
    assert made.shape == leader.shape
    assert timing(timbre(made, RATE_HZ), timbre(leader, RATE_HZ)).error_ms < 15


def test_a_reading_without_voice_is_refused():
    with pytest.raises(Unvoiced, match=r"0\.3 s are needed"):
        in_time(np.zeros((1, 16000), np.float32), said(), RATE_HZ)


def test_real_readings_of_one_text_come_into_time(real_bank):
    bank, load = real_bank
    texts = parallel_texts(bank)
    assert len(texts.starts) > 8
    for seed in range(5):
        rng = np.random.default_rng(seed)
        row, _, other = texts.pair(rng)
        leader, reading = load(bank.clip(rng, row, 5.0)), load(bank.clip(rng, other, 20.0))
        late = timing(timbre(in_time(reading, leader, RATE_HZ), RATE_HZ), timbre(leader, RATE_HZ))
        assert late.error_ms < 30 and abs(late.lag_ms) < 10
