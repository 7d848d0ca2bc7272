"""Speech of the starter corpus: eSpeak NG (from the espeakng-loader wheel) with sample-exact word times.

Synthetic speech, eSpeak NG: the program is GPL-3.0, what it says is unencumbered. A speaker is an eSpeak voice variant
(formants, glottis) with an accent, a pitch, a pitch range and a rate.
"""

import bisect
import ctypes
import difflib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

SAMPLE_RATE_HZ = 22_050
VOLUME = 50  # of eSpeak's 100, at which several variants clip inside
SILENCE = 10 ** (-50 / 20)  # of the peak: quieter ends are trimmed
MARGIN_S = 0.01
NO_MULTIWORD = "\u200b"  # eSpeak says "of the" as one dictionary entry, with one word event, unless this stands between

_SYNCHRONOUS, _PHONEME_EVENTS, _DONT_EXIT, _UTF8 = 2, 0x0001, 0x8000, 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_END_OF_LIST, _WORD, _PHONEME = 0, 1, 7


@dataclass(frozen=True)
class Speaker:
    """One voice: `language` and `variant` are eSpeak's names; pitch and pitch_range 0-100."""

    language: str
    variant: str
    gender: str
    accent: str
    pitch: int = 50
    pitch_range: int = 50
    rate_wpm: int = 165

    @property
    def name(self) -> str:
        return f"espeak-{self.language}-{self.variant}".lower()


@dataclass(frozen=True)
class Utterance:
    """What was said: `audio` float32 `(1, samples)` at 22.05 kHz, and each written word with its start and end in seconds."""

    audio: np.ndarray
    text: str
    words: list[tuple[str, float, float]]


# Split by speaker: 14 to train on, 3 to validate, 3 to test; both sexes in each.
SPEAKERS = {
    "train": (
        Speaker("en-us", "f3", "female", "American"),
        Speaker("en-us", "m3", "male", "American", pitch=45),
        Speaker("en-gb-x-rp", "f2", "female", "British", rate_wpm=155),
        Speaker("en-gb-x-rp", "m7", "male", "British", pitch=58, rate_wpm=150),
        Speaker("en-gb-scotland", "m5", "male", "Scottish", pitch=55, rate_wpm=175),
        Speaker("en-us", "Alicia", "female", "American", pitch=42, rate_wpm=180),
        Speaker("en-029", "f5", "female", "Caribbean", pitch=55),
        Speaker("en-us", "belinda", "female", "American", pitch=60, pitch_range=60, rate_wpm=150),
        Speaker("en-gb-x-gbcwmd", "michel", "male", "West Midlands", pitch_range=60),
        Speaker("en-us", "adam", "male", "American", pitch=38, rate_wpm=150),
        Speaker("en", "aunty", "female", "British", pitch=40, rate_wpm=145),
        Speaker("en-us-nyc", "Gene", "male", "New York", pitch=30, rate_wpm=185),
        Speaker("en-gb-x-gbclan", "Denis", "male", "Lancashire", pitch=66, pitch_range=70),
        Speaker("en-us", "Nguyen", "male", "American", pitch=62, rate_wpm=160),
    ),
    "valid": (
        Speaker("en-gb-scotland", "f4", "female", "Scottish", pitch=58),
        Speaker("en-us", "Annie", "female", "American", pitch=48, rate_wpm=170),
        Speaker("en", "m2", "male", "British", pitch=52, rate_wpm=160),
    ),
    "test": (
        Speaker("en-gb-x-rp", "linda", "female", "British", pitch=46, rate_wpm=160),
        Speaker("en-us", "f1", "female", "American", pitch=55, pitch_range=60, rate_wpm=155),
        Speaker("en-us", "Hugo", "male", "American", pitch=48, rate_wpm=170),
    ),
}

