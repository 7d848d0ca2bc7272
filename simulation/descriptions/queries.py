"""What one would type to get a sound out of a recording: wordings as data, and how a clip's own words go into them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Literal

import numpy as np

from simulation.example import Clip

QueryKind = Literal["caption", "label", "removal", "pair"]
"""The source's caption; what it is called ("the dog barking"); "remove the dog barking"; two sources at once."""


@dataclass(frozen=True)
class Wordings:
    """Templates of one language. `{sound}` is a noun phrase with its article, `{caption}` a caption as it was written."""

    caption: tuple[str, ...]
    label: tuple[str, ...]
    removal: tuple[str, ...]
    removal_caption: tuple[str, ...]
    """For a sound that has a caption and no name."""
    pair: tuple[str, ...]
    pair_caption: tuple[str, ...]
    sound: str
    """The noun phrase of a class name; `music` is that of a style."""
    music: str
    both: str
    speech_sounds: dict[str, tuple[str, ...]]
    """voice (man, woman, child, person) -> noun phrases."""
    speech_captions: dict[str, tuple[str, ...]]
    transcripts: dict[str, tuple[str, ...]]

    def templates(self) -> list[str]:
        """Every template there is."""
        found = []
        for field in fields(self):
            value = getattr(self, field.name)
            for part in value.values() if isinstance(value, dict) else [value]:
                found += [part] if isinstance(part, str) else part
        return found


ENGLISH = Wordings(
    caption=(
        "{caption}",
        "{caption}",  # as it is, as often as with any verb before it
        "extract this sound: {caption}",
        "isolate the following: {caption}",
        "keep only this: {caption}",
        "separate this from everything else: {caption}",
    ),
    label=(
        "{sound}",
        "the sound of {sound}",
        "extract {sound}",
        "isolate {sound}",
        "keep only {sound}",
        "separate {sound} from the rest",
        "I only want to hear {sound}",
        "give me {sound} without anything else",
    ),
    removal=(
        "remove {sound}",
        "take out {sound}",
        "get rid of {sound}",
        "filter out {sound}",
        "mute {sound}",
        "everything but {sound}",
        "everything except {sound}",
        "the recording without {sound}",
        "keep the rest, remove {sound}",
    ),
    removal_caption=(
        "remove this: {caption}",
        "take this out: {caption}",
        "everything except the following: {caption}",
        "keep all but this: {caption}",
    ),
    pair=(
        "{first} and {second}",
        "both {first} and {second}",
        "extract {first} and {second}",
        "keep {first} and {second}",
        "isolate {first} as well as {second}",
        "separate {first} and {second} from the rest",
        "I want to hear {first} together with {second}",
    ),
    pair_caption=("these two: {first}; {second}", "extract both: {first}; {second}", "keep only these: {first}; {second}"),
    sound="the {label}",
    music="the {label} music",
    both="{first} and {second}",
    speech_sounds={  # not "the man's voice": whoever coughs or laughs has a voice, too
        "man": ("the man speaking", "the man talking", "the male speech", "the man's speech"),
        "woman": ("the woman speaking", "the woman talking", "the female speech", "the woman's speech"),
        "child": ("the child speaking", "the child talking", "the child's speech"),
        "person": ("the person speaking", "the person talking", "the speech"),
    },
    speech_captions={
        "man": ("a man is speaking", "a man speaks", "a man is talking", "male speech"),
        "woman": ("a woman is speaking", "a woman speaks", "a woman is talking", "female speech"),
        "child": ("a child is speaking", "a child speaks", "a child is talking"),
        "person": ("a person is speaking", "someone speaks", "someone is talking", "speech"),
    },
    transcripts={
        "man": ('a man says "{text}"', 'a man saying "{text}"'),
        "woman": ('a woman says "{text}"', 'a woman saying "{text}"'),
        "child": ('a child says "{text}"', 'a child saying "{text}"'),
        "person": ('someone says "{text}"', 'someone saying "{text}"'),
    },
)
LANGUAGES = {"en": ENGLISH}

# Class names that read badly after an article.
SPOKEN = {
    "brushing teeth": "brushing of teeth",
    "can opening": "opening of a can",
    "door wood knock": "knocking on a wooden door",
    "door wood creaks": "creaking of a wooden door",
    "drinking sipping": "sipping of a drink",
    "erasing with a pencil": "rubbing of an eraser",
    "match": "striking of a match",
    "wading in water": "wading through water",
}

_NOBODY = {"someone", "somebody", "it", "there", "he", "she", "they"}
_DETERMINERS = {"a", "an", "the", "some", "two", "three", "several", "many", "someone", "people", "there", "it", "this", "one"}
_CLAUSES = re.compile(r"[,;:.!?]| (?:and|while|as|then|with|when|before|after|followed) ")
_CONTINUOUS = re.compile(r"(?:(?:an?|the|some) )?((?:[\w'-]+ ){1,4})(?:is|are) (\w+ing)((?: [\w'-]+)*)")
_PRESENT = re.compile(r"an? ((?:[\w'-]+ ){1,3}?)(\w+(?<![siu])s)((?: [\w'-]+)*)")
_PREPOSITIONS = {"of", "in", "on", "at", "by", "from", "for", "to", "through", "over"}


