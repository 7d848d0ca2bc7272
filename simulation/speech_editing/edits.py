"""Edits of a sentence, in words: what is named, where something goes, and what comes out. No audio in here.

A word is named as people name it: by itself, by which of its occurrences is meant, or by its place in the sentence. Upper
and lower case are one. `apply` is what an instruction means; instructions.py beside it puts it into words.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

Words = Sequence[str]
Operation = Literal["insert", "delete", "replace", "move"]
Side = Literal["before", "after", "between", "start", "end"]
FARTHEST = 5  # place that one counts to: "the fifth word"
FARTHEST_LAST = 3  # "the third word from the end"
MOST_OCCURRENCES = 5


class Named(msgspec.Struct, frozen=True, tag=True):
    """Words that stand in the sentence: the only ones of their kind (0), the first (1), second (2) ... or last (-1)."""

    words: tuple[str, ...]
    occurrence: int = 0


class Counted(msgspec.Struct, frozen=True, tag=True):
    """Words by their place: from the first (1), second (2) ..., last (-1) or second to last word (-2) on.

    Several are counted from an end: the first three (1, 3), the last two (-1, 2).
    """

    first: int
    num_words: int = 1


Reference = Named | Counted


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where words go: before or after others, between the two that `at` names, at the start or the end."""

    side: Side
    at: Reference | None = None


class Edit(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an instruction asks for."""

    operation: Operation
    words: tuple[str, ...] = ()  # to insert, or to put in place of others
    what: Reference | None = None  # to delete, replace or move
    place: Place | None = None  # to insert at, or to move to


def occurrences(words: Words, phrase: Words) -> list[int]:
    """Where the phrase begins, everywhere it stands."""
    lower, wanted = [word.lower() for word in words], [word.lower() for word in phrase]
    return [at for at in range(len(lower) - len(wanted) + 1) if lower[at : at + len(wanted)] == wanted]


def locate(reference: Reference, words: Words) -> tuple[int, int]:
    """First word and word past the last of what is named. ValueError if it is not there, or not told from another."""
    if isinstance(reference, Counted):
        length, first = reference.num_words, reference.first
        start = first - 1 if first > 0 else len(words) + first - (length - 1)
        if not first or not 0 <= start <= len(words) - length or length < 1:
            raise ValueError(f"{reference}: the sentence has {len(words)} words")
        return start, start + length
    found = occurrences(words, reference.words)
    number = reference.occurrence
    if not found or abs(number) > len(found) or (not number and len(found) > 1):
        raise ValueError(f"{reference}: stands {len(found)} times in {' '.join(words)!r}")
    start = found[number - 1 if number > 0 else number]
    return start, start + len(reference.words)


def boundary(place: Place, words: Words) -> int:
    """How many words are before the place. ValueError as of `locate`."""
    if place.side in ("start", "end"):
        return 0 if place.side == "start" else len(words)
    assert place.at is not None
    start, past = locate(place.at, words)
    if place.side == "between" and past - start != 2:
        raise ValueError(f"{place}: two words are between which there is a place")
    return {"before": start, "after": past, "between": start + 1}[place.side]


def apply(edit: Edit, words: Words) -> tuple[str, ...]:
    """The sentence after the edit. ValueError if it names what is not there."""
    words = tuple(words)
    if edit.operation == "insert":
        at = boundary(edit.place, words)
        return words[:at] + edit.words + words[at:]
    start, past = locate(edit.what, words)
    if edit.operation != "move":
        return words[:start] + (edit.words if edit.operation == "replace" else ()) + words[past:]
    at = boundary(edit.place, words)
    if start < at < past:
        raise ValueError(f"{edit}: the place lies within the words that are to be moved")
    moved, rest = words[start:past], words[:start] + words[past:]
    at -= past - start if at >= past else 0
    return rest[:at] + moved + rest[at:]


def named(words: Words, start: int, past: int) -> list[Reference]:
    """The ways to name words start..past by what they are, each clear: alone, or by their occurrence."""
    phrase = tuple(words[start:past])
    found = occurrences(words, phrase)
    if len(found) == 1:
        return [Named(phrase)]
    number = found.index(start) + 1
    ways: list[Reference] = [Named(phrase, number)] if number <= MOST_OCCURRENCES else []
    return [*ways, Named(phrase, -1)] if number == len(found) else ways


def counted(words: Words, start: int, past: int) -> list[Reference]:
    """The ways to name words start..past by their place that one can follow without counting long."""
    length, ways = past - start, []
    if (start < FARTHEST and length == 1) or not start:
        ways.append(Counted(start + 1, length))
    from_end = len(words) - past + 1
    if (from_end <= FARTHEST_LAST and length == 1) or from_end == 1:
        ways.append(Counted(-from_end, length))
    return ways


def places(words: Words, at: int) -> list[Place]:
    """The ways to tell the place before word `at` by the words around it: one or two before, one or two after, or the two
    between which it is; or by the start or end of the sentence."""
    ends = [Place("start")] * (at == 0) + [Place("end")] * (at == len(words))
    after = [Place("after", way) for size in (1, 2) if at >= size for way in named(words, at - size, at)]
    before = [Place("before", way) for size in (1, 2) if at + size <= len(words) for way in named(words, at, at + size)]
    both = [Place("between", way) for way in named(words, at - 1, at + 1)] if 0 < at < len(words) else []
    return [*ends, *after, *before, *(place for place in both if not place.at.occurrence)]


def counted_places(words: Words, at: int) -> list[Place]:
    """The ways to tell the place before word `at` by the number of a word."""
    after = [Place("after", way) for way in (counted(words, at - 1, at) if at else [])]
    before = [Place("before", way) for way in (counted(words, at, at + 1) if at < len(words) else [])]
    return after + before
