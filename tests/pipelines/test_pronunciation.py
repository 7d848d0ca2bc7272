import difflib
import random
from pathlib import Path

import pocketsphinx
import pytest

from pipelines.pronunciation import ARPABET, arpabet, pronounce


def dictionary() -> dict[str, list[str]]:
    path = Path(pocketsphinx.get_model_path()) / "en-us" / "cmudict-en-us.dict"
    entries = (line.split() for line in path.read_text().splitlines())
    return {word: phones for word, *phones in entries if word.isalpha()}


def test_every_phone_is_one_of_the_dictionary():
    known = {phone for phones in dictionary().values() for phone in phones}
    assert {phone for phones in ARPABET.values() for phone in phones.split()} <= known


def test_words_of_the_dictionary_are_said_much_as_it_says():
    words = dictionary()
    some = random.Random(1).sample(sorted(words), 60)
    alike = [difflib.SequenceMatcher(None, words[word], pronounce(word).split()).ratio() for word in some]
    assert sum(alike) / len(alike) > 0.85


@pytest.mark.parametrize(
    ("word", "phones"), [("kine", "K AY N"), ("woodcutters", "W UH D K AH T ER Z"), ("42", "F AO R T IY T UW")]
)
def test_words_that_it_lacks_are_said_too(word, phones):
    assert pronounce(word) == phones


def test_sounds_that_english_has_no_phone_for_are_no_pronunciation():
    assert arpabet("pˈyː") == ""  # noqa: RUF001
    assert arpabet("tʃˈɜːtʃ") == "CH ER CH"  # noqa: RUF001
