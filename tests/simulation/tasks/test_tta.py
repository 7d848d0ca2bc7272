import itertools

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from simulation.bank import Bank
from simulation.descriptions.ambiguity import clash, concept
from simulation.events.captions import ENGLISH, clause
from simulation.example import SourceError
from simulation.labels import disagreements
from simulation.seeds import Rng
from simulation.signals.levels import active_power, db, from_int16
from simulation.tasks.tta import MIN_TOGETHER, Config, KindShares, Scene, draw, render

KINDS = tuple(vars(KindShares()))


def only(kind: str, **options) -> Config:
    """The default configuration with one kind."""
    return Config(kinds=KindShares(**dict.fromkeys(KINDS, 0.0) | {kind: 1.0}), **options)


def rng(index: int) -> Rng:
    return Rng(5, "tta", index)


def examples(config: Config, corpus, count: int):
    bank, load = corpus
    for index in range(count):
        scene = draw(config, bank, rng(index))
        try:
            yield scene, render(scene, load)
        except SourceError as error:  # a pair of sounds that do not meet is drawn again
            assert scene.together, error


def changed(bank: Bank, **columns: str) -> Bank:
    """The bank with these texts in every row."""
    table = bank.table
    for name, text in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array([text] * table.num_rows))
    return Bank(table, bank.sample_rate_hz)


@pytest.mark.parametrize("kind", KINDS)
def test_there_is_a_target_and_a_text_and_nothing_to_begin_with(some_bank, kind):
    for scene, example in examples(only(kind), some_bank, 8):
        assert {"target"} <= set(example.signals) <= {"target", "reference"} and not example.stems and not example.mixture_parts
        assert set(example.texts) == {"kind", "transcript" if kind == "speech" else "caption"}
        assert example.texts["kind"] == kind and example.signals["target"].shape == (1, scene.num_samples)
        assert disagreements(example.requested, example.measured) == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_target_has_the_same_level_unless_its_peaks_forbid(some_bank, kind):
    for scene, example in examples(only(kind), some_bank, 12):
        found = db(active_power(from_int16(example.signals["target"]), scene.sample_rate_hz))
        lost = example.measured["limited_db"]
        assert found == pytest.approx(-23 - lost, abs=0.3) and ("level_db" in example.requested) == (lost == 0)
        peak = np.abs(example.signals["target"].astype(int)).max()
        assert peak <= 0.99 * 32767 + 1 and (lost == 0 or peak > 0.98 * 32767)


def test_speech_is_the_whole_utterance_that_its_transcript_is_of(some_bank):
    bank, _ = some_bank
    for scene, _ in examples(only("speech"), some_bank, 12):
        clip = scene.sounds[0].clip
        row = bank.table["id"].index(clip.id).as_py()
        assert clip.start_frame == 0 and clip.num_frames == bank.value(row, "num_frames")
        assert scene.text.lower() == bank.value(row, "text").strip().lower() and not scene.text.isupper()
        assert 1 <= clip.num_frames / clip.sample_rate_hz <= 15


def test_a_reference_is_another_utterance_of_the_speaker(some_bank):
    seen = 0
    for scene, example in examples(only("speech", reference_probability=1.0, reference_s=3.0), some_bank, 12):
        if scene.reference:
            seen += 1
            clip = scene.sounds[0].clip
            assert scene.reference.speaker == clip.speaker != "" and scene.reference.id != clip.id and not scene.reference.text
            assert example.signals["reference"].shape[1] <= 3 * scene.sample_rate_hz + 1
            assert example.measured["reference_level_db"] == pytest.approx(-23, abs=0.1)
    assert seen >= 6


def test_without_a_speaker_known_there_is_no_reference(tiny_bank):
    bank, load = tiny_bank
    nobody = changed(bank, speaker="")
    for scene, example in examples(only("speech", reference_probability=1.0), (nobody, load), 4):
        assert scene.reference is None and set(example.signals) == {"target"}


def test_sounds_in_order_are_heard_in_the_order_of_their_caption(some_bank):
    for scene, example in examples(only("events", together_probability=0.0), some_bank, 12):
        told = [scene.text.lower().index(clause(sound.clip, "", ENGLISH).lower()) for sound in scene.sounds]
        assert told == sorted(told) and len(set(told)) == len(told) >= 2
        rate = scene.sample_rate_hz
        spans = [(sound.start, sound.start + sound.clip.num_samples(rate)) for sound in scene.sounds]
        for one, other in itertools.pairwise(spans):
            assert 0.2 * rate <= other[0] - one[1] <= 1.0 * rate + 1
            between = example.signals["target"][0, one[1] : other[0]]
            assert not between.any()  # silence, so that the order is heard
        assert example.measured["order_share"] == 1.0 and scene.num_samples <= 10 * rate + 3


