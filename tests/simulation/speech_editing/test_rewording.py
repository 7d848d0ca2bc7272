import numpy as np
import pytest

from simulation.speech_editing.edits import apply
from simulation.speech_editing.rewording import CONTEXT_WORDS, Drawing, EditRange, OperationShares, plan, words_of
from simulation.speech_editing.utterances import utterance
from tests.simulation import espeak_corpus
from tests.simulation.espeak_corpus import changed

DEFAULT = EditRange()


def plans(bank, operation, natural_target, config=DEFAULT, count=40):
    """(drawing, plan) of those utterances that have one."""
    for seed in range(count):
        generator, row = np.random.default_rng(seed), seed % bank.table.num_rows
        drawing = Drawing(bank, row, utterance(bank, generator, row, (4, 10.0), "en"), generator)
        found = plan(config, operation, natural_target, drawing)
        if found:
            yield drawing, found


def sides(drawing, found, natural_target):
    natural, spliced = drawing.spoken.transcript, words_of(found.spliced, drawing.spoken, found.donor)
    return (spliced, natural) if natural_target else (natural, spliced)


@pytest.mark.parametrize(
    ("operation", "natural_target"), [("insert", True), ("delete", True), ("delete", False), ("replace", True), ("move", True)]
)
def test_the_edit_makes_the_target_of_the_input(bank, operation, natural_target):
    found = list(plans(bank, operation, natural_target))
    assert len(found) > 30
    for drawing, one in found:
        before, after = sides(drawing, one, natural_target)
        assert one.edit.operation == operation
        assert apply(one.edit, before) == after
        assert before != after


def test_what_is_inserted_was_there_and_what_is_left_are_two_words_or_more(bank):
    for drawing, one in plans(bank, "insert", True):
        assert one.donor is None
        before, after = sides(drawing, one, True)
        assert 1 <= len(after) - len(before) == len(one.edit.words) <= 3
        assert len(before) >= 2


def test_words_put_in_are_of_the_speaker_in_another_file(bank):
    for operation in ("replace", "delete"):
        for drawing, one in plans(bank, operation, True):
            assert one.donor.clip.speaker == drawing.spoken.clip.speaker
            assert one.donor.clip.id != drawing.spoken.clip.id
            stretch = next(part for part in one.spliced if part.source == "donor")
            assert 0 <= stretch.first <= CONTEXT_WORDS
            assert len(one.donor.words) - stretch.past <= CONTEXT_WORDS


def test_a_word_put_in_is_not_the_one_beside_it_nor_the_one_it_replaces(bank):
    for drawing, one in plans(bank, "replace", True, count=80):
        before, _ = sides(drawing, one, True)
        number = next(number for number, part in enumerate(one.spliced) if part.source == "donor")
        start = sum(part.past - part.first for part in one.spliced[:number])
        past = start + one.spliced[number].past - one.spliced[number].first
        put = [word.lower() for word in before[start:past]]
        assert put[0] not in [word.lower() for word in before[max(start - 1, 0) : start]]
        assert put[-1] not in [word.lower() for word in before[past : past + 1]]
        assert put != [word.lower() for word in one.edit.words]


def test_moved_words_are_those_of_the_utterance_in_another_order(bank):
    for drawing, one in plans(bank, "move", True):
        before, after = sides(drawing, one, True)
        assert sorted(before) == sorted(after)
        assert sum(part.past - part.first for part in one.spliced) == len(drawing.spoken.words)


def test_single_words_come_most_and_the_bounds_hold(bank):
    sizes = [len(one.edit.words) for _, one in plans(bank, "insert", True, count=150)]
    assert sizes.count(1) > sizes.count(2) > sizes.count(3) > 0
    assert set(sizes) == {1, 2, 3}
    assert {len(one.edit.words) for _, one in plans(bank, "insert", True, EditRange(num_words=(2, 2)))} == {2}


def test_names_by_position_come_as_asked(bank):
    def positional(share):
        found = [one.edit.what for _, one in plans(bank, "delete", False, EditRange(by_position_share=share), 60)]
        return sum(type(what).__name__ == "Counted" for what in found) / len(found)

    assert positional(1.0) > positional(0.3) > 0
    assert positional(0.0) < 0.1  # only where a word cannot be told from others by its name


def test_without_another_file_of_the_session_there_is_nothing_to_put_in(corpus):
    root, table = corpus
    speakers = [f"{name}-{number}" for number, name in enumerate(table["speaker"].to_pylist())]
    bank = espeak_corpus.opened(root, changed(table, "speaker", speakers))[0]
    assert list(plans(bank, "replace", True, count=10)) == []
    assert len(list(plans(bank, "insert", True, count=10))) == 10


@pytest.mark.parametrize("options", [{"num_words": (0, 2)}, {"num_words": (3, 2)}, {"num_words": (1, 6)}, {"language": "xx"}])
def test_impossible_ranges_are_refused(options):
    with pytest.raises(ValueError, match=r"num_words|there are wordings for en"):
        EditRange(**options)


def test_impossible_shares_are_refused():
    with pytest.raises(ValueError, match="shares"):
        OperationShares(insert=-1.0)
    with pytest.raises(ValueError, match="shares"):
        OperationShares(0.0, 0.0, 0.0, 0.0)
