"""Which edit of an utterance: drawn so that one side is as it was said and the other can be spliced from it and from others."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import numpy as np

from simulation.bank import Bank
from simulation.descriptions.distinct import pick
from simulation.seeds import chance, integer
from simulation.speech_editing.edits import (
    Edit,
    Operation,
    Place,
    Reference,
    Words,
    apply,
    counted,
    counted_places,
    locate,
    named,
    places,
)
from simulation.speech_editing.instructions import LANGUAGES
from simulation.speech_editing.utterances import Utterance, around, companions, utterance
from simulation.speech_editing.word_classes import word_class

MIN_PHRASE_S = 0.1  # shorter ones are lost in the fades
MAX_PAUSE_S = 0.3  # within words that go together
LITTLE = ("article", "preposition", "conjunction", "auxiliary", "pronoun")
LITTLE_WEIGHT = 0.5  # of single words that carry little
BROKEN_WEIGHT = 0.15  # of several words that break off: "of the"
UNLIKE_WEIGHT = 0.3  # of a join between a pause and running speech, for it is heard
UNLIKE_TARGET_WEIGHT = 0.1  # of such a join in a target
EDGE_WEIGHT = 3.0  # of words at either end, of which instructions say so
END_SHARE = 0.5  # of places at an end that are called so
MIN_LEFT = 2  # words of the shorter side
DONORS = 8  # utterances looked through for words of the same kind
CONTEXT_WORDS = 2  # around a donor's words, for their level


@dataclass(frozen=True)
class OperationShares:
    """How often each operation is drawn, relative to the others."""

    insert: float = 0.35
    delete: float = 0.2
    replace: float = 0.3
    move: float = 0.15

    def __post_init__(self):
        shares = vars(self)
        if min(shares.values()) < 0 or not sum(shares.values()):
            raise ValueError(f"operations: shares are {shares}: none below 0, at least one above")


@dataclass(frozen=True)
class EditRange:
    """What may be done to words."""

    num_words: tuple[int, int] = (1, 3)
    """To insert, delete, replace or move; one is likelier than two, two than three."""
    by_position_share: float = 0.25
    """Of names such as "the last word", where one can be given."""
    delete_natural_share: float = 0.5
    """Of deletions whose target is natural: what is to be deleted was never said there, it is another utterance's."""
    operations: OperationShares = field(default_factory=OperationShares)
    language: str = "en"

    def __post_init__(self):
        low, high = self.num_words
        if not 1 <= low <= high <= 5:
            raise ValueError(f"num_words is {self.num_words}: give 1 to 5, the lower bound first")
        if self.language not in LANGUAGES:
            raise ValueError(f"language is {self.language!r}: there are wordings for {', '.join(LANGUAGES)}")


class Stretch(msgspec.Struct, frozen=True, array_like=True):
    """Words first..past of the utterance or of the donor."""

    source: Literal["utterance", "donor"]
    first: int
    past: int


@dataclass(frozen=True)
class Plan:
    """The spliced side, and what the instruction asks for."""

    spliced: tuple[Stretch, ...]
    edit: Edit
    donor: Utterance | None = None


@dataclass(frozen=True)
class Drawing:
    """What an edit is drawn from: an utterance, where it and its companions are from, and the randomness."""

    bank: Bank
    row: int
    spoken: Utterance
    generator: np.random.Generator

    def one(self, options: Sequence):
        return options[int(self.generator.integers(len(options)))]


def plan(config: EditRange, operation: Operation, natural_target: bool, drawing: Drawing) -> Plan | None:
    """An edit of the utterance; None if it has no words for it, or none that can be named clearly."""
    if operation == "move":
        found = _moved(config, drawing)
    elif operation == "insert" or not natural_target:
        found = _without(config, operation, drawing)
    else:
        found = _foreign(config, operation, drawing)
    if not found:
        return None
    natural, spliced = drawing.spoken.transcript, words_of(found.spliced, drawing.spoken, found.donor)
    before, after = (spliced, natural) if natural_target else (natural, spliced)
    if [word.lower() for word in before] == [word.lower() for word in after]:
        return None  # "very very" turned round
    assert apply(found.edit, before) == after, found
    return found


