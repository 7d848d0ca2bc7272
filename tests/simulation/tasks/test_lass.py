import itertools
import json

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from simulation.bank import Bank
from simulation.descriptions.ambiguity import clash, concept
from simulation.descriptions.distinct import SourceRange, facts, voice_of
from simulation.example import SourceError
from simulation.labels import disagreements
from simulation.seeds import Rng
from simulation.signals.levels import from_int16, ratio_db
from simulation.tasks.lass import PRESETS, Config, QueryShares, Scene, draw, render

ONLY = {
    kind: QueryShares(**(dict.fromkeys(("caption", "label", "removal", "pair"), 0.0) | {kind: 1.0}))
    for kind in vars(QueryShares())
}


def rng(index: int) -> Rng:
    return Rng(5, "lass", index)


def examples(config: Config, corpus, count: int):
    bank, load = corpus
    for index in range(count):
        scene = draw(config, bank, rng(index))
        yield scene, render(scene, load)


def audio(example, role: str) -> np.ndarray:
    return (example.signals | example.stems)[role]


def test_the_input_is_the_sum_of_its_parts_to_the_last_bit(tiny_bank):
    for _, example in examples(Config(), tiny_bank, 12):
        total = sum(audio(example, part).astype(int) for part in example.mixture_parts)
        assert np.array_equal(total, example.signals["input"])
        assert example.measured["stem_residual_db"] == -200
        assert {*example.stems} == {*example.mixture_parts} - {"target"}


def test_the_target_of_a_removal_and_what_was_removed_are_the_input(tiny_bank):
    for scene, example in examples(Config(queries=ONLY["removal"], noise_probability=1.0), tiny_bank, 6):
        assert scene.query_kind == "removal" and scene.noise
        left = example.signals["input"].astype(int) - example.signals["target"]
        assert np.array_equal(left, example.stems["source1"])


def test_the_target_of_a_query_for_two_is_the_sum_of_the_two(tiny_bank):
    for scene, example in examples(Config(queries=ONLY["pair"]), tiny_bank, 6):
        assert len(scene.sources) >= 3
        both = example.stems["source1"].astype(int) + example.stems["source2"]
        assert np.array_equal(both, example.signals["target"])


@pytest.mark.parametrize("kind", ["caption", "label"])
def test_the_target_of_a_query_for_one_is_that_source(tiny_bank, kind):
    for scene, example in examples(Config(queries=ONLY[kind]), tiny_bank, 4):
        assert scene.query_kind == kind and example.mixture_parts[0] == "target" and "source1" not in example.stems


def test_the_measured_snr_is_the_requested_one(some_bank):
    for scene, example in examples(Config(), some_bank, 50):
        rest = example.signals["input"] - example.signals["target"]
        found = ratio_db(from_int16(example.signals["target"]), from_int16(rest), scene.sample_rate_hz)
        assert found == pytest.approx(scene.snr_db, abs=0.1)
        assert example.measured["snr_db"] == pytest.approx(found, abs=1e-3)
        assert disagreements(example.requested, example.measured) == []


def test_target_and_input_are_heard_and_do_not_clip(some_bank):
    for _, example in examples(Config(), some_bank, 15):
        for signal in example.signals.values():
            assert 300 < np.abs(signal.astype(int)).max() <= 0.99 * 32767 + 3
        assert example.measured["active_share"] * 5 >= 0.1
        assert 0 <= example.measured["overlap_share"] <= 1


def test_a_room_reverberates_target_and_input_alike(tiny_bank):
    for scene, example in examples(Config(reverberation_probability=1.0, queries=ONLY["label"]), tiny_bank, 3):
        assert scene.room and "rt60_s" in example.measured
        assert example.measured["snr_db"] == pytest.approx(scene.snr_db, abs=0.1)
        total = sum(audio(example, part).astype(int) for part in example.mixture_parts)
        assert np.array_equal(total, example.signals["input"])


def meant_by(bank: Bank, clip):
    where = bank.table["id"].index(clip.id).as_py()
    known = facts(bank, where)
    return concept(
        clip.role, clip.label, clip.caption, str(known.get("category", "")), voice_of(known) if clip.role == "speech" else ""
    )


def test_no_two_sounds_of_a_mixture_have_a_class_or_kind_in_common(some_bank):
    bank, _ = some_bank
    for index in range(500):
        scene = draw(Config(noise_probability=0.5), bank, rng(index))
        clips = [source.placed.clip for source in scene.sources] + ([scene.noise] if scene.noise else [])
        for a, b in itertools.combinations(clips, 2):
            assert not (a.label and a.label == b.label)
            assert not clash(meant_by(bank, a), meant_by(bank, b), 0.1), (a.label, a.caption, b.label, b.caption)


