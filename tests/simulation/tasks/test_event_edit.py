import itertools
import json

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from simulation.bank import Bank
from simulation.descriptions.ambiguity import clash, concept
from simulation.descriptions.distinct import SourceRange, facts, voice_of
from simulation.descriptions.queries import ENGLISH, sounds
from simulation.events.captions import ENGLISH as ENGLISH_CAPTIONS
from simulation.events.captions import clause
from simulation.events.operations import OPERATIONS, OperationRange
from simulation.example import SourceError
from simulation.labels import disagreements
from simulation.seeds import Rng
from simulation.signals.levels import from_int16, power
from simulation.tasks.event_edit import AFTER, STEADY, Config, Scene, draw, render


def only(operation: str, **options) -> Config:
    """The default configuration with one operation."""
    return Config(operations=OperationRange(**dict.fromkeys(OPERATIONS, 0.0) | {operation: 1.0}), **options)


def rng(index: int) -> Rng:
    return Rng(5, "event_edit", index)


def examples(config: Config, corpus, count: int):
    bank, load = corpus
    for index in range(count):
        scene = draw(config, bank, rng(index))
        yield scene, render(scene, load)


def outside(scene: Scene) -> np.ndarray:
    """The samples that the map leaves out."""
    found = np.ones(scene.num_samples, bool)
    for start, end in scene.changed:
        found[start:end] = False
    return found


def summed(example, names) -> np.ndarray:
    return sum(example.stems[name].astype(int) for name in names)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_outside_the_map_input_and_target_are_the_same_bits_and_inside_they_are_not(some_bank, operation):
    for scene, example in examples(only(operation), some_bank, 12):
        same = (example.signals["input"] == example.signals["target"])[0]
        assert same[outside(scene)].all() and outside(scene).any()
        for start, end in scene.changed:
            assert 0 <= start < end <= scene.num_samples and not same[start:end].all()
        assert example.measured["unchanged_share"] == 1.0 and disagreements(example.requested, example.measured) == []


@pytest.mark.parametrize("operation", OPERATIONS)
def test_both_sides_are_the_sums_of_their_parts_to_the_last_bit(tiny_bank, operation):
    for scene, example in examples(only(operation, noise_probability=0.5), tiny_bank, 5):
        assert np.array_equal(summed(example, example.mixture_parts), example.signals["input"])
        after = ["background"] if scene.noise else []
        for number, sound in enumerate(scene.sounds, 1):
            after += [f"event{number}{AFTER}" if sound.edited else f"event{number}"] if sound.after else []
        assert np.array_equal(summed(example, after), example.signals["target"])
        assert {*example.mixture_parts, *after} == set(example.stems) and example.measured["stem_residual_db"] == -200


def test_the_map_is_where_the_edited_sounds_are(tiny_bank):
    bank, _ = tiny_bank
    for index in range(200):
        scene = draw(Config(), bank, rng(index))
        inside = ~outside(scene)
        for sound in scene.sounds:
            for span in (sound.before, sound.after) if sound.edited else ():
                assert span is None or inside[slice(*span)].all()
        spans = [span for sound in scene.sounds if sound.edited for span in (sound.before, sound.after) if span]
        assert inside.sum() <= sum(end - start for start, end in spans)
        assert {start for start, _ in scene.changed} <= {start for start, _ in spans}


def test_what_is_added_was_not_there_and_what_is_removed_is_gone(tiny_bank):
    for scene, example in examples(only("add"), tiny_bank, 5):
        added = example.signals["target"].astype(int) - example.signals["input"]
        assert np.array_equal(added, example.stems["event1_after"]) and scene.sounds[0].before is None
    for scene, example in examples(only("remove"), tiny_bank, 5):
        gone = example.signals["input"].astype(int) - example.signals["target"]
        assert np.array_equal(gone, example.stems["event1"]) and scene.sounds[0].after is None
        assert np.abs(example.signals["target"]).max() > 0


def test_what_replaces_a_sound_begins_when_that_did(tiny_bank):
    for scene, example in examples(only("replace"), tiny_bank, 5):
        old, new = scene.sounds[:2]
        assert old.after is None is new.before and old.before[0] == new.after[0]
        assert {"event1", "event2_after"} <= set(example.stems) and "event1_after" not in example.stems


