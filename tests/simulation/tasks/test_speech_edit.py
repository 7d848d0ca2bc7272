import dataclasses
import json

import msgspec
import numpy as np
import pytest

from simulation.example import Example
from simulation.labels import disagreements
from simulation.seeds import Rng
from simulation.signals.levels import active_power
from simulation.speech_editing.edits import apply
from simulation.speech_editing.instructions import ENGLISH
from simulation.speech_editing.rewording import EditRange, OperationShares
from simulation.speech_editing.splicing import gaps_between
from simulation.tasks.speech_edit import Config, Scene, _cut, _sources, draw, render
from tests.simulation import espeak_corpus
from tests.simulation.espeak_corpus import changed
from tests.simulation.instruction_readings import readings

OPERATIONS = ("insert", "delete", "replace", "move")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("espeak")
    return root, espeak_corpus.write(root)


@pytest.fixture(scope="module")
def espeak(corpus):
    return espeak_corpus.opened(*corpus)


def only(operation: str, **options) -> Config:
    shares = OperationShares(**{name: float(name == operation) for name in OPERATIONS})
    return Config(edits=EditRange(operations=shares, **options))


def examples(config, opened, count) -> list[tuple[Scene, Example]]:
    bank, load = opened
    scenes = [draw(config, bank, Rng(0, "speech_edit", index)) for index in range(count)]
    return [(scene, render(scene, load)) for scene in scenes]


@pytest.fixture(scope="module")
def made(espeak):
    """Sixty examples of all operations."""
    return examples(Config(), espeak, 60)


def edit_map(example: Example) -> list[list]:
    return json.loads(example.texts["edit_map"])


def transcripts(example: Example) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(tuple(example.texts[f"{role}_transcript"].split()) for role in ("input", "target"))


def test_all_labels_keep_to_their_requests(made):
    for _, example in made:
        assert disagreements(example.requested, example.measured) == []
        assert example.measured["unchanged_share"] == 1.0
        assert example.measured["join_click_db"] < 6


def test_every_operation_comes(made):
    assert {example.texts["operation"] for _, example in made} == set(OPERATIONS)


def test_the_instruction_read_back_makes_the_target_transcript_of_the_input_transcript(made):
    for _, example in made:
        before, after = transcripts(example)
        results = set()
        for reading in readings(example.texts["instruction"], ENGLISH):
            try:
                results.add(apply(reading, before))
            except ValueError:
                continue
        assert results == {after}, example.texts


def test_the_edit_map_tiles_both_sides_and_what_it_calls_equal_is_the_same_to_the_bit(made):
    for _, example in made:
        rows = edit_map(example)
        for role, column in (("input", 1), ("target", 3)):
            spans = [tuple(row[column : column + 2]) for row in rows]
            assert gaps_between(spans, example.signals[role].shape[1]) == []
            assert sum(end - start for start, end in spans) == example.signals[role].shape[1]
        for kind, *spans in rows:
            assert kind in ("equal", "move", "join", example.texts["operation"])
            if kind in ("equal", "move"):
                before, after = example.signals["input"][:, slice(*spans[:2])], example.signals["target"][:, slice(*spans[2:])]
                assert np.array_equal(before, after)


def test_of_the_natural_side_the_edited_words_are_in_edited_spans_and_all_others_in_equal_ones(made):
    for scene, example in made:
        kept = {number for part in scene.spliced if part.source == "utterance" for number in range(part.first, part.past)}
        column = 1 if scene.natural == "input" else 3
        rows = edit_map(example)
        for number, (word, start_s, end_s) in enumerate(scene.utterance.words):
            middle = round((start_s + end_s) / 2 * scene.sample_rate_hz)
            kind = next(row[0] for row in rows if row[column] <= middle < row[column + 1])
            if end_s - start_s > 0.1:  # a shorter one may lie in a fade
                assert (kind in ("equal", "move")) == (number in kept), (word, rows)


def test_a_moved_phrase_is_called_so_on_both_sides(espeak):
    for scene, example in examples(only("move"), espeak, 12):
        moved = [row for row in edit_map(example) if row[0] == "move"]
        assert len(moved) == 1 and moved[0][2] - moved[0][1] == moved[0][4] - moved[0][3]
        assert moved[0][1] != moved[0][3]
        assert scene.natural == "target"
        assert abs(example.measured["edit_s"]) < 0.05


def test_the_natural_side_is_the_recording_under_one_gain(made, espeak):
    for scene, example in made[:20]:
        recorded = espeak[1](scene.utterance.clip)[0].astype(float)
        stored = example.signals[scene.natural][0].astype(float)
        gain = (recorded @ stored) / (recorded @ recorded)
        assert np.abs(stored - gain * recorded).max() <= 1.5


def test_only_a_share_of_deletions_has_a_spliced_target(espeak):
    for operation in OPERATIONS:
        natural = {scene.natural for scene, _ in examples(only(operation, delete_natural_share=1.0), espeak, 8)}
        assert natural == {"target"}
    assert {scene.natural for scene, _ in examples(only("delete", delete_natural_share=0.0), espeak, 8)} == {"input"}


