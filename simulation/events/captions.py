"""Sounds in words: a clip's caption as a noun phrase ("a dog barking") and several clips as one caption, in order or not."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from simulation.descriptions.queries import ENGLISH as ENGLISH_QUERIES
from simulation.descriptions.queries import Wordings, captions, gerund, spoken
from simulation.example import Clip


@dataclass(frozen=True)
class CaptionWordings:
    """Templates of one language."""

    new: tuple[str, ...]
    """A sound that is not there yet, `{sound}` its indefinite noun phrase."""
    new_name: str
    new_music: str
    new_speech: dict[str, tuple[str, ...]]
    """voice (man, woman, child, person) -> noun phrases."""
    then: tuple[str, ...]
    """Between sounds that come one after another."""
    together: tuple[str, ...]
    """Between two that sound at the same time."""
    background: str
    queries: Wordings
    """How one asks for a sound that is there: "the dog barking"."""


ENGLISH = CaptionWordings(
    new=("{sound}", "{sound}", "{sound}", "the sound of {sound}"),
    new_name="{article} {label} sound",
    new_music="{label} music",
    new_speech={
        "man": ("a man speaking", "a man talking", "a man's voice", "male speech"),
        "woman": ("a woman speaking", "a woman talking", "a woman's voice", "female speech"),
        "child": ("a child speaking", "a child talking", "a child's voice"),
        "person": ("a person speaking", "someone talking", "speech"),
    },
    then=(", then ", ", and then ", "; after that, "),
    together=(" while ", " as ", ", and at the same time "),
    background="in the background, {sound}",
    queries=ENGLISH_QUERIES,
)
LANGUAGES = {"en": ENGLISH}

# Names that stand without an article and are neither plural nor end in -ing.
MASS = {"applause", "fire", "gunfire", "hiss", "laughter", "music", "rain", "rainfall", "snow", "speech", "static", "surf"}
MASS |= {"thunder", "traffic", "water", "wind"}

_ORDER = re.compile(
    r"[,;:.!?]| (?:and|while|as|then|with|when|before|after|followed|until|again|first|finally|later|simultaneously) "
)
_OF = re.compile(r"(?:the )?(\w+ing) of (an? [\w' -]+)")
_DOING = re.compile(r"((?:[\w'-]+ ){1,5})(?:is|are) (\w+ing(?: [\w'-]+)*)")
_DONE = re.compile(r"((?:[\w'-]+ ){1,4})(?:is|are) ((?:\w+ed|lit|struck|shut|torn|blown|hit|broken|thrown)(?: [\w'-]+)*)")
_WHO = r"(?:someone|somebody) |an? (?:[\w'-]+ ){1,3}?|(?!\w+ing )[\w'-]+ (?=\w+ (?:in|on|at|over|down|through) )"
_DOES = re.compile(rf"({_WHO})(\w+(?<![siu])s)((?: [\w'-]+)*)")
_THING = re.compile(
    r"(?:the|an?) [\w'-]+|(?:[\w'-]+ ){0,4}\w+ing (?:on|in) .*|(?:the|an?)(?: [\w'-]+){1,4} (?:of|on|in) .*|(?:[\w'-]+ )+music"
)
_PREPOSITIONS = {"of", "in", "on", "at", "by", "from", "for", "to", "through", "over"}


def new_sounds(clip: Clip, voice: str, wordings: CaptionWordings) -> tuple[str, ...]:
    """Indefinite noun phrases for a sound that is not there yet: "a dog barking", "rain falling", "a gunshot sound". Empty
    without a class and a caption of one plain clause."""
    if clip.role == "speech":
        return wordings.new_speech[voice]
    told = noun_phrase(clip.caption)
    if told:
        return (told,) if told.startswith("the ") else tuple(option.format(sound=told) for option in wordings.new)
    name = spoken(clip.label)
    if not name:
        return ()
    if clip.role == "music":
        return (name if "music" in name else wordings.new_music.format(label=name),)
    return (_named(name, wordings),)


def scene_caption(told: Sequence[tuple[Clip, str]], joint: str, background: Clip | None, wordings: CaptionWordings) -> str:
    """What is heard of clips, each with its voice, by their beginnings: joined by a `then` or `together` or, if that is empty,
    as sentences that say nothing of order; the background last."""
    parts = [clause(clip, voice, wordings) for clip, voice in told]
    sentences = [joint.join([parts[0], *map(_inside, parts[1:])])] if joint and parts else parts
    if background:
        sentences.append(wordings.background.format(sound=_inside(clause(background, "", wordings))))
    return " ".join(sentence(text) for text in sentences)


def clause(clip: Clip, voice: str, wordings: CaptionWordings) -> str:
    """What is heard of one clip in words that say nothing of order: its caption, or what a new sound like it is called."""
    for text in captions(clip, voice, wordings.queries)[:1]:
        if plain(text):
            return text.strip().rstrip(".")
    return (new_sounds(clip, voice, wordings) or (clip.caption.strip().rstrip("."),))[0]


def plain(caption: str) -> bool:
    """True for one clause without a word that orders or joins events."""
    text = caption.strip().rstrip(".")
    return bool(text) and not _ORDER.search(f"{text} ")


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


@lru_cache(maxsize=2**14)
def noun_phrase(caption: str) -> str:
    """ "a dog barking" of "A dog is barking.", "A dog barks." or "Barking of a dog."; "" for more than one plain clause."""
    text = _inside(caption.strip().rstrip("."))
    text = re.sub(r"^there (?:is|are) ", "", text)
    if not plain(text):
        return ""
    if match := _OF.fullmatch(text):
        return f"{match[2]} {match[1]}"
    for pattern, joint in ((_DOING, ""), (_DONE, "being ")):
        if match := pattern.fullmatch(text):
            return "" if match[1] == "it " else match[1] + joint + match[2]
    if (match := _DOES.fullmatch(text)) and match[1].split()[-1] not in _PREPOSITIONS:
        return f"{match[1]}{gerund(match[2])}{match[3]}"
    return text if _THING.fullmatch(text) else ""


def _named(name: str, wordings: CaptionWordings) -> str:
    """A class name as a new sound: sneezing, bells, rain and gunshot become sneezing, bells, rain and a gunshot sound."""
    words = name.split()
    if " of " in name:
        return f"the {name}"
    plural = words[-1].endswith("s") and not words[-1].endswith("ss")
    if plural or words[-1] in MASS or any(word.endswith("ing") for word in words):
        return name
    article = "an" if name[:1] in "aeiou" else "a"
    return f"{article} {name}" if words[-1] in ("noise", "sound") else wordings.new_name.format(article=article, label=name)


def _inside(text: str) -> str:
    """A caption within a sentence: its first letter is small, unless it begins with "I" or an abbreviation."""
    first = text.partition(" ")[0]
    return text if first == "I" or first[1:] != first[1:].lower() else text[:1].lower() + text[1:]