def test_sounds_told_as_simultaneous_are_heard_together(some_bank):
    seen = 0
    for scene, example in examples(only("events", together_probability=1.0), some_bank, 12):
        seen += 1
        assert len(scene.sounds) == 2 and example.measured["together_share"] >= MIN_TOGETHER
        assert not any(word in scene.text.lower() for word in (" then ", " after "))
    assert seen >= 6


def test_composed_sounds_are_not_taken_for_each_other(some_bank):
    bank, _ = some_bank
    for index in range(200):
        clips = [sound.clip for sound in draw(only("events"), bank, rng(index)).sounds]
        for a, b in itertools.combinations(clips, 2):
            assert not clash(*(concept(c.role, c.label, c.caption) for c in (a, b)), 0.1)


def test_a_caption_of_several_steps_serves_for_the_whole_file_only(tiny_bank):
    bank, _ = tiny_bank
    steps = changed(bank, caption="It starts, then it stops.")
    for index in range(10):
        whole = draw(only("event"), steps, rng(index))
        assert whole.text == "It starts, then it stops."
        cut = draw(
            only("event", duration_s=1.45, num_events=(2, 2), gap_s=(0.2, 0.2), utterance_s=(1.0, 15.0)), steps, rng(index)
        )
        assert cut.sounds[0].clip.num_frames == round(1.45 * 16000) and "then" not in cut.text
        several = draw(only("events", together_probability=0.0), steps, rng(index))
        assert "starts" not in several.text


def test_kinds_that_the_corpus_has_come_as_often_as_their_shares(tiny_bank):
    bank, _ = tiny_bank
    kinds = [draw(Config(), bank, rng(index)).kind for index in range(600)]
    for kind, share in vars(KindShares()).items():
        assert kinds.count(kind) / 600 == pytest.approx(share, abs=0.06)


def test_transcripts_in_capitals_are_stored_in_sentence_case(tiny_bank):
    bank, _ = tiny_bank
    loud = changed(bank, text="WELL I'M SURE I DO")
    assert draw(only("speech"), loud, rng(0)).text == "Well I'm sure I do"


def test_a_text_that_nobody_can_read_in_that_time_is_refused_by_name(tiny_bank):
    bank, load = tiny_bank
    scene = draw(only("speech"), changed(bank, text="word " * 400), rng(0))
    with pytest.raises(SourceError, match="of sound for"):
        render(scene, load)


def test_a_scene_is_the_same_whenever_it_is_drawn_and_renders_the_same_from_its_json(tiny_bank):
    bank, load = tiny_bank
    for index in range(12):
        scene = draw(Config(), bank, rng(index))
        assert draw(Config(), bank, rng(index)) == scene
        again = msgspec.json.decode(msgspec.json.encode(scene), type=Scene)
        assert again == scene
        if scene.together:
            continue
        one, other = render(scene, load), render(again, load)
        assert one.measured == other.measured and one.texts == other.texts
        for role, audio in one.signals.items():
            assert np.array_equal(audio, other.signals[role])


def test_at_48_khz_the_same_laws_hold(wide_bank):
    for scene, example in examples(Config(), wide_bank, 6):
        assert scene.sample_rate_hz == 48000 and disagreements(example.requested, example.measured) == []


def test_a_corpus_without_texts_says_what_to_fill_in(tiny_bank):
    bank, _ = tiny_bank
    bare = changed(bank, text="", caption="", label="", labels="{}")
    with pytest.raises(ValueError, match="column `text`"):
        draw(only("speech"), bare, rng(0))
    with pytest.raises(ValueError, match="caption"):
        draw(only("event"), bare, rng(0))
    with pytest.raises(ValueError, match="caption"):
        draw(only("events"), bare, rng(0))
    only_speech = Bank(bank.table.filter(pa.compute.equal(bank.table["role"], "speech")), 16000)
    with pytest.raises(ValueError, match="tta needs music"):
        draw(only("music"), only_speech, rng(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_events": (1, 2)}, "num_events"),
        ({"gap_s": (0.0, 1.0)}, "gap_s"),
        ({"utterance_s": (5.0, 1.0)}, "utterance_s"),
        ({"duration_s": 1.0}, "duration_s"),
        ({"together_probability": 1.5}, "together_probability"),
        ({"language": "xx"}, "there are wordings for en"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)


def test_impossible_shares_are_refused():
    with pytest.raises(ValueError, match="shares"):
        KindShares(speech=-1.0)