def test_insertions_lengthen_and_deletions_shorten_by_about_the_words(espeak):
    for scene, example in examples(only("insert"), espeak, 12):
        start = next(part.past for part in scene.spliced) if scene.spliced[0].first == 0 else 0
        words = scene.utterance.words[start : start + len(scene.edit.words)]
        spoken_s = words[-1][2] - words[0][1]
        assert spoken_s - 0.1 < example.measured["edit_s"] < spoken_s + 0.6  # and half of the pauses around
        assert example.signals["target"].shape[1] > example.signals["input"].shape[1]
    for _, example in examples(only("delete"), espeak, 12):
        assert example.signals["target"].shape[1] < example.signals["input"].shape[1]


def test_no_word_is_cut(made, espeak):
    for scene, _ in made:
        sources = _sources(scene, espeak[1])
        for part in scene.spliced:
            spoken = scene.donor if part.source == "donor" else scene.utterance
            for number in (part.first, part.past):
                at = _cut(scene, sources, part.source, number)
                low, high = spoken.gap(number, len(sources[int(part.source == "donor")]), scene.sample_rate_hz)
                assert low - 0.03 * scene.sample_rate_hz <= at <= high + 0.03 * scene.sample_rate_hz


def test_fades_last_5_to_15_ms(made):
    for scene, example in made:
        assert 5 <= scene.fade_ms <= 15
        joins = [row for row in edit_map(example) if row[0] not in ("equal", "move")]
        if scene.edit.operation == "insert":
            (row,) = joins
            assert row[2] - row[1] <= 0.0155 * scene.sample_rate_hz * 1.2


def test_words_put_in_are_at_the_level_of_those_around_them_however_loud_their_file_is(espeak):
    bank, load = espeak
    for index in range(8):
        scene = draw(only("replace"), bank, Rng(0, "speech_edit", index))

        def louder(clip, scene=scene):
            return load(clip) * np.float32(1.8 if clip.id == scene.donor.clip.id else 1.0)

        one, other = render(scene, load), render(scene, louder)
        difference = one.signals["input"].astype(int) - other.signals["input"].astype(int)
        assert np.abs(difference).max() <= 2
        (row,) = (row for row in edit_map(one) if row[0] == "replace")
        powers = [
            active_power(one.signals[role][:, slice(*span)].astype(np.float32), 16000)
            for role, span in (("input", row[1:3]), ("target", row[3:5]))
        ]
        assert abs(10 * np.log10(powers[0] / powers[1])) < 12


def test_a_scene_is_the_same_whenever_it_is_drawn_and_renders_the_same_from_its_json(espeak):
    bank, load = espeak
    for index in range(10):
        scene = draw(Config(), bank, Rng(0, "speech_edit", index))
        assert draw(Config(), bank, Rng(0, "speech_edit", index)) == scene
        again = msgspec.json.decode(msgspec.json.encode(scene), type=Scene)
        assert again == scene
        one, other = render(scene, load), render(again, load)
        assert one.measured == other.measured and one.texts == other.texts
        assert all(np.array_equal(one.signals[role], other.signals[role]) for role in ("input", "target"))


def test_at_48_khz_the_same_laws_hold(corpus):
    for scene, example in examples(Config(), espeak_corpus.opened(*corpus, 48000), 8):
        assert scene.sample_rate_hz == 48000
        assert disagreements(example.requested, example.measured) == []
        seconds = scene.utterance.clip.num_frames / scene.utterance.clip.sample_rate_hz
        assert example.signals[scene.natural].shape[1] == pytest.approx(48000 * seconds, abs=2)


def test_nothing_clips_and_both_sides_are_heard(made):
    for _, example in made:
        for signal in example.signals.values():
            assert 300 < np.abs(signal.astype(int)).max() <= 0.99 * 32767 + 3
        assert example.measured["active_share"] > 0.3
        assert example.measured["quiet_words"] == 0


def test_long_recordings_are_cut_at_pauses(espeak):
    for scene, example in examples(dataclasses.replace(only("insert"), max_duration_s=2.5, min_words=3), espeak, 10):
        assert example.signals["target"].shape[1] <= 2.51 * 16000
        assert len(scene.utterance.words) >= 3


def test_a_corpus_without_word_times_is_refused_with_the_remedy(tiny_bank):
    with pytest.raises(ValueError, match=r"column `words`.*make align.*pipelines\.align"):
        draw(Config(), tiny_bank[0], Rng(0, "speech_edit", 0))


def test_a_corpus_of_one_file_a_speaker_is_refused_for_replacements_with_the_remedy(corpus):
    root, table = corpus
    speakers = [f"{name}-{number}" for number, name in enumerate(table["speaker"].to_pylist())]
    bank = espeak_corpus.opened(root, changed(table, "speaker", speakers))[0]
    with pytest.raises(ValueError, match=r"same speaker and session.*--task\.edits\.operations\.replace 0"):
        draw(only("replace"), bank, Rng(0, "speech_edit", 0))
    assert draw(only("insert"), bank, Rng(0, "speech_edit", 0))


def test_too_short_transcripts_are_refused_with_the_remedy(espeak):
    with pytest.raises(ValueError, match=r"of 40 words.*--task\.min-words"):
        draw(dataclasses.replace(only("insert"), min_words=40), espeak[0], Rng(0, "speech_edit", 0))


@pytest.mark.parametrize(
    "options", [{"min_words": 2}, {"max_duration_s": 0.0}, {"fade_ms": (3.0, 10.0)}, {"fade_ms": (9.0, 8.0)}]
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Config(**options)
