import pytest

from simulation.speech_editing.word_classes import CLASSES, spelled, word_class


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("The", "article"),
        ("of", "preposition"),
        ("seven", "number"),
        ("Monday", "day"),
        ("Maria", "name"),
        ("running", "-ing"),
        ("quickly", "-ly"),
        ("bottles", "-s"),
        ("is", "auxiliary"),
        ("cat", ""),
    ],
)
def test_a_word_has_its_class(word, kind):
    assert word_class(word, "en") == kind


def test_no_word_is_in_two_classes():
    words = [word for text in CLASSES["en"].values() for word in text.split()]
    assert len(words) == len(set(words))
    assert words == [word.lower() for word in words]


def test_the_first_word_of_a_sentence_loses_its_capital_unless_it_may_be_a_name():
    assert spelled(["The", "cat", "saw", "Maria"], "en") == ("the", "cat", "saw", "Maria")
    assert spelled(["Maria", "ran"], "en") == ("Maria", "ran")
    assert spelled(["Monday", "is", "here"], "en") == ("Monday", "is", "here")


def test_what_is_all_in_capitals_is_not():
    assert spelled(["LOOK", "AT", "ANN'S", "PANTS"], "en") == ("look", "at", "ann's", "pants")


def test_i_keeps_its_capital_wherever_it_stands():
    assert spelled(["THEN", "I", "SAID", "I'M", "HERE"], "en") == ("then", "I", "said", "I'm", "here")
    assert spelled(["I", "ran"], "en") == ("I", "ran")


def test_a_language_without_data_is_left_as_it_is():
    assert spelled(["Das", "Haus"], "de") == ("Das", "Haus")
    assert word_class("haus", "de") == ""
    assert spelled([], "de") == ()