def test_what_is_moved_is_the_same_samples_at_another_time(tiny_bank):
    for scene, example in examples(only("reorder"), tiny_bank, 12):
        for number, sound in enumerate(scene.sounds, 1):
            if sound.edited:
                one, other = example.stems[f"event{number}"], example.stems[f"event{number}{AFTER}"]
                assert np.array_equal(one[:, slice(*sound.before)], other[:, slice(*sound.after)])
                assert example.measured[f"event{number}_moved_samples"] == sound.after[0] - sound.before[0] != 0
        assert example.measured["order_share"] == 1.0


@pytest.mark.parametrize("operation", ["louder", "quieter"])
def test_the_level_changes_by_what_is_said(some_bank, operation):
    for scene, example in examples(only(operation), some_bank, 12):
        one, other = (from_int16(example.stems[name]) for name in ("event1", "event1_after"))
        found = 10 * np.log10(power(other) / power(one))
        assert found == pytest.approx(scene.sounds[0].gain_db, abs=0.1)
        assert example.measured["event1_change_db"] == pytest.approx(scene.sounds[0].gain_db, abs=0.1)
        if scene.kind.endswith("_by"):
            assert f"{abs(scene.sounds[0].gain_db):g} d" in scene.instruction


@pytest.mark.parametrize("operation", ["faster", "slower"])
def test_the_speed_changes_by_what_is_said_and_the_level_does_not(some_bank, operation):
    for scene, example in examples(only(operation), some_bank, 10):
        sound = scene.sounds[0]
        before, after = (end - start for start, end in (sound.before, sound.after))
        assert before / after == pytest.approx(sound.speed, rel=1e-3) and sound.before[0] == sound.after[0]
        assert example.measured["speed_ratio"] == pytest.approx(sound.speed, rel=0.1)
        assert example.measured["event1_change_db"] == pytest.approx(0, abs=0.1)


def heard_from_to(audio: np.ndarray) -> tuple[int, int]:
    """First and last sample within 26 dB of the peak."""
    loud = np.flatnonzero(np.abs(audio[0]) > 0.05 * np.abs(audio).max())
    return int(loud[0]), int(loud[-1])


def test_the_order_that_the_captions_tell_is_heard(some_bank):
    bank, _ = some_bank
    for scene, example in examples(only("reorder", noise_probability=0.0), some_bank, 12):
        for side, caption in enumerate((scene.input_caption, scene.target_caption)):
            heard = []
            for number, sound in enumerate(scene.sounds, 1):
                told = clause(sound.clip, meant_by(bank, sound.clip)[1], ENGLISH_CAPTIONS)
                name = f"event{number}" + (AFTER if side and sound.edited else "")
                heard.append((heard_from_to(example.stems[name]), caption.lower().index(told.lower())))
            heard.sort()
            for (one, told_one), (other, told_other) in itertools.pairwise(heard):
                assert one[1] < other[0] and told_one < told_other
        assert scene.input_caption != scene.target_caption


def meant_by(bank: Bank, clip):
    known = facts(bank, bank.table["id"].index(clip.id).as_py())
    voice = voice_of(known) if clip.role == "speech" else ""
    return concept(clip.role, clip.label, clip.caption, str(known.get("category", "")), voice), voice


def test_each_name_in_an_instruction_fits_one_sound_only_and_that_is_the_edited_one(some_bank):
    bank, _ = some_bank
    for index in range(300):
        scene = draw(Config(), bank, rng(index))
        clips = [sound.clip for sound in scene.sounds] + ([scene.noise] if scene.noise else [])
        for a, b in itertools.combinations(clips, 2):
            assert not clash(meant_by(bank, a)[0], meant_by(bank, b)[0], 0.1), (a.caption, b.caption)
        if scene.operation != "add":
            names = sounds(clips[0], meant_by(bank, clips[0])[1], ENGLISH)
            assert any(name in scene.instruction for name in names), scene.instruction


def test_sounds_without_a_tempo_are_not_made_faster(some_bank):
    bank, _ = some_bank
    for index in range(60):
        scene = draw(only("faster"), bank, rng(index))
        assert not meant_by(bank, scene.sounds[0].clip)[0].kinds & STEADY


