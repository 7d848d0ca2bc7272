import re
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.descriptions.queries import LANGUAGES, captions, description, doing_of, gerund, query, sounds, spoken
from simulation.example import Clip

ENGLISH = LANGUAGES["en"]
KINDS = ("caption", "label", "removal", "pair")
DOG, RAIN = ("dog", "A dog is barking."), ("rain", "The sound of rain.")


def clip(label: str = "", caption: str = "", role: str = "event", text: str = "") -> Clip:
    return Clip("id", "path", role, 16000, 0, 16000, "CC0", "", text=text, caption=caption, label=label)


def queries(kind: str, *clips: tuple[Clip, str], count: int = 200) -> set[str]:
    generator = np.random.default_rng(1)
    return {query(kind, clips, ENGLISH, generator)[1] for _ in range(count)}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_placeholder_of_a_template_is_one_that_gets_filled(language):
    wordings = LANGUAGES[language]
    known = {"sound", "caption", "first", "second", "label", "text"}
    for template in wordings.templates():
        assert {name for _, name, _, _ in string.Formatter().parse(template) if name is not None} <= known, template
    for kind, names in (("caption", {"caption"}), ("label", {"sound"}), ("removal", {"sound"}), ("pair", {"first", "second"})):
        for template in getattr(wordings, kind):
            assert {name for _, name, _, _ in string.Formatter().parse(template) if name} == names
    assert set(wordings.speech_sounds) == set(wordings.speech_captions) == set(wordings.transcripts)
    assert set(wordings.speech_sounds) == {"man", "woman", "child", "person"}


@given(
    st.sampled_from(KINDS),
    st.lists(
        st.builds(
            clip,
            st.sampled_from(["", "dog", "Chink_and_clink", "match"]),
            st.sampled_from(["", "A dog barks.", "Rain, far away"]),
        ),
        min_size=2,
        max_size=2,
    ),
    st.integers(0, 2**32),
)
def test_a_query_is_filled_in_and_one_line_of_clean_text(kind, clips, seed):
    told = [(one, "") for one in clips if one.label or one.caption]
    if not told or (kind == "pair" and len(told) < 2):
        return
    used, text = query(kind, told[: 2 if kind == "pair" else 1], ENGLISH, np.random.default_rng(seed))
    assert used in KINDS and text == text.strip() and text
    assert not re.search(r"[{}\n]|  |\.\.| \.|the the | a the ", text)
    assert not text.endswith(".") or text[0].isupper()


def test_the_caption_is_asked_for_as_it_is_or_behind_a_verb():
    found = queries("caption", (clip(*DOG), ""))
    assert {"A dog is barking.", "a dog is barking", "extract this sound: a dog is barking"} <= found
    assert all("dog is barking" in text for text in found) and len(found) > 5


def test_a_label_query_names_the_sound_and_what_it_does():
    found = queries("label", (clip(*DOG), ""))
    assert {"the dog", "the dog barking", "extract the dog barking", "Extract the dog."} <= found


def test_a_removal_says_what_to_take_away():
    found = queries("removal", (clip(*DOG), ""))
    assert {"remove the dog barking", "Everything but the dog."} <= found
    assert all("the dog" in text for text in found)


def test_a_pair_names_both():
    found = queries("pair", (clip(*DOG), ""), (clip(*RAIN), ""))
    assert "the dog barking and the rain" in found
    assert all("the dog" in text.lower() and "the rain" in text for text in found)


def test_without_a_caption_the_name_is_asked_for_and_without_a_name_the_caption():
    generator = np.random.default_rng(0)
    assert query("caption", [(clip("dog"), "")], ENGLISH, generator)[0] == "label"
    assert query("label", [(clip(caption="Rain, then thunder"), "")], ENGLISH, generator)[0] == "caption"
    found = queries("removal", (clip(caption="Rain, then thunder"), ""))
    assert "remove this: Rain, then thunder" in found
    mixed = queries("pair", (clip("dog"), ""), (clip(caption="Rain, then thunder"), ""))
    assert "these two: the dog; Rain, then thunder" in mixed


def test_speech_is_named_by_its_speaker_as_far_as_known():
    voice = clip(role="speech")
    assert "the man speaking" in sounds(voice, "man", ENGLISH)
    assert not any("man" in text for text in sounds(voice, "person", ENGLISH))
    assert all("woman" in text or "female" in text for text in queries("label", (voice, "woman")))


def test_a_transcript_is_quoted_only_where_there_is_one():
    assert not any('"' in text for text in captions(clip(role="speech"), "man", ENGLISH))
    said = captions(clip(role="speech", text="THE BOY WAS THERE"), "man", ENGLISH)
    assert 'a man says "The boy was there"' in said


def test_music_is_called_music():
    assert sounds(clip("ragtime piano", role="music"), "", ENGLISH) == ("the ragtime piano music",)
    assert sounds(clip("arcade game music", role="music"), "", ENGLISH) == ("the arcade game music",)


@pytest.mark.parametrize(
    ("caption", "phrase"),
    [
        ("A dog is barking.", "dog barking"),
        ("A dog barks.", "dog barking"),
        ("Church bells are ringing.", "church bells ringing"),
        ("A jet plane flies by.", "jet plane flying by"),
        ("A burst of flame whooshes.", "burst of flame whooshing"),
        ("Someone is knocking on a door.", "knocking on a door"),
        ("Someone is sipping a drink.", "sipping of a drink"),
        ("Someone is using a chainsaw.", ""),
        ("It is raining.", ""),
        ("A zipper is being zipped.", ""),
        ("A door is closed.", ""),
        ("A footstep on grass.", ""),
        ("A series of beeps", ""),
        ("Sea waves roll in.", ""),
        ("A dog barks and a man is talking.", ""),
        ("A man speaks, then laughs", ""),
        ("", ""),
    ],
)
def test_a_noun_phrase_is_made_of_one_plain_clause_only(caption, phrase):
    assert doing_of(caption) == phrase


@pytest.mark.parametrize(
    "pair",
    ["barks barking", "sneezes sneezing", "flies flying", "pops popping", "rings ringing", "buzzes buzzing", "blows blowing"],
)
def test_the_gerund_of_a_verb(pair):
    verb, wanted = pair.split()
    assert gerund(verb) == wanted


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Chink_and_clink", "chink"),
        ("Male speech, man speaking", "male speech"),
        ("Keyboard_(musical)", "keyboard"),
        ("cocking a pistol", "cocking of a pistol"),
        ("TV", "TV"),
        ("drums and bass guitar", "drums and bass guitar"),
        ("", ""),
    ],
)
def test_a_class_name_as_one_says_it(label, name):
    assert spoken(label) == name


def test_a_description_has_a_sentence_for_each_source():
    told = [(clip(*DOG), ""), (clip("rain"), ""), (clip(role="speech"), "woman")]
    assert description(told, ENGLISH) == "A dog is barking. The rain. A woman is speaking."
