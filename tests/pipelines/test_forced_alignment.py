"""Alignment against eSpeak's own word times, and the law of speech editing: the edited audio says the edited text."""

import json

import numpy as np
import pytest
import soxr

from pipelines.forced_alignment import Aligner, Limits
from pipelines.word_times import Refused
from simulation.seeds import Rng
from simulation.starter.texts import PARALLEL
from simulation.starter.voices import SAMPLE_RATE_HZ, SPEAKERS, say
from simulation.tasks.speech_edit import Config, draw, render
from tests.simulation import espeak_corpus

LOOSE = Limits(min_score=-6.0, min_word_score=-20.0, quiet_db=-60.0, max_unspoken_s=9.0)  # eSpeak is not of the model's voices


@pytest.fixture(scope="module")
def aligner():
    return Aligner(LOOSE)


@pytest.fixture(scope="module")
def said():
    return [say(voice, text) for voice in SPEAKERS["train"][:2] for text in PARALLEL[:4]]


def test_word_times_are_those_of_the_synthesiser_within_20_ms_on_average(aligner, said):
    errors = []
    for one in said:
        found = aligner.align(one.audio[0], SAMPLE_RATE_HZ, one.text).words
        assert [word for word, _, _ in found] == [word for word, _, _ in one.words]
        errors += [abs(a - b) for here, there in zip(found, one.words) for a, b in zip(here[1:], there[1:])]
    assert np.mean(errors) < 0.02
    assert np.quantile(errors, 0.95) < 0.08


def test_times_depend_on_the_file_alone(said):
    one, other = said[0], said[5]
    first = Aligner(LOOSE).align(one.audio[0], SAMPLE_RATE_HZ, one.text)
    used = Aligner(LOOSE)
    used.align(other.audio[0], SAMPLE_RATE_HZ, other.text)
    assert used.align(one.audio[0], SAMPLE_RATE_HZ, one.text) == first
    assert used.align(one.audio[0] * 0.1, SAMPLE_RATE_HZ, one.text).words == first.words


def test_another_text_is_refused(said):
    strict = Aligner()
    for number, one in enumerate(said):
        with pytest.raises(Refused):
            strict.align(one.audio[0], SAMPLE_RATE_HZ, said[(number + 1) % 4].text)


def test_a_word_that_is_not_said_scores_worst(aligner, said):
    for one in said:
        words = one.text.split()
        spoiled = " ".join([*words[:4], "xylophone", *words[4:]])
        right = aligner.align(one.audio[0], SAMPLE_RATE_HZ, one.text)
        try:
            wrong = aligner.align(one.audio[0], SAMPLE_RATE_HZ, spoiled)
        except Refused as refused:
            assert refused.reason == "not_aligned"
            continue
        assert wrong.scores.index(wrong.worst) in (3, 4, 5)
        assert wrong.worst < right.worst and wrong.likelihood < right.likelihood


def test_a_word_in_silence_and_speech_without_a_word_are_refused(aligner, said):
    one = said[0]
    pause = np.zeros(SAMPLE_RATE_HZ, np.float32) + 1e-5 * np.random.default_rng(0).normal(size=SAMPLE_RATE_HZ).astype(
        np.float32
    )
    checks = Limits(min_score=-99, min_word_score=-99, s_per_phone=99, quiet_db=-25, max_unspoken_s=9.0)
    with pytest.raises(Refused, match=r"quiet_word|not_aligned"):
        Aligner(checks).align(np.concatenate([one.audio[0], pause, pause]), SAMPLE_RATE_HZ, f"{one.text} hello hello hello")
    checks = Limits(min_score=-99, min_word_score=-99, s_per_phone=99, quiet_db=-99, max_unspoken_s=0.3)
    with pytest.raises(Refused, match="unspoken_for"):
        Aligner(checks).align(np.concatenate([one.audio[0], pause, one.audio[0]]), SAMPLE_RATE_HZ, one.text)


@pytest.mark.parametrize(
    ("seconds", "text", "reason"),
    [
        (1.0, " ... ", "no_words"),
        (61.0, "hello", "too_long"),
        (1.0, "你好", "no_pronunciation"),
        (1.0, "hello there", "not_aligned"),
    ],
)
def test_what_cannot_be_aligned_says_why(aligner, seconds, text, reason):
    with pytest.raises(Refused) as caught:
        aligner.align(np.zeros(round(16000 * seconds), np.float32), 16000, text)
    assert caught.value.reason == reason


def test_words_outside_the_dictionary_and_parts_between_hyphens_are_aligned(aligner):
    one = say(SPEAKERS["train"][0], "The well-known woodcutters chase twenty-two kine.")
    found = aligner.align(one.audio[0], SAMPLE_RATE_HZ, one.text).words
    assert [word for word, _, _ in found] == ["The", "well-known", "woodcutters", "chase", "twenty-two", "kine"]
    for (_, *here), (_, *there) in zip(found, one.words):
        assert here == pytest.approx(there, abs=0.12)


def test_edited_audio_says_the_edited_text_where_the_edit_map_says_and_the_other_text_fits_it_worse(tmp_path, aligner):
    bank, load = espeak_corpus.opened(tmp_path, espeak_corpus.write(tmp_path))
    better, offsets = [], []
    for index in range(14):
        scene = draw(Config(), bank, Rng(3, "speech_edit", index))
        example = render(scene, load)
        for role, other in (("input", "target"), ("target", "input")):
            audio = example.signals[role][0].astype(np.float32) / 32768
            own = aligner.align(audio, 16000, example.texts[f"{role}_transcript"])
            assert " ".join(word for word, _, _ in own.words) == example.texts[f"{role}_transcript"]
            try:
                better.append(own.likelihood > aligner.align(audio, 16000, example.texts[f"{other}_transcript"]).likelihood)
            except Refused:
                better.append(True)
            if role != scene.natural:
                offsets += _offsets(scene, json.loads(example.texts["edit_map"]), own.words)
    assert np.mean(better) > 0.85
    assert np.mean(offsets) < 0.04 and np.quantile(offsets, 0.9) < 0.1


def _offsets(scene, rows, found) -> list[float]:
    """How far the words of the spliced side, found by alignment, are from where the edit map takes the natural side's, in s."""
    natural, spliced = (1, 3) if scene.natural == "input" else (3, 1)
    number, offsets = 0, []
    for part in scene.spliced:
        for place in range(part.first, part.past):
            start = round(scene.utterance.words[place][1] * scene.sample_rate_hz) if part.source == "utterance" else -1
            row = next((row for row in rows if row[0] in ("equal", "move") and row[natural] <= start < row[natural + 1]), None)
            if row:
                offsets.append(abs((start - row[natural] + row[spliced]) / scene.sample_rate_hz - found[number][1]))
            number += 1
    return offsets


def test_rates_other_than_16_khz_are_resampled(aligner, said):
    one = said[1]
    wide = soxr.resample(one.audio[0], SAMPLE_RATE_HZ, 48000)
    for (_, *here), (_, *there) in zip(
        aligner.align(wide, 48000, one.text).words, aligner.align(one.audio[0], SAMPLE_RATE_HZ, one.text).words
    ):
        assert here == pytest.approx(there, abs=0.03)
