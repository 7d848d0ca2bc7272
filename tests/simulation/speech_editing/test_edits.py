import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.speech_editing.edits import (
    Counted,
    Edit,
    Named,
    Place,
    apply,
    boundary,
    counted,
    counted_places,
    locate,
    named,
    occurrences,
    places,
)

WORDS = ("the", "cat", "saw", "the", "dog", "and", "the", "Cat", "ran")
SENTENCES = st.lists(st.sampled_from(["a", "b", "B", "c"]), min_size=3, max_size=9).map(tuple)


def meant(edit: Edit, sentence: str) -> str:
    """What an edit does, on text: an interpreter that shares nothing with the one under test."""

    def find(name) -> tuple[int, int]:
        tokens = sentence.split()
        if isinstance(name, Counted):
            start = name.first - 1 if name.first > 0 else len(tokens) - (-name.first - 1) - name.num_words
            return start, start + name.num_words
        phrase, hits = " ".join(name.words).lower(), []
        for start in range(len(tokens)):
            if " ".join(tokens[start : start + len(name.words)]).lower() == phrase:
                hits.append(start)
        assert len(hits) == 1 or name.occurrence
        start = hits[0] if name.occurrence == 0 else hits[-1] if name.occurrence == -1 else hits[name.occurrence - 1]
        return start, start + len(name.words)

    def spot() -> int:
        if edit.place.side in ("start", "end"):
            return 0 if edit.place.side == "start" else len(sentence.split())
        start, past = find(edit.place.at)
        return {"before": start, "after": past, "between": past - 1}[edit.place.side]

    tokens = sentence.split()
    marked = [(number, token) for number, token in enumerate(tokens)]
    if edit.operation == "insert":
        return " ".join([*tokens[: spot()], *edit.words, *tokens[spot() :]])
    start, past = find(edit.what)
    if edit.operation == "delete":
        return " ".join(token for number, token in marked if not start <= number < past)
    if edit.operation == "replace":
        return " ".join([*tokens[:start], *edit.words, *tokens[past:]])
    before = [token for number, token in marked if number < spot() and not start <= number < past]
    after = [token for number, token in marked if number >= spot() and not start <= number < past]
    return " ".join([*before, *tokens[start:past], *after])


def test_words_are_found_by_name_number_and_place():
    assert locate(Named(("saw",)), WORDS) == (2, 3)
    assert locate(Named(("the", "dog")), WORDS) == (3, 5)
    assert locate(Named(("the",), 2), WORDS) == (3, 4)
    assert locate(Named(("cat",), -1), WORDS) == (7, 8)
    assert locate(Counted(1), WORDS) == (0, 1)
    assert locate(Counted(-2), WORDS) == (7, 8)
    assert locate(Counted(-1, 2), WORDS) == (7, 9)
    assert occurrences(WORDS, ("cat",)) == [1, 7]


@pytest.mark.parametrize(
    "reference", [Named(("the",)), Named(("bird",)), Named(("the",), 4), Counted(10), Counted(0), Counted(-1, 10)]
)
def test_what_is_not_there_or_not_clear_is_refused(reference):
    with pytest.raises(ValueError, match=r"stands \d times|the sentence has 9 words"):
        locate(reference, WORDS)


def test_each_operation_does_what_it_says():
    assert apply(Edit("insert", words=("big",), place=Place("before", Named(("dog",)))), WORDS)[3:6] == ("the", "big", "dog")
    assert apply(Edit("insert", words=("now",), place=Place("end")), WORDS)[-2:] == ("ran", "now")
    assert apply(Edit("delete", what=Named(("the",), 2)), WORDS)[:4] == ("the", "cat", "saw", "dog")
    assert apply(Edit("replace", words=("and", "so"), what=Counted(-1)), WORDS)[-3:] == ("Cat", "and", "so")
    back = Edit("move", what=Named(("saw",)), place=Place("start"))
    assert apply(back, WORDS)[:3] == ("saw", "the", "cat")
    on = Edit("move", what=Named(("saw",)), place=Place("between", Named(("dog", "and"))))
    assert " ".join(apply(on, WORDS)) == "the cat the dog saw and the Cat ran"


def test_words_are_not_moved_into_themselves():
    with pytest.raises(ValueError, match="within the words"):
        apply(Edit("move", what=Named(("the", "dog")), place=Place("after", Named(("the",), 2))), WORDS)


@given(SENTENCES, st.data())
def test_every_name_that_is_offered_means_these_words_and_no_others(words, data):
    start = data.draw(st.integers(0, len(words) - 1))
    past = data.draw(st.integers(start + 1, min(start + 3, len(words))))
    for way in named(words, start, past) + counted(words, start, past):
        assert locate(way, words) == (start, past)


@given(SENTENCES, st.data())
def test_every_place_that_is_offered_means_this_one(words, data):
    at = data.draw(st.integers(0, len(words)))
    ways = places(words, at) + counted_places(words, at)
    assert ways
    for way in ways:
        assert boundary(way, words) == at


@given(SENTENCES, st.data())
def test_an_edit_gives_what_an_independent_reading_of_it_gives(words, data):
    start = data.draw(st.integers(0, len(words) - 1))
    past = data.draw(st.integers(start + 1, min(start + 2, len(words))))
    at = data.draw(st.integers(0, len(words)).filter(lambda at: at <= start or at >= past))
    what = data.draw(st.sampled_from(named(words, start, past) + counted(words, start, past) + [None]))
    place = data.draw(st.sampled_from(places(words, at) + counted_places(words, at)))
    edits = [Edit("insert", words=("x", "y"), place=place)]
    if what:
        edits += [Edit("delete", what=what), Edit("replace", words=("x",), what=what), Edit("move", what=what, place=place)]
    for edit in edits:
        assert " ".join(apply(edit, words)) == meant(edit, " ".join(words))