# Voices that talk in the background only, in noises; dealt out so that no two noise recordings share one.
BACKGROUND = tuple(
    Speaker(language, variant, gender, "", pitch, pitch_range, rate)
    for language, variant, gender, pitch, pitch_range, rate in (
        ("en-us", "steph", "female", 55, 60, 175),
        ("en", "m1", "male", 50, 60, 185),
        ("en-us", "Diogo", "male", 60, 70, 160),
        ("en-gb-scotland", "grandma", "female", 45, 50, 150),
        ("en-us", "m4", "male", 40, 60, 180),
        ("en-gb-x-rp", "shelby", "female", 60, 60, 170),
        ("en-029", "m6", "male", 55, 70, 190),
        ("en-us", "pedro", "male", 65, 60, 150),
        ("en-us", "Andrea", "female", 35, 60, 150),
        ("en", "Reed", "male", 45, 60, 170),
        ("en-us-nyc", "Henrique", "male", 60, 60, 165),
        ("en-us", "anika", "female", 40, 60, 150),
        ("en", "travis", "male", 50, 60, 175),
        ("en-us", "zac", "male", 50, 60, 180),
        ("en", "victor", "male", 42, 60, 165),
        ("en-us", "grandpa", "male", 38, 50, 150),
    )
)


def say(speaker: Speaker, text: str) -> Utterance:
    """The text in this voice: the same bytes each time, silence at the ends trimmed.

    ValueError if eSpeak NG or the voice is not there, or nothing was said. Not re-entrant: eSpeak keeps its state in global
    variables, so a process speaks one utterance at a time.
    """
    tokens = text.split()
    merged: set[int] = set()
    while True:
        samples, spans = _speak(speaker, tokens, merged)
        missing = {i for i, token in enumerate(tokens) if i not in spans and _written(token)} - merged
        if not missing:
            break
        merged |= missing  # again, with these kept apart from the word before
    words = [(_written(token), *spans[i]) for i, token in enumerate(tokens) if i in spans]
    return _trimmed(samples, text, words)


def _written(token: str) -> str:
    """The word without the punctuation around it; "" for punctuation alone."""
    kept = [i for i, character in enumerate(token) if character.isalnum()]
    return token[kept[0] : kept[-1] + 1] if kept else ""


def _speak(speaker: Speaker, tokens: list[str], apart: set[int]) -> tuple[np.ndarray, dict[int, tuple[int, int]]]:
    """int16 samples, and for each token that got a word event its (first, past the last) sample."""
    spoken, starts = "", []
    for i, token in enumerate(tokens):
        spoken += (" " if i else "") + (NO_MULTIWORD if i in apart else "")
        starts.append(len(spoken))
        spoken += token
    samples, events = _synthesise(speaker, spoken)
    spans: dict[int, tuple[int, int]] = {}
    current = None
    for kind, position, sample, name in [*events, (_PHONEME, 0, len(samples), "_")]:
        token = bisect.bisect_right(starts, position - 1) - 1 if kind == _WORD else None
        pause = kind == _PHONEME and name.startswith("_")
        if current is not None and (pause or (token is not None and token != current)):
            spans[current] = (spans[current][0], sample)
            current = None
        if token is not None:
            current = max(token, 0)
            spans.setdefault(current, (sample, sample))
    return samples, spans


def _trimmed(samples: np.ndarray, text: str, words: list[tuple[str, int, int]]) -> Utterance:
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > SILENCE * np.abs(samples.astype(np.int32)).max(initial=0))
    if not len(loud) or not words:
        raise ValueError(f"eSpeak NG said nothing for {text!r}: give a text with words in the language of the voice")
    margin = round(MARGIN_S * SAMPLE_RATE_HZ)
    first, past = max(0, int(loud[0]) - margin), min(len(samples), int(loud[-1]) + 1 + margin)
    first = min(first, words[0][1])
    seconds = [
        (word, *(round((min(max(at, first), past) - first) / SAMPLE_RATE_HZ, 5) for at in span)) for word, *span in words
    ]
    return Utterance((samples[first:past].astype(np.float32) / np.float32(32768))[np.newaxis], text, seconds)


