"""What one would type to have words in a recording edited: wordings as data, by language. Another language is another entry.

An instruction is clear: quoted words that stand in the sentence more than once come with their number.
"""

from dataclasses import dataclass, fields

import numpy as np

from simulation.speech_editing.edits import Counted, Edit, Named, Place, Reference

OPERATIONS = (
    *("insert_after", "insert_before", "insert_between", "insert_start", "insert_end", "delete", "replace"),
    *("move_after", "move_before", "move_between", "move_start", "move_end"),
)


@dataclass(frozen=True)
class Wordings:
    """Templates of one language. Edits are in the imperative, so that every frame fits them. `{words}` are quoted words to come
    in, `{what}` words that are there, `{place}` those beside which something goes, `{first}` and `{second}` those between."""

    frames: tuple[str, ...]
    edits: dict[str, tuple[str, ...]]
    quotes: tuple[tuple[str, str], ...]
    word: tuple[str, ...]
    """Of one word; `{quoted}` is it in quotes. `phrase` is of several."""
    phrase: tuple[str, ...]
    nth: tuple[str, ...]
    """Of one of several occurrences, `{ordinal}`."""
    nth_word: tuple[str, ...]
    nth_word_from_end: tuple[str, ...]
    first_words: tuple[str, ...]
    """`{number}` of them."""
    last_words: tuple[str, ...]
    ordinals: dict[int, str]
    """-1 is the last."""
    numbers: dict[int, str]
    joiner: str = " "
    """Between words of a quotation and of a transcript."""

    def templates(self) -> list[str]:
        """Every template there is."""
        values = [getattr(self, field.name) for field in fields(self) if field.name not in ("quotes", "ordinals", "numbers")]
        lists = [part for value in values for part in (value.values() if isinstance(value, dict) else [value])]
        return [template for part in lists for template in ([part] if isinstance(part, str) else part)]


