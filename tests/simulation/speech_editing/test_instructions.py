import dataclasses
import string

import numpy as np
import pytest

from simulation.speech_editing.edits import Counted, Edit, Named, Place, apply
from simulation.speech_editing.instructions import ENGLISH, LANGUAGES, OPERATIONS, Wordings, instruction
from tests.simulation.instruction_readings import readings

WORDS = ("I", "know", "that", "you", "know", "that", "it", "will", "not", "rain", "here")
EDITS = [
    Edit("insert", words=("really",), place=Place("after", Named(("I",)))),
    Edit("insert", words=("all", "of", "us"), place=Place("before", Named(("know",), 2))),
    Edit("insert", words=("do",), place=Place("between", Named(("you", "know")))),
    Edit("insert", words=("well",), place=Place("start")),
    Edit("insert", words=("not",), place=Place("end")),
    Edit("insert", words=("much",), place=Place("after", Counted(-2))),
    Edit("delete", what=Named(("that",), -1)),
    Edit("delete", what=Counted(-1)),
    Edit("delete", what=Counted(1, 2)),
    Edit("delete", what=Counted(-1, 3)),
    Edit("delete", what=Counted(-3)),
    Edit("replace", words=("snow",), what=Named(("rain",))),
    Edit("replace", words=("can't",), what=Named(("will", "not"))),
    Edit("replace", words=("we",), what=Counted(4)),
    Edit("move", what=Named(("here",)), place=Place("start")),
    Edit("move", what=Named(("I", "know")), place=Place("end")),
    Edit("move", what=Named(("not",)), place=Place("after", Named(("that",), 1))),
    Edit("move", what=Counted(-1), place=Place("before", Named(("it", "will")))),
    Edit("move", what=Counted(2), place=Place("between", Named(("will", "not")))),
]
SLOTS = {"insert": {"words"}, "delete": {"what"}, "replace": {"what", "words"}, "move": {"what"}}
PLACES = {"after": {"place"}, "before": {"place"}, "between": {"first", "second"}}

GERMAN = Wordings(
    frames=("{edit}", "bitte {edit}"),
    edits={
        "insert_after": ("füge {words} nach {place} ein",),
        "insert_before": ("füge {words} vor {place} ein",),
        "insert_between": ("füge {words} zwischen {first} und {second} ein",),
        "insert_start": ("füge {words} am Anfang ein",),
        "insert_end": ("füge {words} am Ende ein",),
        "delete": ("lösche {what}",),
        "replace": ("ersetze {what} durch {words}",),
        "move_after": ("verschiebe {what} hinter {place}",),
        "move_before": ("verschiebe {what} vor {place}",),
        "move_between": ("verschiebe {what} zwischen {first} und {second}",),
        "move_start": ("verschiebe {what} an den Anfang",),
        "move_end": ("verschiebe {what} ans Ende",),
    },
    quotes=(("„", "“"),),
    word=("{quoted}", "das Wort {quoted}"),
    phrase=("{quoted}", "die Wörter {quoted}"),
    nth=("das {ordinal} {quoted}",),
    nth_word=("das {ordinal} Wort",),
    nth_word_from_end=("das {ordinal} Wort von hinten",),
    first_words=("die ersten {number} Wörter",),
    last_words=("die letzten {number} Wörter",),
    ordinals={1: "erste", 2: "zweite", 3: "dritte", 4: "vierte", 5: "fünfte", -1: "letzte"},
    numbers={2: "zwei", 3: "drei", 4: "vier", 5: "fünf"},
)


def said(edit: Edit, wordings: Wordings = ENGLISH, count: int = 40) -> list[str]:
    return [instruction(edit, wordings, np.random.default_rng(seed)) for seed in range(count)]


def slots(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


@pytest.mark.parametrize("wordings", [*LANGUAGES.values(), GERMAN])
def test_every_operation_has_templates_that_say_all_there_is_to_say(wordings):
    assert set(wordings.edits) == set(OPERATIONS)
    for form, templates in wordings.edits.items():
        operation, _, side = form.partition("_")
        for template in templates:
            assert slots(template) == SLOTS[operation] | PLACES.get(side, set()), template
        assert len(set(templates)) == len(templates)
    for ordinal in (1, 2, 3, 4, 5, -1):
        assert wordings.ordinals[ordinal]


def test_english_has_many_wordings():
    assert len(ENGLISH.templates()) > 90
    assert min(len(templates) for form, templates in ENGLISH.edits.items() if "between" not in form) >= 6


@pytest.mark.parametrize("wordings", [ENGLISH, GERMAN], ids=["en", "another language"])
@pytest.mark.parametrize("edit", EDITS, ids=str)
def test_an_instruction_read_back_means_the_edit_and_nothing_else(edit, wordings):
    wanted = apply(edit, WORDS)
    for text in said(edit, wordings, 60):
        found = readings(text, wordings)
        assert edit in found, text
        results = set()
        for reading in found:
            try:
                results.add(apply(reading, WORDS))
            except ValueError:
                continue  # it names what is not there
        assert results == {wanted}, text


def test_the_examples_of_the_specification_are_among_them():
    assert "Insert 'really' after 'I'." in said(EDITS[0], count=3000)
    assert "Delete the last word." in said(EDITS[7], count=1000)
    blue = Edit("replace", words=("red",), what=Named(("blue",), 2))
    assert "Replace the second 'blue' with 'red'." in said(blue, count=3000)
    assert "Move 'quickly' to the end." in said(Edit("move", what=Named(("quickly",)), place=Place("end")), count=3000)
    assert "Remove the words 'of the'." in said(Edit("delete", what=Named(("of", "the"))), count=3000)


def test_words_with_an_apostrophe_are_not_put_between_apostrophes():
    texts = said(Edit("insert", words=("don't",), place=Place("after", Named(("I",)))), count=100)
    assert not any("'don't'" in text for text in texts)
    assert any('"don\'t"' in text for text in texts)


def test_some_are_sentences_and_some_are_typed_plainly():
    texts = said(EDITS[0], count=100)
    assert any(text[0].isupper() and text[-1] in ".?" for text in texts)
    assert any(text[0].islower() and text[-1] not in "." for text in texts)


def test_words_are_quoted_as_their_language_joins_them():
    chinese = dataclasses.replace(ENGLISH, joiner="")
    assert any("'今天天气'" in text for text in said(Edit("delete", what=Named(("今天", "天气"))), chinese))