def words_of(stretches: Sequence[Stretch], spoken: Utterance, donor: Utterance | None) -> tuple[str, ...]:
    """The words of the stretches, one after another."""
    sources = {"utterance": spoken, "donor": donor}
    return tuple(word for one in stretches for word in sources[one.source].transcript[one.first : one.past])


def _stretches(*parts: tuple[Literal["utterance", "donor"], int, int]) -> tuple[Stretch, ...]:
    """Those that have words."""
    return tuple(Stretch(*part) for part in parts if part[2] > part[1])


def _phrase(config: EditRange, drawing: Drawing, unlike: float = UNLIKE_WEIGHT) -> tuple[int, int]:
    """First word and word past the last of words that go together; (0, 0) if there are none that are long enough."""
    low, high = config.num_words
    size = pick(drawing.generator, {size: 1 / size for size in range(low, high + 1)})
    weights = _phrases(config, drawing.spoken, size, unlike)
    return pick(drawing.generator, weights) if weights else (0, 0)


def _phrases(config: EditRange, spoken: Utterance, size: int, unlike: float = UNLIKE_WEIGHT) -> dict[tuple[int, int], float]:
    """So many words in a row that can be cut out, each (first, past) with how likely it is: those that begin like a phrase and
    do not break off in the middle of one are likelier, at either end, too; `unlike` is of those that leave such a join."""
    words, weights = spoken.words, {}
    little = [word_class(word, config.language) in LITTLE for word, _, _ in words]
    for first in range(len(words) - size + 1):
        past = first + size
        pauses = (words[at + 1][1] - words[at][2] for at in range(first, past - 1))
        if words[past - 1][2] - words[first][1] < MIN_PHRASE_S or any(pause > MAX_PAUSE_S for pause in pauses):
            continue
        if size == 1:
            weight = LITTLE_WEIGHT if little[first] else 1.0
        else:
            weight = BROKEN_WEIGHT if little[past - 1] else 1.0 + little[first]
        weight *= EDGE_WEIGHT if first == 0 or past == len(words) else 1.0
        weights[first, past] = weight * (1.0 if spoken.pauses(first) == spoken.pauses(past) else unlike)
    return weights


def _named(config: EditRange, words: Words, span: tuple[int, int], drawing: Drawing) -> Reference | None:
    """A clear name of words of a sentence; None if there is none."""
    by_name, by_position = named(words, *span), counted(words, *span)
    return _chosen(config, by_name, by_position, drawing)


def _place(config: EditRange, words: Words, at: int, drawing: Drawing, apart: tuple[int, int] = (0, 0)) -> Place | None:
    """A clear name of the place before word `at`, not by words of the span `apart`."""

    def clear(place: Place) -> bool:
        start, past = locate(place.at, words) if place.at else (0, 0)
        return past <= apart[0] or start >= apart[1]

    by_name, by_position = (list(filter(clear, ways)) for ways in (places(words, at), counted_places(words, at)))
    ends = [place for place in by_name if place.at is None]
    if ends and chance(drawing.generator, END_SHARE):
        return drawing.one(ends)
    return _chosen(config, by_name, by_position, drawing)


def _chosen(config: EditRange, by_name: list, by_position: list, drawing: Drawing):
    positional = by_position and (not by_name or chance(drawing.generator, config.by_position_share))
    ways = by_position if positional else by_name
    return drawing.one(ways) if ways else None


def _without(config: EditRange, operation: Operation, drawing: Drawing) -> Plan | None:
    """The spliced side lacks words: they are to be inserted there, or were to be deleted."""
    first, past = _phrase(config, drawing, UNLIKE_TARGET_WEIGHT if operation == "delete" else UNLIKE_WEIGHT)
    words = drawing.spoken.transcript
    if not past or len(words) - (past - first) < MIN_LEFT:
        return None
    spliced = _stretches(("utterance", 0, first), ("utterance", past, len(words)))
    if operation == "insert":
        place = _place(config, words[:first] + words[past:], first, drawing)
        return Plan(spliced, Edit("insert", words=words[first:past], place=place)) if place else None
    what = _named(config, words, (first, past), drawing)
    return Plan(spliced, Edit("delete", what=what)) if what else None