def test_each_sound_is_above_the_background_by_what_was_asked(some_bank):
    for scene, example in examples(Config(noise_probability=1.0), some_bank, 20):
        for number, sound in enumerate(scene.sounds if scene.noise else (), 1):
            assert example.requested[f"event{number}_snr_db"] == pytest.approx(sound.level_db - scene.noise_db)
            assert example.measured[f"event{number}_snr_db"] == pytest.approx(
                example.requested[f"event{number}_snr_db"] + sound.gain_db * (sound.before is None), abs=0.1
            )


def test_scenes_have_as_many_sounds_as_allowed_and_are_as_long(some_bank):
    bank, _ = some_bank
    for index in range(200):
        scene = draw(Config(), bank, rng(index))
        before = [sound for sound in scene.sounds if sound.before]
        assert 1 <= len(before) <= 4 and 5 * 16000 <= scene.num_samples <= 10 * 16000
        assert len(before) >= 2 or (scene.operation != "reorder" and (scene.noise or scene.operation != "remove"))


def test_neither_side_clips(some_bank):
    for _, example in examples(only("louder", level_db=(-6.0, -6.0)), some_bank, 6):
        for signal in example.signals.values():
            assert 300 < np.abs(signal.astype(int)).max() <= 0.99 * 32767 + 5


def test_a_scene_is_the_same_whenever_it_is_drawn_and_renders_the_same_from_its_json(tiny_bank):
    bank, load = tiny_bank
    for index in range(16):
        scene = draw(Config(), bank, rng(index))
        assert draw(Config(), bank, rng(index)) == scene
        again = msgspec.json.decode(msgspec.json.encode(scene), type=Scene)
        assert again == scene
        one, other = render(scene, load), render(again, load)
        assert one.measured == other.measured and one.texts == other.texts
        for name, audio in (one.signals | one.stems).items():
            assert np.array_equal(audio, (other.signals | other.stems)[name])


def test_at_48_khz_the_same_laws_hold(wide_bank):
    for scene, example in examples(Config(), wide_bank, 5):
        assert scene.sample_rate_hz == 48000 and disagreements(example.requested, example.measured) == []
        assert (example.signals["input"] == example.signals["target"])[0, outside(scene)].all()


def changed(bank: Bank, **columns: str) -> Bank:
    """The bank with these texts in every row."""
    table = bank.table
    for name, text in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array([text] * table.num_rows))
    return Bank(table, bank.sample_rate_hz)


def test_classes_serve_without_captions_and_without_both_the_error_says_what_to_fill_in(tiny_bank):
    bank, load = tiny_bank
    config = Config(sources=SourceRange(speech=0.0, music=0.0), num_events=(1, 2), noise_probability=0.0)
    scene = draw(config, changed(bank, caption=""), rng(0))
    assert render(scene, load).texts["instruction"]
    with pytest.raises(ValueError, match="caption"):
        draw(config, changed(bank, caption="", label="", labels=json.dumps({})), rng(0))


def test_a_corpus_of_steady_sounds_cannot_be_sped_up_and_the_error_says_so(tiny_bank):
    bank, _ = tiny_bank
    rain = changed(bank, label="rain", caption="Rain is falling.")
    with pytest.raises(ValueError, match=r"speed can be heard \(faster\).*operations.faster 0"):
        draw(only("faster", sources=SourceRange(speech=0.0, music=0.0), num_events=(1, 1), noise_probability=0.0), rain, rng(0))


def test_silence_is_refused_by_name(tiny_bank):
    bank, load = tiny_bank
    scene = draw(Config(noise_probability=0.0), bank, rng(0))
    with pytest.raises(SourceError, match="silent"):
        render(scene, lambda clip: load(clip) * np.float32(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_events": (0, 2)}, "num_events"),
        ({"num_events": (3, 2)}, "num_events"),
        ({"duration_s": (1.0, 2.0)}, "duration_s"),
        ({"balance_db": (3.0, -3.0)}, "balance_db"),
        ({"language": "xx"}, "there are wordings for en"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)
