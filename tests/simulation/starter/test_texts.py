"""The sentences and captions of the starter corpus."""

import re

import numpy as np

from simulation.seeds import Rng
from simulation.starter import texts


def sentences(purpose, count):
    return texts.sentences(Rng(0, "starter", 0)(purpose), count)


def test_there_are_more_than_150_different_sentences():
    assert len({text for speaker in range(20) for text in sentences(f"speaker {speaker}", 12)}) > 150


def test_sentences_are_the_same_again_and_differ_within_a_draw():
    found = sentences("a", 30)
    assert found == sentences("a", 30)
    assert len(set(found)) == 30
    assert found[:10] == sentences("a", 10)


def test_every_sentence_is_filled_plain_and_ends_as_one():
    for text in [*texts.PARALLEL, *texts.SENTENCES, *sentences("many", 300)]:
        assert re.fullmatch(r"[A-Z][A-Za-z',;: ]*[.?]", text.replace("-", " ")), text
        assert 8 <= len(text.split()) <= 24, text


def test_every_slot_of_a_template_is_known_and_no_word_comes_twice():
    generator = np.random.Generator(np.random.Philox(key=1))
    for template in texts.TEMPLATES:
        kinds = re.findall(r"{(\w+)}", template)
        assert set(kinds) <= set(texts.SLOTS)
        text = texts.filled(template, generator)
        assert "{" not in text
        for kind in set(kinds):
            assert len(texts.SLOTS[kind]) >= kinds.count(kind)
    assert not re.search(r"\ba (orange|apple)\b", " ".join(sentences("articles", 500)), re.IGNORECASE)


def test_every_sound_has_wordings_and_a_place_in_the_hierarchy():
    for above, wordings in [*texts.EVENTS.values(), *texts.NOISES.values(), *texts.SPEECH.values()]:
        assert above and len(set(wordings)) == len(wordings) >= 2
        for caption in wordings:
            assert caption[0].isupper() and caption.endswith(".")


def test_no_caption_serves_two_classes():
    captions = [caption for _, wordings in [*texts.EVENTS.values(), *texts.NOISES.values()] for caption in wordings]
    assert len(set(captions)) == len(captions)
