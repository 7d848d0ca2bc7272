"""Reads an instruction back: every edit that its words may mean, found from the templates alone."""

import itertools
import re

from simulation.speech_editing.edits import Counted, Edit, Named, Place
from simulation.speech_editing.instructions import OPERATIONS, Wordings


def readings(text: str, wordings: Wordings) -> list[Edit]:
    """All edits that some frame and some template make this text of."""
    found = []
    for frame in set(wordings.frames):
        for form, inside in itertools.product(OPERATIONS, _matches(frame, text) + _matches(frame, text.removesuffix("."))):
            for template in wordings.edits[form]:
                for slots in _matches(template, inside["edit"]):
                    found += _edits(form, slots, wordings)
    return found


def _matches(template: str, text: str) -> list[dict[str, str]]:
    pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+)", re.escape(template))
    match = re.fullmatch(pattern, text, re.IGNORECASE)
    return [match.groupdict()] if match else []


def _edits(form: str, slots: dict[str, str], wordings: Wordings) -> list[Edit]:
    operation, _, side = form.partition("_")
    words = [name.words for name in _names(slots.get("words", ""), wordings) if isinstance(name, Named) and not name.occurrence]
    whats = _names(slots.get("what", ""), wordings)
    ats = _names(slots.get("place", ""), wordings)
    if side == "between":
        ends = [_quoted(slots[name], wordings) for name in ("first", "second")]
        ats = [Named(first + second) for first, second in itertools.product(*ends)]
    places = [Place(side, at) for at in ats] if side not in ("start", "end", "") else [Place(side)] if side else [None]
    wanted = (words if "words" in slots else [()], whats if "what" in slots else [None], places)
    return [Edit(operation, words=new, what=what, place=place) for new, what, place in itertools.product(*wanted)]


def _names(text: str, wordings: Wordings) -> list[Named | Counted]:
    ordinals = {word: number for number, word in wordings.ordinals.items()}
    numbers = {word: number for number, word in wordings.numbers.items()}
    found: list[Named | Counted] = []
    for template in {*wordings.word, *wordings.phrase}:
        found += [Named(words) for slots in _matches(template, text) for words in _quoted(slots["quoted"], wordings)]
    for template in wordings.nth:
        for slots in _matches(template, text):
            if slots["ordinal"] in ordinals:
                found += [Named(words, ordinals[slots["ordinal"]]) for words in _quoted(slots["quoted"], wordings)]
    for templates, sign, kind in (
        (wordings.nth_word, 1, "ordinal"),
        (wordings.nth_word_from_end, -1, "ordinal"),
        (wordings.first_words, 1, "number"),
        (wordings.last_words, -1, "number"),
    ):
        for slots in (slots for template in templates for slots in _matches(template, text)):
            number = (ordinals if kind == "ordinal" else numbers).get(slots[kind])
            if number is not None:
                found.append(Counted(sign * number) if kind == "ordinal" else Counted(sign, number))
    return found


def _quoted(text: str, wordings: Wordings) -> list[tuple[str, ...]]:
    for first, last in wordings.quotes:
        inside = text[1:-1]
        if len(text) > 2 and text[0] == first and text[-1] == last and first not in inside and last not in inside:
            return [tuple(inside.split(wordings.joiner) if wordings.joiner else inside)]
    return []
