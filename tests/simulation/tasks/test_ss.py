from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np
import pyarrow.compute as pc
import pytest

from simulation.acoustics.rooms import MeasuredRoom
from simulation.bank import Bank
from simulation.labels import disagreements
from simulation.seeds import Rng
from simulation.signals.levels import active_frames, from_int16
from simulation.talkers.overlap import extent
from simulation.tasks import ss
from simulation.tasks.ss import PRESETS, Config, Scene

CLEAN = Config(
    degradations=replace(
        Config().degradations,
        **{name: replace(getattr(Config().degradations, name), probability=0.0) for name in Config().degradations.names()},
    )
)
DRY = replace(CLEAN, reverberation_probability=0.0, noise_probability=0.0)


def scene_of(bank, index: int, config: Config = CLEAN) -> Scene:
    return ss.draw(config, bank, Rng(1, "ss", index))


def test_labels_requested_are_labels_measured_on_fifty_scenes(some_bank):
    bank, load = some_bank
    for index in range(50):
        example = ss.render(scene_of(bank, index, Config()), load)
        assert not disagreements(example.requested, example.measured)
        for name, wanted in example.requested.items():
            if name.startswith(("sir", "snr")):
                assert example.measured[name] == pytest.approx(wanted, abs=0.1)


@pytest.mark.parametrize("third", [0.0, 1.0])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_stored_sources_overlap_as_asked_whatever_their_pauses(some_bank, share, third):
    bank, load = some_bank
    config = replace(DRY, overlap_share=(share, share), full_overlap_probability=0.0, third_voice_probability=third)
    for index in range(8):
        example = ss.render(scene_of(bank, index, config), load)
        voices = np.zeros(250, int)
        for role, audio in example.signals.items():
            if role.startswith("source"):
                first, past = extent(active_frames(from_int16(audio), 16000))
                voices[first:past] += 1
        assert (voices > 1).sum() / (voices > 0).sum() == pytest.approx(share, abs=0.05)
        assert example.measured["overlap_share"] == pytest.approx(share, abs=0.05)


def test_sources_come_in_the_order_in_which_they_begin(some_bank):
    bank, load = some_bank
    for index in range(20):
        signals = ss.render(scene_of(bank, index, replace(DRY, full_overlap_probability=0.0)), load).signals
        sources = [signals[role] for role in sorted(signals) if role.startswith("source")]
        starts = [extent(active_frames(from_int16(audio), 16000))[0] for audio in sources]
        assert all(later >= earlier - 1 for earlier, later in pairwise(starts))


def test_the_input_is_the_sum_of_its_parts_to_the_last_bit(some_bank):
    bank, load = some_bank
    for index in range(20):
        example = ss.render(scene_of(bank, index), load)
        audio = example.signals | example.stems
        whole = np.sum([audio[part].astype(int) for part in example.mixture_parts], axis=0)
        assert np.array_equal(whole, example.signals["input"])


def test_two_and_three_voices_come_as_often_as_asked_with_all_their_stems(tiny_bank):
    bank, load = tiny_bank
    config = replace(CLEAN, third_voice_probability=0.5, reverberation_probability=1.0)
    counts = [len(scene_of(bank, index, config).voices) for index in range(200)]
    assert 70 < counts.count(3) < 130
    for index in range(4):
        example = ss.render(scene_of(bank, index, config), load)
        numbers = range(1, counts[index] + 1)
        assert list(example.signals) == ["input", *(f"source{number}" for number in numbers)]
        assert {f"speech{number}" for number in numbers} <= example.stems.keys()


def test_every_voice_is_somebody_else_at_a_place_of_their_own(some_bank):
    bank, _ = some_bank
    config = replace(CLEAN, third_voice_probability=0.5, reverberation_probability=1.0)
    for index in range(60):
        scene = scene_of(bank, index, config)
        assert len({clip.speaker for clip in scene.voices}) == len(scene.voices)
        room = scene.mix.room
        places = [clip.id for clip in room.clips] if isinstance(room, MeasuredRoom) else room.sources_m
        assert len(set(places)) == len(scene.voices)


def test_drawing_twice_and_a_scene_from_json_give_the_same_samples(some_bank):
    bank, load = some_bank
    for index in range(10):
        scene = scene_of(bank, index, Config())
        assert scene_of(bank, index, Config()) == scene
        again = msgspec.json.decode(msgspec.json.encode(scene), type=Scene)
        assert again == scene
        one, other = ss.render(scene, load), ss.render(again, load)
        assert all(np.array_equal(one.signals[role], other.signals[role]) for role in one.signals)
        assert one.measured == other.measured


def test_a_voice_that_is_cut_keeps_no_transcript_and_one_that_is_not_does(tiny_bank):
    bank, load = tiny_bank
    config = replace(DRY, duration_s=13.0, overlap_share=(0.0, 0.0), full_overlap_probability=0.0, third_voice_probability=0.0)
    scene = scene_of(bank, 0, config)
    assert ss.render(scene, load).texts == {f"transcript{n}": clip.text for n, clip in enumerate(scene.voices, 1)}
    scene = scene_of(bank, 0, replace(config, duration_s=6.5))
    crowded = msgspec.structs.replace(scene, mix=msgspec.structs.replace(scene.mix, num_samples=32000))
    assert ss.render(crowded, load).texts == {}


def test_a_cut_voice_fades_instead_of_clicking(some_bank):
    bank, load = some_bank
    config = replace(DRY, overlap_share=(0.3, 0.3), full_overlap_probability=0.0)
    for index in range(10):
        scene = scene_of(bank, index, config)
        for voice in ss.lay(scene, [load(clip) for clip in scene.voices]):
            inside = np.flatnonzero(voice.audio[0])
            for end in (inside[0], inside[-1]):
                if 0 < end < voice.audio.shape[1] - 1:
                    assert abs(voice.audio[0, end]) < 0.02 * np.abs(voice.audio).max()


def test_too_few_speakers_are_refused_with_a_remedy(tiny_bank):
    bank, _ = tiny_bank
    table = bank.table.filter(pc.is_in(bank.table["speaker"], pc.cast(["s0"], "string")))
    with pytest.raises(ValueError, match=r"ss with 3 voices needs speech of at least 3 speaker.* add"):
        scene_of(Bank(table, 16000), 0)


def test_full_band(wide_bank):
    bank, load = wide_bank
    for index in range(5):
        example = ss.render(scene_of(bank, index), load)
        assert example.signals["input"].shape == (1, 240000)
        assert not disagreements(example.requested, example.measured)


def test_an_overlap_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="overlap_share"):
        Config(overlap_share=(0.5, 1.5))


def test_the_published_recipe_is_two_voices_all_the_time(some_bank):
    bank, _ = some_bank
    scenes = [scene_of(bank, index, PRESETS["published"]) for index in range(20)]
    assert {len(scene.voices) for scene in scenes} == {2}
    assert {scene.overlap_share for scene in scenes} == {1.0}