def _moved(config: EditRange, drawing: Drawing) -> Plan | None:
    """The spliced side has words elsewhere, and they are to be moved back."""
    first, past = _phrase(config, drawing)
    length, size = len(drawing.spoken.words), past - first
    elsewhere = [at for at in range(length + 1) if at < first or at > past]
    if not past or not elsewhere:
        return None
    spoken = drawing.spoken
    to = pick(drawing.generator, {at: 1.0 if spoken.pauses(at) == spoken.pauses(first) else UNLIKE_WEIGHT for at in elsewhere})
    if to < first:
        spans = (0, to), (first, past), (to, first), (past, length)
        where, back = (to, to + size), past
    else:
        spans = (0, first), (past, to), (first, past), (to, length)
        where, back = (to - size, to), first
    order = _stretches(*(("utterance", *span) for span in spans))
    before = words_of(order, drawing.spoken, None)
    what, place = _named(config, before, where, drawing), _place(config, before, back, drawing, apart=where)
    return Plan(order, Edit("move", what=what, place=place)) if what and place else None


def _foreign(config: EditRange, operation: Operation, drawing: Drawing) -> Plan | None:
    """The spliced side has words of another utterance, which are to be deleted or replaced by what was said."""
    words = drawing.spoken.transcript
    if operation == "delete":
        first = past = integer(drawing.generator, (0, len(words)))
    else:
        first, past = _phrase(config, drawing)
        if not past or len(words) - (past - first) < MIN_LEFT:
            return None
    found = _donor(config, drawing, (first, past))
    if not found:
        return None
    donor, span = found
    spliced = _stretches(("utterance", 0, first), ("donor", *span), ("utterance", past, len(words)))
    there = (first, first + span[1] - span[0])
    what = _named(config, words_of(spliced, drawing.spoken, donor), there, drawing)
    return Plan(spliced, Edit(operation, words=words[first:past], what=what), donor) if what else None


def _donor(config: EditRange, drawing: Drawing, span: tuple[int, int]) -> tuple[Utterance, tuple[int, int]] | None:
    """Words of another utterance of the speaker and session for those of the span, as many and of their kind if the first few
    utterances have such; for an empty span any words. None if there are none."""
    words = drawing.spoken.transcript
    kinds = [word_class(word, config.language) for word in words[slice(*span)]]
    beside = {word.lower() for word in words[max(span[0] - 1, 0) : span[1] + 1]}  # a word twice in a row would be odd
    best, best_score = None, -1.0
    for number, row in enumerate(companions(drawing.bank, drawing.generator, drawing.row)):
        if number == DONORS or best_score >= len(kinds) + 0.25:
            break
        donor = utterance(drawing.bank, drawing.generator, row, (1, math.inf), config.language)
        for first, past in _order(config, donor, len(kinds), drawing.generator) if donor else ():
            said = donor.transcript[first:past]
            if beside & {said[0].lower(), said[-1].lower()}:
                continue
            alike = sum(word_class(one, config.language) == kind for one, kind in zip(said, kinds))
            fits = (past == len(donor.words)) == (span[1] == len(words))  # sentences end in a tone of their own
            fits += sum(donor.pauses(there) == drawing.spoken.pauses(here) for there, here in zip((first, past), span)) / 2
            if alike + fits / 4 > best_score:
                best, best_score = (donor, (first, past)), alike + fits / 4
    return around(*best, CONTEXT_WORDS) if best else None


def _order(config: EditRange, donor: Utterance, size: int, generator: np.random.Generator) -> list[tuple[int, int]]:
    """The donor's phrases of so many words in random order; for 0, one of any length."""
    if not size:
        low, high = config.num_words
        weights = _phrases(config, donor, pick(generator, {size: 1 / size for size in range(low, high + 1)}))
        return [pick(generator, weights)] if weights else []
    spans = list(_phrases(config, donor, size))
    return [spans[int(at)] for at in generator.permutation(len(spans))]