class _Name(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h, API revision 12 (eSpeak NG 1.50 and later)."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # characters, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Name),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
_LOCK = threading.Lock()


def _synthesise(speaker: Speaker, text: str) -> tuple[np.ndarray, list[tuple[int, int, int, str]]]:
    """int16 samples and the events: (type, character position from 1, sample, phoneme)."""
    chunks, events = [], []

    def receive(wave, num_samples, event) -> int:
        if num_samples:
            chunks.append(np.ctypeslib.as_array(wave, (num_samples,)).copy())
        i = 0
        while event[i].type != _END_OF_LIST:
            e = event[i]
            name = e.id.string.decode("utf-8", "replace") if e.type == _PHONEME else ""
            events.append((e.type, e.text_position, e.sample, name))
            i += 1
        return 0

    callback = _Callback(receive)
    with _LOCK, _fresh_library() as library:
        library.espeak_SetSynthCallback(callback)
        _choose_voice(library, speaker)
        settings = {_RATE: speaker.rate_wpm, _VOLUME: VOLUME, _PITCH: speaker.pitch, _RANGE: speaker.pitch_range}
        for parameter, value in settings.items():
            library.espeak_SetParameter(parameter, value, 0)
        data = text.encode() + b"\0"
        library.espeak_Synth(ctypes.c_char_p(data), ctypes.c_size_t(len(data)), 0, 0, 0, _UTF8, None, None)
    return np.concatenate(chunks) if chunks else np.zeros(0, np.int16), events


def _choose_voice(library: ctypes.CDLL, speaker: Speaker) -> None:
    known = _variants(_paths()[1])  # eSpeak itself ignores a variant that it does not have
    name = f"{speaker.language}+{speaker.variant}"
    if speaker.variant not in known or library.espeak_SetVoiceByName(name.encode()) != 0:
        near = difflib.get_close_matches(speaker.variant, known, n=1)
        hint = f"; did you mean variant {near[0]!r}?" if near else ""
        raise ValueError(f"eSpeak NG has no voice {name!r}{hint} (case counts; 'espeak-ng --voices' lists languages)")


@lru_cache
def _variants(data_path: str) -> frozenset[str]:
    return frozenset(path.name for path in (Path(data_path) / "voices" / "!v").iterdir())


@contextmanager
def _fresh_library() -> Iterator[ctypes.CDLL]:
    """eSpeak NG as after the start of a process (6 ms).

    The phases of flutter and echo and the noise stay in static variables from one utterance to the next, and initialising
    again does not clear them: only loading the library again makes an utterance independent of those before it.
    """
    library_path, data_path = _paths()
    libc = ctypes.CDLL(None)
    if _loaded(library_path):
        raise ValueError(f"{library_path} is in use elsewhere in this process: make the voices in a process of their own")
    library = ctypes.CDLL(library_path)
    try:
        rate = library.espeak_Initialize(_SYNCHRONOUS, 0, str(Path(data_path).parent).encode(), _PHONEME_EVENTS | _DONT_EXIT)
        if rate != SAMPLE_RATE_HZ:
            raise ValueError(f"eSpeak NG does not start from {data_path} ({rate}): reinstall espeakng-loader")
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # espeak_Initialize has seeded its breath noise from the clock
        libc.srand(1)  # and the Klatt-like voices take theirs from rand()
        yield library
        library.espeak_Terminate()
    finally:
        libc.dlclose(ctypes.c_void_p(library._handle))


def _loaded(library_path: str) -> bool:
    try:
        found = ctypes.CDLL(library_path, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    except OSError:
        return False
    ctypes.CDLL(None).dlclose(ctypes.c_void_p(found._handle))  # the look itself counts as a use
    return True


def _paths() -> tuple[str, str]:
    try:
        import espeakng_loader
    except ImportError as error:
        raise ValueError(
            "the voices of the starter corpus need eSpeak NG: pip install 'espeakng-loader>=0.2.4'"
            " (or name a corpus of your own)"
        ) from error
    return espeakng_loader.get_library_path(), espeakng_loader.get_data_path()
