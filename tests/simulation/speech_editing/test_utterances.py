import itertools
import json

import numpy as np
import pytest

from simulation.speech_editing.utterances import around, candidates, companions, session, times, utterance
from tests.simulation import espeak_corpus
from tests.simulation.espeak_corpus import SENTENCES, VOICES, changed


def rng(seed=0):
    return np.random.default_rng(seed)


def with_words(corpus, cells: dict[int, object]):
    root, table = corpus
    words = table["words"].to_pylist()
    for row, cell in cells.items():
        words[row] = cell if isinstance(cell, str) else json.dumps(cell)
    return espeak_corpus.opened(root, changed(table, "words", words))[0]


def test_a_short_recording_is_taken_whole_with_its_words(bank):
    spoken = utterance(bank, rng(), 1, (4, 10.0), "en")
    assert spoken.transcript[:3] == ("seven", "small", "boats")
    assert (spoken.clip.start_frame, spoken.clip.num_frames) == (0, bank.value(1, "num_frames"))
    assert spoken.clip.text == SENTENCES[1]
    assert [(a, b) for _, a, b in spoken.words] == [(a, b) for _, a, b in times(bank, 1)]


def test_too_few_words_are_no_utterance(bank):
    assert utterance(bank, rng(), 1, (40, 10.0), "en") is None


def test_a_long_recording_is_cut_at_pauses_and_its_times_are_those_of_the_cut(corpus):
    words, at = [], 0.2
    for number in range(30):  # a pause of 0.3 s after each third word
        words.append([f"w{number}", round(at, 3), round(at + 0.1, 3)])
        at += 0.4 if number % 3 == 2 else 0.1
    bank = with_words(corpus, {1: words})
    seconds = bank.value(1, "num_frames") / bank.value(1, "sample_rate_hz")
    words = [word for word in words if word[2] < seconds]
    bank = with_words(corpus, {1: words})
    seen = set()
    for seed in range(40):
        spoken = utterance(bank, rng(seed), 1, (4, 1.6), "en")
        first, past = int(spoken.transcript[0][1:]), int(spoken.transcript[-1][1:]) + 1
        seen.add(first)
        assert first % 3 == 0 and (past % 3 == 0 or past == len(words))
        length_s = spoken.clip.num_frames / spoken.clip.sample_rate_hz
        assert length_s <= 1.6 + 1e-3
        assert spoken.clip.text == ""
        for (_, a, b), (_, a_file, b_file) in zip(spoken.words, words[first:past]):
            start_s = spoken.clip.start_frame / spoken.clip.sample_rate_hz
            assert (a + start_s, b + start_s) == pytest.approx((a_file, b_file), abs=1e-4)
            assert 0 <= a < b <= length_s + 1e-6
        assert spoken.words[0][1] >= 0.1  # of the pause before it
        assert past == len(words) or length_s - spoken.words[-1][2] >= 0.1
    assert len(seen) > 1


def test_a_long_recording_without_pauses_has_no_stretch(corpus):
    bank = with_words(corpus, {1: [[f"w{number}", number / 10, (number + 1) / 10] for number in range(30)]})
    assert utterance(bank, rng(), 1, (4, 1.0), "en") is None


@pytest.mark.parametrize(
    "cell",
    [
        "[1, 2]",
        '[["a", 0.5, 0.2]]',
        '[["a", 0.1, 99.0]]',
        '[["b", 0.5, 0.9], ["a", 0.1, 0.4]]',
        '[["", 0.1, 0.2]]',
        "{",
        '[["a", "x", 1]]',
    ],
)
def test_word_times_that_are_not_sound_name_their_row_and_the_remedy(corpus, cell):
    bank = with_words(corpus, {2: cell})
    with pytest.raises(ValueError, match=rf"words of '{VOICES[0].name}-2' are not .*make align"):
        times(bank, 2)


def test_words_around_a_phrase_are_a_smaller_clip_with_the_same_times(bank):
    spoken = utterance(bank, rng(), 2, (4, 10.0), "en")
    part, (first, past) = around(spoken, (5, 7), 2)
    assert part.transcript == spoken.transcript[3:9]
    assert part.transcript[first:past] == spoken.transcript[5:7]
    rate = spoken.clip.sample_rate_hz
    for (_, a, b), (_, a_file, b_file) in zip(part.words, spoken.words[3:9]):
        assert (a + part.clip.start_frame / rate, b + part.clip.start_frame / rate) == pytest.approx((a_file, b_file), abs=1e-4)
    assert part.clip.num_frames < spoken.clip.num_frames / 2


def test_a_gap_lies_between_the_words_and_a_pause_is_one_that_can_be_heard(bank):
    spoken = utterance(bank, rng(), 0, (4, 10.0), "en")
    assert spoken.gap(0, 99999, 16000) == (0, round(spoken.words[0][1] * 16000))
    assert spoken.gap(len(spoken.words), 99999, 16000)[1] == 99999
    assert spoken.pauses(0) and spoken.pauses(len(spoken.words))
    for number in range(1, len(spoken.words)):
        low, high = spoken.gap(number, 99999, 16000)
        assert spoken.pauses(number) == (spoken.words[number][1] - spoken.words[number - 1][2] >= 0.03)
        assert low <= high


def test_companions_are_other_files_of_the_speaker_and_session(bank):
    found = list(companions(bank, rng(), 1))
    assert sorted(found) == [0, 2, 3, 4]
    assert len({session(bank, row) for row in [1, *found]}) == 1


def test_a_session_label_tells_files_of_one_folder_apart(corpus):
    root, table = corpus
    labels = [json.dumps({"session": number % 2}) for number in range(table.num_rows)]
    bank = espeak_corpus.opened(root, changed(table, "labels", labels))[0]
    assert sorted(companions(bank, rng(), 1)) == [3]


def test_without_a_speaker_there_are_no_companions(corpus):
    root, table = corpus
    bank = espeak_corpus.opened(root, changed(table, "speaker", [""] * table.num_rows))[0]
    assert list(companions(bank, rng(), 1)) == []


def test_the_few_files_with_word_times_are_found_among_many(corpus):
    bank = with_words(corpus, dict.fromkeys(range(9), ""))
    found = list(candidates(bank, rng()))
    assert found[-1] == 9 and len(found) == 65


def test_without_word_times_the_error_names_the_column_and_the_remedy(corpus, tiny_bank):
    bare = with_words(corpus, dict.fromkeys(range(10), ""))
    for bank in (bare, tiny_bank[0]):
        with pytest.raises(ValueError, match=r"column `words`.*make align.*pipelines\.align"):
            list(itertools.islice(candidates(bank, rng()), 100))
