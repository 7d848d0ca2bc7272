"""Voices of the starter corpus: the same each time, different from each other, with word times that are right."""

import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simulation.starter import texts, voices
from simulation.starter.voices import SAMPLE_RATE_HZ, Speaker, say
from tests.simulation.starter.measures import centroid_hz, pitch_hz

ALL = [speaker for group in voices.SPEAKERS.values() for speaker in group]
LISA, HENRY = voices.SPEAKERS["train"][0], voices.SPEAKERS["train"][3]
PAUSED = "Is the green door at the end of the hall open, or did Maria close it?"
MERGED = "Some of the boats in the harbor had been out of the water, since at least nine o'clock on Monday."


def power(audio, start_s, end_s):
    part = audio[0, round(start_s * SAMPLE_RATE_HZ) : round(end_s * SAMPLE_RATE_HZ)]
    return float(np.square(part).mean())


def in_another_process(code, before="pass"):
    code = f"{before}; from simulation.starter.voices import *; {code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[3])


@pytest.mark.parametrize("speaker", [*ALL, *voices.BACKGROUND], ids=lambda speaker: speaker.name)
def test_every_written_word_has_its_time_in_order_inside_the_audio(speaker):
    said = say(speaker, MERGED)
    assert said.audio.dtype == np.float32 and said.audio.shape[0] == 1
    assert [word for word, _, _ in said.words] == [token.strip(",.?") for token in MERGED.split()]
    times = [time for _, start, end in said.words for time in (start, end)]
    assert times[0] >= 0 and times[-1] <= said.audio.shape[1] / SAMPLE_RATE_HZ
    assert all(early <= late for early, late in itertools.pairwise(times))
    assert min(end - start for _, start, end in said.words) > 0.03


@pytest.mark.parametrize("speaker", ALL, ids=lambda speaker: speaker.name)
def test_words_hold_energy_and_the_pause_between_clauses_does_not(speaker):
    said = say(speaker, PAUSED)
    middle = next(i for i, (word, _, _) in enumerate(said.words) if word == "open")
    pause = power(said.audio, said.words[middle][2] + 0.04, said.words[middle + 1][1] - 0.01)
    weakest = min(power(said.audio, start, end) for _, start, end in said.words)
    assert weakest > 20 * pause


@pytest.mark.parametrize("speaker", ALL[:6], ids=lambda speaker: speaker.name)
def test_a_hissed_consonant_lies_at_the_start_of_its_word(speaker):
    """An independent clock: the s of "seven" is the only sound above 5 kHz in this sentence."""
    said = say(speaker, "Malala will mail ninety seven lemon balloons along now.")
    _, start, end = next(entry for entry in said.words if entry[0] == "seven")
    high = np.abs(np.diff(np.diff(np.diff(said.audio[0, : round(end * SAMPLE_RATE_HZ)]))))
    hiss = np.convolve(high, np.ones(441) / 441, "same")
    loudest_s = float(np.argmax(hiss)) / SAMPLE_RATE_HZ
    assert start - 0.01 <= loudest_s <= start + 0.17


def test_the_same_words_are_the_same_bytes_whatever_was_said_before():
    speakers = [LISA, HENRY, *voices.BACKGROUND[:3]]
    first = [say(speaker, PAUSED).audio for speaker in speakers]
    again = [say(speaker, PAUSED).audio for speaker in reversed(speakers)][::-1]
    assert all(np.array_equal(one, other) for one, other in zip(first, again))


def test_another_process_says_the_same_at_another_time():
    code = f"print(say(SPEAKERS['train'][0], {PAUSED!r}).audio.astype('f8').sum())"
    shown = {float(in_another_process(code).stdout) for _ in range(2)}
    assert shown == {float(say(LISA, PAUSED).audio.astype("f8").sum())}


def test_speakers_sound_different():
    text = texts.PARALLEL[0]
    about = {}
    for speaker in ALL:
        audio = say(speaker, text).audio
        about[speaker.name] = pitch_hz(audio, SAMPLE_RATE_HZ), centroid_hz(audio, SAMPLE_RATE_HZ), audio.shape[1]
    for (one, first), (other, second) in itertools.combinations(about.items(), 2):
        assert max(abs(a / b - 1) for a, b in zip(first, second)) > 0.02, (one, other)


def test_women_speak_higher_than_men():
    pitch = {speaker: pitch_hz(say(speaker, texts.PARALLEL[1]).audio, SAMPLE_RATE_HZ) for speaker in ALL}
    women, men = ([hz for speaker, hz in pitch.items() if speaker.gender == gender] for gender in ("female", "male"))
    assert np.median(women) > 1.5 * np.median(men)


def test_splits_have_speakers_enough_and_of_both_sexes():
    for split, least in (("train", 8), ("valid", 2), ("test", 2)):
        assert len(voices.SPEAKERS[split]) >= least
        assert {speaker.gender for speaker in voices.SPEAKERS[split]} == {"female", "male"}
    assert len({speaker.name for speaker in ALL}) == len({speaker.variant for speaker in ALL}) == len(ALL)
    assert len({speaker.accent for speaker in ALL}) >= 5


def test_nothing_clips_inside_the_synthesiser():
    for speaker in [*ALL, *voices.BACKGROUND]:
        assert np.abs(say(speaker, texts.PARALLEL[2]).audio).max() < 0.99, speaker.name


def test_silence_at_the_ends_is_trimmed():
    audio = np.abs(say(HENRY, "Hello.").audio[0])
    loud = np.flatnonzero(audio > 0.02 * audio.max())
    assert loud[0] < 0.06 * SAMPLE_RATE_HZ
    assert len(audio) - loud[-1] < 0.1 * SAMPLE_RATE_HZ


def test_numbers_and_hyphens_keep_one_entry_a_written_word():
    said = say(LISA, "The well-known 42 steps - all new!")
    assert [word for word, _, _ in said.words] == ["The", "well-known", "42", "steps", "all", "new"]


def test_a_voice_that_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean variant 'Alicia'"):
        say(replace(LISA, variant="alicia"), PAUSED)
    with pytest.raises(ValueError, match="no voice 'xx-yy"):
        say(Speaker("xx-yy", "f3", "female", ""), PAUSED)


@pytest.mark.parametrize("text", ["", " ", "..."])
def test_a_text_without_words_is_refused(text):
    with pytest.raises(ValueError, match="said nothing"):
        say(LISA, text)


def test_a_missing_package_is_named():
    shown = in_another_process("say(SPEAKERS['train'][0], 'hello')", before="import sys; sys.modules['espeakng_loader'] = None")
    assert shown.returncode != 0
    assert "pip install 'espeakng-loader" in shown.stderr