ENGLISH = Wordings(
    frames=(
        "{edit}",
        "{edit}",
        "{edit}",
        "{edit}",
        "{edit}",
        "please {edit}",
        "{edit}, please",
        "can you {edit}?",
        "could you {edit}?",
        "I want you to {edit}",
        "edit the speech: {edit}",
    ),
    edits={
        "insert_after": (  # no "put": of a word that stands elsewhere in the sentence, it would be read as to move it
            "insert {words} after {place}",
            "add {words} after {place}",
            "add {words} right after {place}",
            "insert {words} directly after {place}",
            "add in {words} after {place}",
            "insert {words} immediately after {place}",
            "also say {words} after {place}",
        ),
        "insert_before": (
            "insert {words} before {place}",
            "add {words} before {place}",
            "add {words} right before {place}",
            "insert {words} directly before {place}",
            "add in {words} before {place}",
            "insert {words} immediately before {place}",
            "also say {words} before {place}",
        ),
        "insert_between": (
            "insert {words} between {first} and {second}",
            "add {words} between {first} and {second}",
            "add in {words} between {first} and {second}",
            "also say {words} between {first} and {second}",
        ),
        "insert_start": (
            "insert {words} at the beginning",
            "add {words} at the beginning",
            "add {words} at the start",
            "insert {words} at the beginning of the sentence",
            "insert {words} before everything else",
            "add {words} at the very beginning",
            "prepend {words}",
        ),
        "insert_end": (
            "insert {words} at the end",
            "add {words} at the end",
            "append {words}",
            "add {words} at the end of the sentence",
            "insert {words} after everything else",
            "add {words} at the very end",
        ),
        "delete": (
            "delete {what}",
            "remove {what}",
            "take out {what}",
            "cut {what}",
            "cut out {what}",
            "drop {what}",
            "erase {what}",
            "omit {what}",
            "leave out {what}",
            "get rid of {what}",
            "take {what} out of the sentence",
        ),
        "replace": (
            "replace {what} with {words}",
            "replace {what} by {words}",
            "change {what} to {words}",
            "change {what} into {words}",
            "turn {what} into {words}",
            "substitute {words} for {what}",
            "say {words} instead of {what}",
            "put {words} in place of {what}",
            "use {words} instead of {what}",
        ),
        "move_after": (
            "move {what} after {place}",
            "move {what} to right after {place}",
            "put {what} after {place}",
            "shift {what} to just after {place}",
            "place {what} behind {place}",
            "let {what} follow {place}",
        ),
        "move_before": (
            "move {what} before {place}",
            "move {what} to right before {place}",
            "put {what} before {place}",
            "shift {what} to just before {place}",
            "place {what} in front of {place}",
            "let {what} come right before {place}",
        ),
        "move_between": (
            "move {what} between {first} and {second}",
            "put {what} between {first} and {second}",
            "shift {what} to between {first} and {second}",
        ),
        "move_start": (
            "move {what} to the beginning",
            "move {what} to the start of the sentence",
            "put {what} at the beginning",
            "put {what} first",
            "shift {what} to the front",
            "let the sentence begin with {what}",
        ),
        "move_end": (
            "move {what} to the end",
            "move {what} to the end of the sentence",
            "put {what} at the end",
            "put {what} last",
            "shift {what} to the end",
            "let the sentence end with {what}",
        ),
    },
    quotes=(("'", "'"), ('"', '"'), ("“", "”")),
    word=("{quoted}", "{quoted}", "the word {quoted}"),
    phrase=("{quoted}", "{quoted}", "the words {quoted}", "the phrase {quoted}"),
    nth=("the {ordinal} {quoted}", "the {ordinal} occurrence of {quoted}"),
    nth_word=("the {ordinal} word",),
    nth_word_from_end=("the {ordinal} to last word", "the {ordinal} word from the end"),
    first_words=("the first {number} words",),
    last_words=("the last {number} words",),
    ordinals={1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", -1: "last"},
    numbers={2: "two", 3: "three", 4: "four", 5: "five"},
)
LANGUAGES = {"en": ENGLISH}


def instruction(edit: Edit, wordings: Wordings, generator: np.random.Generator) -> str:
    """The edit in words, as a sentence or, as people type, in lower case and without a full stop."""
    form = edit.operation + (f"_{edit.place.side}" if edit.place else "")
    quote = _quote(edit, wordings, generator)
    words = {}
    if edit.words:
        words["words"] = _named(Named(edit.words), wordings, quote, generator)
    if edit.what:
        words["what"] = referred(edit.what, wordings, quote, generator)
    words |= _place(edit.place, wordings, quote, generator) if edit.place and edit.place.at else {}
    asked = _pick(wordings.edits[form], generator).format(**words)
    text = _pick(wordings.frames, generator).format(edit=asked)
    if not int(generator.integers(3)):
        return text
    return text[:1].upper() + text[1:] + ("" if text.endswith("?") else ".")


def referred(reference: Reference, wordings: Wordings, quote: tuple[str, str], generator: np.random.Generator) -> str:
    """What the reference names, as a noun phrase."""
    if isinstance(reference, Named):
        return _named(reference, wordings, quote, generator)
    return _counted(reference, wordings, generator)


def _named(reference: Named, wordings: Wordings, quote: tuple[str, str], generator: np.random.Generator) -> str:
    quoted = _quoted(reference.words, wordings, quote)
    if reference.occurrence:
        return _pick(wordings.nth, generator).format(ordinal=wordings.ordinals[reference.occurrence], quoted=quoted)
    return _pick(wordings.word if len(reference.words) == 1 else wordings.phrase, generator).format(quoted=quoted)


def _counted(reference: Counted, wordings: Wordings, generator: np.random.Generator) -> str:
    first, length = reference.first, reference.num_words
    if length > 1:
        templates = wordings.first_words if first > 0 else wordings.last_words
        return _pick(templates, generator).format(number=wordings.numbers[length])
    templates, ordinal = (wordings.nth_word_from_end, -first) if first < -1 else (wordings.nth_word, first)
    return _pick(templates, generator).format(ordinal=wordings.ordinals[ordinal])


def _place(place: Place, wordings: Wordings, quote: tuple[str, str], generator: np.random.Generator) -> dict[str, str]:
    if place.side != "between":
        return {"place": referred(place.at, wordings, quote, generator)}
    first, second = place.at.words
    return {"first": _quoted((first,), wordings, quote), "second": _quoted((second,), wordings, quote)}


def _quote(edit: Edit, wordings: Wordings, generator: np.random.Generator) -> tuple[str, str]:
    """Marks that none of the quoted words has: 'don't' reads badly."""
    names = [edit.what, edit.place.at if edit.place else None]
    quoted = "".join(edit.words) + "".join("".join(name.words) for name in names if isinstance(name, Named))
    free = [marks for marks in wordings.quotes if not any(mark in quoted for mark in marks)]
    return _pick(free or wordings.quotes, generator)


def _quoted(words: tuple[str, ...], wordings: Wordings, quote: tuple[str, str]) -> str:
    return quote[0] + wordings.joiner.join(words) + quote[1]


def _pick(options, generator: np.random.Generator):
    return options[int(generator.integers(len(options)))]
