import json

import pytest

from infra.storage import open_store
from pipelines.formats.tree import Tree
from pipelines.word_times import Refused, ctm, encode, fitted, read, textgrid, written

LONG = '''File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1.5
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 1.5
        intervals: size = 4
        intervals [1]:
            xmin = 0
            xmax = 0.2
            text = ""
        intervals [2]:
            xmin = 0.2
            xmax = 0.5
            text = "say"
        intervals [3]:
            xmin = 0.5
            xmax = 0.9
            text = "the ""b 52"""
        intervals [4]:
            xmin = 0.9
            xmax = 1.5
            text = "sil"
    item [2]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 1.5
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 1.5
            text = "s"
'''
SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
1.5
<exists>
1
"IntervalTier"
"speaker - words"
0
1.5
2
0
0.4
"one"
0.4
1.5
"two"
"""
CTM = """;; a comment
utt-1 1 0.10 0.30 hello 0.98
utt-2 A 0.00 0.20 <eps>
utt-2 A 0.20 0.25 world
utt-1 1 0.45 0.2 there
"""


def test_a_long_textgrid_gives_the_words_of_its_word_tier():
    assert textgrid(LONG) == [("say", 0.2, 0.5), ('the "b 52"', 0.5, 0.9)]


def test_a_short_textgrid_gives_the_same():
    assert textgrid(SHORT) == [("one", 0.0, 0.4), ("two", 0.4, 1.5)]


def test_a_ctm_gives_the_words_of_each_utterance_in_the_order_of_time():
    assert ctm(CTM) == {"utt-1": [("hello", 0.1, 0.4), ("there", 0.45, 0.65)], "utt-2": [("world", 0.2, 0.45)]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", "not a TextGrid"),
        (SHORT.replace("speaker - words", "words").replace("IntervalTier", "TextTier"), "it has none"),
        (LONG.replace('"words"', '"wordy"'), "named 'words' is needed, it has 'wordy', 'phones'"),
        (SHORT.replace('1.5\n"two"\n', ""), "ends after|cut short"),
    ],
)
def test_a_textgrid_without_words_says_so(text, message):
    with pytest.raises(ValueError, match=message):
        textgrid(text)


def test_a_line_that_is_no_ctm_is_named():
    with pytest.raises(ValueError, match="line 2 is not 'utterance channel start duration word'"):
        ctm("a 1 0.1 0.2 b\na 1 x 0.2 b\n")


def test_a_folder_gives_all_utterances_of_both_kinds(tmp_path):
    (tmp_path / "s1").mkdir()
    (tmp_path / "s1" / "utt-3.TextGrid").write_bytes(SHORT.encode("utf-16"))
    (tmp_path / "all.ctm").write_text(CTM)
    assert set(read(Tree(open_store(str(tmp_path))))) == {"utt-1", "utt-2", "utt-3"}
    (tmp_path / "s1" / "bad.TextGrid").write_text("nothing")
    with pytest.raises(ValueError, match=r"s1/bad\.TextGrid: not a TextGrid"):
        read(Tree(open_store(str(tmp_path))))


def test_a_folder_without_either_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"no \.TextGrid and no \.ctm"):
        read(Tree(open_store(str(tmp_path))))


def test_words_are_spelled_as_in_the_transcript():
    words = [("hello", 0.1, 0.4), ("bob's", 0.45, 0.65), ("DOG", 0.65, 1.0)]
    assert fitted(words, "Hello, Bob's dog!", 1.0) == [("Hello", 0.1, 0.4), ("Bob's", 0.45, 0.65), ("dog", 0.65, 1.0)]
    assert [word for word, _, _ in fitted(words, "", 1.0)] == ["hello", "bob's", "DOG"]


def test_rounding_is_put_right():
    words = [("a", 0.1, 0.41), ("b", 0.40, 1.02)]
    assert fitted(words, "", 1.0) == [("a", 0.1, 0.41), ("b", 0.41, 1.0)]


@pytest.mark.parametrize(
    ("words", "text", "reason"),
    [
        ([("a", 0.1, 0.4)], "a b", "other_text"),
        ([("a", 0.1, 0.4)], "b", "other_text"),
        ([("a", 0.4, 0.1)], "a", "bad_times"),
        ([("a", 0.1, 1.4)], "a", "bad_times"),
        ([("a", 0.5, 0.9), ("b", 0.1, 0.4)], "a b", "bad_times"),
    ],
)
def test_words_of_another_text_or_with_impossible_times_are_refused(words, text, reason):
    with pytest.raises(Refused) as caught:
        fitted(words, text, 1.0)
    assert caught.value.reason == reason


def test_words_of_a_text_are_without_the_punctuation_around_them():
    assert written("“Don't,” she said -- well-known at 9.30!") == ["Don't", "she", "said", "well-known", "at", "9.30"]
    assert written(" -- ... ") == []


def test_a_cell_is_json_of_lists():
    assert json.loads(encode([("a", 0.1, 0.25)])) == [["a", 0.1, 0.25]]
