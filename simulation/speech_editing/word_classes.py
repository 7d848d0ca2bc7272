"""Which words can stand for one another, by language: closed classes as data, a guess from the ending for the rest.

It serves two ends: a word put for another is of its kind, and the first word of a sentence loses its capital if it is no name.
"""

from functools import lru_cache

CLASSES = {
    "en": {
        "article": "a an the this that these those my your his her its our their some any each every no another",
        "pronoun": "i you he she it we they me him us them nobody somebody anyone everyone someone anybody nothing something",
        "preposition": "of in on at by from for to with through over under behind between near into about after before above"
        " along around beside beyond during inside outside since until upon without toward towards against among below past",
        "conjunction": "and but or so because if when while although though unless where which who whom whose what why how",
        "auxiliary": "is are was were am be been being do does did have has had will would shall should can could might must",
        "adverb": "not never always often very too also just only still again soon now then there here almost really even",
        "number": "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
        " seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand",
        "ordinal": "first second third fourth fifth sixth seventh eighth ninth tenth last next",
        "colour": "red green blue yellow white black purple orange brown gray grey silver golden pink",
        "day": "monday tuesday wednesday thursday friday saturday sunday",
        "month": "january february march april may june july august september october november december",
        "opener": "please let all yes well oh ask leave put look it's that's there's what's don't let's",
    }
}
NAMES = {"en": ("day", "month")}  # classes that keep their capital
ENDINGS = {"en": ("ing", "ed", "ly", "tion", "s")}
ALWAYS_CAPITAL = {"en": ("i", "i'm", "i'll", "i've", "i'd")}


@lru_cache(maxsize=8)
def _table(language: str) -> dict[str, str]:
    return {word: name for name, words in reversed(CLASSES.get(language, {}).items()) for word in words.split()}


def word_class(word: str, language: str) -> str:
    """The closed class of a word; of any other "name" for one with a capital, its ending ("-ing"), or ""."""
    known = _table(language).get(word.lower())
    if known:
        return known
    if word[:1].isupper() and not word.isupper():
        return "name"
    ending = next((ending for ending in ENDINGS.get(language, ()) if len(word) > len(ending) + 2 and word.endswith(ending)), "")
    return f"-{ending}" if ending else ""


def spelled(words: list[str], language: str) -> tuple[str, ...]:
    """A sentence's words as they stand in the middle of one: its first loses its capital unless it may be a name, and what
    is all in capitals is not."""
    if not any(letter.islower() for word in words for letter in word):
        words = [word.lower() for word in words]
    found = [_inside(words[0], language), *words[1:]] if words else []
    capital = ALWAYS_CAPITAL.get(language, ())
    return tuple(word[:1].upper() + word[1:] if word.lower() in capital else word for word in found)


def _inside(word: str, language: str) -> str:
    known = _table(language).get(word.lower())
    return word[:1].lower() + word[1:] if known and known not in NAMES.get(language, ()) else word
