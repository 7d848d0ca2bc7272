import string

import numpy as np
import pytest

from simulation.events.instructions import KINDS, LANGUAGES, instruction
from simulation.events.operations import ADDED, ADDED_IN_SEQUENCE, MOVED

WORDS = {"sound": "the dog", "other": "the bell", "new": "a cat", "seconds": "1.5", "decibels": "6", "times": "1.5"}
WORDS |= {"percent": "150"}


def used(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def wanted(kind: str) -> set[str]:
    """The words that an instruction of this kind cannot do without."""
    if kind.startswith("add"):
        return {"new"} | ({"other"} if kind in ("add_before", "add_after", "add_during") else set())
    if kind == "replace":
        return {"sound", "new"}
    return {"sound"} | ({"other"} if kind in ("move_before", "move_after", "swap") else set())


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_has_several_wordings_that_name_all_that_is_edited(language):
    wordings = LANGUAGES[language]
    assert set(wordings.edits) == set(KINDS)
    for kind, templates in wordings.edits.items():
        assert len(set(templates)) == len(templates) >= 4
        for template in templates:
            amounts = used(template) - {"sound", "other", "new"}
            assert used(template) - amounts == wanted(kind), template
            assert bool(amounts) == (kind.endswith("_by") or kind == "add_time"), template
            assert template[0].islower() and template[-1] not in ".!?", template  # frames add these


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_kinds_share_a_wording_unless_the_amount_tells_them_apart(language):
    edits = LANGUAGES[language].edits
    shared = [
        template for kind, templates in edits.items() for template in templates if not used(template) & {"times", "percent"}
    ]
    assert len(set(shared)) == len(shared)


def test_every_kind_that_is_drawn_has_wordings():
    assert {*ADDED, *ADDED_IN_SEQUENCE, *MOVED} <= set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_instructions_read_as_typed_or_as_sentences(kind):
    found = {instruction(kind, LANGUAGES["en"], np.random.default_rng(seed), **WORDS) for seed in range(60)}
    assert len(found) > 15
    for text in found:
        assert "{" not in text and "  " not in text and ".." not in text and "?." not in text
        assert any(WORDS[name] in text for name in wanted(kind))
