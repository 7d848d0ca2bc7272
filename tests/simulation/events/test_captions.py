import pytest

from simulation.events.captions import ENGLISH, clause, new_sounds, noun_phrase, plain, scene_caption, sentence
from simulation.example import Clip


def clip(caption: str = "", label: str = "", role: str = "event") -> Clip:
    return Clip("a", "a.flac", role, 16000, 0, 16000, "CC0", "", caption=caption, label=label)


@pytest.mark.parametrize(
    ("caption", "phrase"),
    [
        ("A dog is barking.", "a dog barking"),
        ("A dog barks.", "a dog barking"),
        ("Barking of a dog.", "a dog barking"),
        ("The ticking of a clock.", "a clock ticking"),
        ("Someone sneezes.", "someone sneezing"),
        ("Rain falls on a roof.", "rain falling on a roof"),
        ("A rifle is fired.", "a rifle being fired"),
        ("A zipper is being zipped.", "a zipper being zipped"),
        ("Church bells are ringing.", "church bells ringing"),
        ("There is an explosion.", "an explosion"),
        ("The sound of rain.", "the sound of rain"),
        ("A sneeze.", "a sneeze"),
        ("A burst of automatic gunfire.", "a burst of automatic gunfire"),
        ("Slow cinematic music.", "slow cinematic music"),
        ("It is raining.", ""),
        ("Walking footsteps on gravel surface", ""),
        ("A dog barks, then a man laughs.", ""),
        ("Birds sing while a train passes.", ""),
        ("", ""),
    ],
)
def test_captions_of_one_plain_clause_become_noun_phrases(caption, phrase):
    assert noun_phrase(caption) == phrase


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("gunshot", "a gunshot sound"),
        ("owl", "an owl sound"),
        ("church bells", "church bells"),
        ("sneezing", "sneezing"),
        ("rain", "rain"),
        ("cocking a pistol", "the cocking of a pistol"),
        ("jet cabin noise", "a jet cabin noise"),
    ],
)
def test_without_such_a_caption_the_class_names_a_new_sound(label, name):
    assert new_sounds(clip(label=label), "", ENGLISH) == (name,)
    assert new_sounds(clip("It goes on, and then it stops.", label), "", ENGLISH) == (name,)


def test_a_clip_without_class_and_plain_caption_has_no_name():
    assert new_sounds(clip("One thing, then another."), "", ENGLISH) == ()
    assert new_sounds(clip("One thing, then another.", role="music"), "", ENGLISH) == ()


def test_music_and_voices_have_names_of_their_own():
    assert new_sounds(clip(label="jazz guitar", role="music"), "", ENGLISH) == ("jazz guitar music",)
    assert "a woman speaking" in new_sounds(clip(role="speech"), "woman", ENGLISH)


def test_a_clause_of_a_scene_says_nothing_of_order():
    assert clause(clip("A dog barks."), "", ENGLISH) == "A dog barks"
    assert clause(clip("A dog barks, then howls.", "dog"), "", ENGLISH) == "a dog sound"
    for word in ("and", "then", "while", "after", "before", "followed by", "as"):
        assert not plain(f"A dog barks {word} a bell rings.")
    assert plain("A dog barks twice in a yard.") and not plain("A dog barks again.") and not plain("")


def test_a_scene_is_told_in_order_where_there_is_one():
    told = [(clip("A dog barks."), ""), (clip("Rain is falling."), ""), (clip("TV static is heard."), "")]
    assert scene_caption(told, ", then ", None, ENGLISH) == "A dog barks, then rain is falling, then TV static is heard."
    assert scene_caption(told[:2], "", None, ENGLISH) == "A dog barks. Rain is falling."
    behind = clip("Wind is blowing.", role="noise")
    assert scene_caption(told[:1], ", then ", behind, ENGLISH) == "A dog barks. In the background, wind is blowing."
    assert scene_caption([], ", then ", behind, ENGLISH) == "In the background, wind is blowing."


def test_sentences_begin_large_and_end_once():
    assert sentence("a dog barks") == "A dog barks." and sentence("Why?") == "Why?" and sentence("a b.") == "A b."