def test_each_kind_of_query_comes_as_often_as_its_share(some_bank):
    bank, _ = some_bank
    kinds = [draw(Config(), bank, rng(index)).query_kind for index in range(600)]
    for kind, share in vars(QueryShares()).items():
        assert kinds.count(kind) / 600 == pytest.approx(share, abs=0.08)


def test_texts_say_query_target_and_mixture(tiny_bank):
    for scene, example in examples(Config(queries=ONLY["removal"], num_sources=(2, 2), noise_probability=0.0), tiny_bank, 4):
        assert example.texts["caption"] == scene.query
        said = example.texts["mixture_caption"]
        assert said.endswith(example.texts["target_caption"]) and said != example.texts["target_caption"]


def test_a_scene_is_the_same_whenever_it_is_drawn_and_renders_the_same_from_its_json(tiny_bank):
    bank, load = tiny_bank
    for index in range(6):
        scene = draw(Config(reverberation_probability=0.5), bank, rng(index))
        assert draw(Config(reverberation_probability=0.5), bank, rng(index)) == scene
        again = msgspec.json.decode(msgspec.json.encode(scene), type=Scene)
        assert again == scene
        one, other = render(scene, load), render(again, load)
        assert one.measured == other.measured and one.texts == other.texts
        for role in (*one.signals, *one.stems):
            assert np.array_equal(audio(one, role), audio(other, role))


def test_at_48_khz_the_same_laws_hold(wide_bank):
    for scene, example in examples(Config(), wide_bank, 3):
        assert scene.sample_rate_hz == 48000 and example.signals["target"].shape == (1, 240000)
        assert example.measured["snr_db"] == pytest.approx(scene.snr_db, abs=0.1)


def test_the_published_preset_mixes_two_captioned_sources(tiny_bank):
    for scene, _ in examples(PRESETS["published"], tiny_bank, 10):
        assert len(scene.sources) == 2 and scene.query_kind == "caption" and not scene.noise and abs(scene.snr_db) <= 10


def test_sources_mostly_sound_together_with_the_first(some_bank):
    bank, _ = some_bank
    shared = []
    for index in range(200):
        scene = draw(Config(overlap_probability=1.0), bank, rng(index))
        first, *others = [
            (source.placed.at_sample, source.placed.at_sample + source.placed.clip.num_samples(16000))
            for source in scene.sources
        ]
        for start, end in others:
            shorter = min(end - start, first[1] - first[0])
            shared.append((min(end, first[1]) - max(start, first[0]) + 1) / shorter)
            assert start >= 0 and end <= scene.num_samples + 1
    assert min(shared) >= 0.5


def test_a_stretch_without_sound_is_refused_by_name(tiny_bank):
    bank, load = tiny_bank
    scene = draw(Config(), bank, rng(0))
    with pytest.raises(SourceError, match="silent") as caught:
        render(scene, lambda clip: load(clip) * np.float32(0))
    assert caught.value.source_id == scene.sources[0].placed.clip.id

    def click(clip):
        quiet = load(clip) * np.float32(0)
        quiet[0, 1000:1100] = 0.5
        return quiet

    with pytest.raises(SourceError, match=r"too_short.*0\.1 s are needed"):
        render(scene, click)


def changed(bank: Bank, **columns: str) -> Bank:
    """The bank with these texts in every row."""
    table = bank.table
    for name, text in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array([text] * table.num_rows))
    return Bank(table, bank.sample_rate_hz)


def test_without_captions_class_names_serve_and_without_both_the_error_says_what_to_fill_in(tiny_bank):
    bank, load = tiny_bank
    events = Config(sources=SourceRange(speech=0.0, music=0.0), num_sources=(2, 2), noise_probability=0.0)
    scene = draw(events, changed(bank, caption=""), rng(0))
    assert scene.query_kind in ("label", "removal") and render(scene, load).texts["target_caption"].startswith("The ")
    with pytest.raises(ValueError, match="caption or label: fill the column `caption`"):
        draw(events, changed(bank, caption="", label="", labels=json.dumps({})), rng(0))


def test_a_corpus_of_one_class_says_that_it_has_too_few(tiny_bank):
    bank, _ = tiny_bank
    with pytest.raises(ValueError, match="too few distinct classes"):
        draw(Config(sources=SourceRange(speech=0.0, music=0.0)), changed(bank, label="dog", caption="A dog barks."), rng(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_sources": (1, 2)}, "num_sources"),
        ({"num_sources": (3, 2)}, "num_sources"),
        ({"language": "xx"}, "there are wordings for en"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)


def test_impossible_shares_of_queries_are_refused():
    with pytest.raises(ValueError, match="shares"):
        QueryShares(caption=-1.0)