def sounds(clip: Clip, voice: str, wordings: Wordings) -> tuple[str, ...]:
    """Noun phrases for what is heard in the clip: "the dog", and "the dog barking" where its caption says so. Empty if it has
    neither a class nor a caption of one plain clause."""
    if clip.role == "speech":
        return wordings.speech_sounds[voice]
    name = spoken(clip.label)
    style = wordings.music if clip.role == "music" and "music" not in name else wordings.sound
    doing = doing_of(clip.caption)
    phrases = [wordings.sound.format(label=doing)] * bool(doing) + [style.format(label=name)] * bool(name)
    return tuple(dict.fromkeys(phrases))


def captions(clip: Clip, voice: str, wordings: Wordings) -> tuple[str, ...]:
    """The clip's caption; for speech without one, what its speaker and transcript tell."""
    if clip.caption:
        return (clip.caption,)
    if clip.role != "speech":
        return ()
    said = _sentence_case(clip.text)
    return wordings.speech_captions[voice] + tuple(line.format(text=said) for line in wordings.transcripts[voice] if said)


def query(
    kind: QueryKind, clips: Sequence[tuple[Clip, str]], wordings: Wordings, generator: np.random.Generator
) -> tuple[QueryKind, str]:
    """A query for one clip, or two for a pair, each with its voice; the kind that it is: a source without caption is asked
    for by its name and one without a name by its caption."""
    names = [sounds(clip, voice, wordings) for clip, voice in clips]
    told = [captions(clip, voice, wordings) for clip, voice in clips]
    if kind == "pair":
        words = [_pick(options, generator) for options in (names if all(names) else map(_either, told, names))]
        templates = wordings.pair if all(names) else wordings.pair_caption
        return kind, _finish(_pick(templates, generator), generator, first=words[0], second=words[1])
    kind = {"caption": "caption" if told[0] else "label", "label": "label" if names[0] else "caption"}.get(kind, kind)
    if kind == "caption" or not names[0]:
        templates = wordings.caption if kind == "caption" else wordings.removal_caption
        return kind, _finish(_pick(templates, generator), generator, caption=_pick(told[0], generator))
    templates = wordings.label if kind == "label" else wordings.removal
    return kind, _finish(_pick(templates, generator), generator, sound=_pick(names[0], generator))


def description(clips: Sequence[tuple[Clip, str]], wordings: Wordings) -> str:
    """What is to be heard where these clips sound, one sentence each."""
    said = [_either(captions(clip, voice, wordings), sounds(clip, voice, wordings))[0] for clip, voice in clips]
    return " ".join(_sentence(line) for line in said)


@lru_cache(maxsize=2**14)
def spoken(label: str) -> str:
    """A class name as one says it: Chink_and_clink, "Male speech, man speaking" and cocking a pistol become chink, male
    speech and cocking of a pistol."""
    name = re.sub(r"\(.*?\)|,.*|_and_.*", "", label).replace("_", " ").strip()
    words = [word if word.isupper() and len(word) > 1 else word.lower() for word in name.split()]
    name = " ".join(words)
    return SPOKEN.get(name) or re.sub(r"^(\w+ing) (an?|the) ", r"\1 of \2 ", name)


@lru_cache(maxsize=2**14)
def doing_of(caption: str) -> str:
    """ "dog barking" of "A dog is barking." or "A dog barks."; "" for a caption that is more than one plain clause."""
    text = caption.strip().rstrip(".")
    text = text[:1].lower() + text[1:]
    if _CLAUSES.search(text):
        return ""
    if match := _CONTINUOUS.fullmatch(text):
        who, doing, rest = match[1].strip(), match[2], match[3]
        if who not in _NOBODY:
            return "" if doing == "being" else f"{who} {doing}{rest}"
        return re.sub(r"^(\w+) (an?|the) ", r"\1 of \2 ", doing + rest) if rest and doing != "using" else ""
    if (match := _PRESENT.fullmatch(text)) and match[1].split()[-1] not in _PREPOSITIONS:
        return f"{match[1]}{gerund(match[2])}{match[3]}"
    return ""


def gerund(verb: str) -> str:
    """The -ing form of a verb in the third person: barks, sneezes, flies, pops become barking, sneezing, flying, popping."""
    if verb.endswith("ies"):
        return verb[:-3] + "ying"
    base = verb[:-2] if verb.endswith(("ches", "shes", "sses", "xes", "zzes", "oes")) else verb[:-1]
    if base.endswith("e") and not base.endswith(("ee", "oe", "ye")):
        return base[:-1] + "ing"
    doubled = re.fullmatch(r"[^aeiou]*[aeiou][^aeiouwxy]", base)
    return base + (base[-1] if doubled else "") + "ing"


def _either(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return first or second


def _pick(options: Sequence[str], generator: np.random.Generator) -> str:
    return options[int(generator.integers(len(options)))]


def _finish(template: str, generator: np.random.Generator, **words: str) -> str:
    """The template filled in, as a sentence or, as people type, in lower case and without a full stop."""
    if not template.startswith("{caption}"):
        words = {name: _inside(text) for name, text in words.items()}
    text = template.format(**words)
    return _sentence(text) if int(generator.integers(2)) else _plain(text)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _plain(text: str) -> str:
    return _inside(text).removesuffix(".")


def _inside(text: str) -> str:
    """A caption within a sentence: its first letter is small unless it may be a name."""
    first = text.partition(" ")[0]
    starts = first.lower() in _DETERMINERS or first.lower().endswith("ing")
    return text[:1].lower() + text[1:] if starts else text


def _sentence_case(transcript: str) -> str:
    """Transcripts in capitals, as LibriSpeech has them, read as shouting."""
    return transcript.capitalize() if transcript.isupper() else transcript
