import dataclasses

import msgspec
import numpy as np
import pytest

from infra.config import from_json, to_json
from simulation.degradation import PUBLISHED, Degradations, Effect, apply
from simulation.effects.clip import Clip, ClipRange
from simulation.effects.gain import Gain
from simulation.effects.packet_loss import PacketLoss
from simulation.effects.wind import WindRange
from simulation.labels import disagreements
from simulation.seeds import Rng
from simulation.signals.alignment import delay_samples
from tests.simulation.effects.conftest import KINDS, noisy_voice

NUM_SAMPLES = 48000


def drawn(config: Degradations, count: int, sample_rate_hz: int = 16000) -> list[tuple[Effect, ...]]:
    return [config.draw(Rng(0, "t", index), sample_rate_hz, NUM_SAMPLES) for index in range(count)]


def kind(effect: Effect) -> str:
    return effect.__struct_config__.tag


def test_the_published_recipe_has_its_three_effects_in_their_shares_and_in_any_order():
    scenes = drawn(PUBLISHED, 2000)
    counts = {name: sum(name == kind(effect) for scene in scenes for effect in scene) / 2000 for name in KINDS}
    assert abs(counts.pop("clip") - 0.3) < 0.03
    assert abs(counts.pop("packet_loss") - 0.3) < 0.03
    assert abs(counts.pop("band_limit") - 0.2) < 0.03  # of 0.3, one in three is the task's own rate
    assert set(counts.values()) == {0}
    pairs = [[kind(effect) for effect in scene] for scene in scenes if len(scene) == 2]
    first = sum(pair[0] == "clip" for pair in pairs if sorted(pair) == ["clip", "packet_loss"])
    assert 0.35 < first / sum(sorted(pair) == ["clip", "packet_loss"] for pair in pairs) < 0.65


def test_the_published_effects_happen_with_published_settings():
    effects = [effect for scene in drawn(PUBLISHED, 500, 48000) for effect in scene]
    assert {effect.filter for effect in effects if kind(effect) == "band_limit"} == {"soxr_hq"}
    assert {effect.sample_rate_hz for effect in effects if kind(effect) == "band_limit"} == {4000, 8000, 16000}
    assert {effect.fill for effect in effects if kind(effect) == "packet_loss"} == {"zeros"}


def test_every_kind_happens_by_default():
    assert {kind(effect) for scene in drawn(Degradations(), 1500) for effect in scene} == set(KINDS)


def test_another_kind_of_effect_shifts_no_draw_and_no_order_of_the_others():
    without = Degradations(wind=WindRange(probability=0.0))
    with_wind = dataclasses.replace(without, wind=WindRange(probability=1.0))
    for plain, windy in zip(drawn(without, 300), drawn(with_wind, 300), strict=True):
        assert tuple(effect for effect in windy if kind(effect) != "wind") == plain
        assert kind(windy[0]) == "wind"  # it reaches the microphone with the sound


def test_a_wider_range_of_one_kind_leaves_the_others_alone():
    wide = Degradations(clip=ClipRange(low=(0.0, 0.2)))
    for usual, other in zip(drawn(Degradations(), 200), drawn(wide, 200), strict=True):
        assert [e for e in usual if kind(e) != "clip"] == [e for e in other if kind(e) != "clip"]


def test_scenes_survive_json():
    for scene in drawn(Degradations(), 200):
        assert msgspec.json.decode(msgspec.json.encode(scene), type=tuple[Effect, ...]) == scene


def test_configurations_survive_json():
    assert from_json(Degradations, to_json(PUBLISHED), "test") == PUBLISHED


def test_an_impossible_probability_is_refused_by_name():
    with pytest.raises(ValueError, match=r"clip\.probability is 1\.5"):
        Degradations(clip=ClipRange(probability=1.5))


def test_effects_are_applied_in_their_order_and_labelled():
    audio = noisy_voice(16000)
    clip, loss, gain = Clip(0.1, 0.9), PacketLoss(0.1, ((10, 7),)), Gain(-6.0)
    after, labels = apply((clip, loss, gain), audio, 16000)
    assert np.array_equal(after, gain(loss(clip(audio, 16000), 16000), 16000))
    assert labels.requested == {"clipped_share": pytest.approx(0.2), "lost_share": 0.1, "gain_db": -6.0, "dc_offset": 0.0}
    assert labels.measured == pytest.approx(labels.requested, abs=0.01)


def test_without_effects_nothing_changes():
    audio = noisy_voice(16000)
    after, labels = apply((), audio, 16000)
    assert np.array_equal(after, audio)
    assert (labels.requested, labels.measured) == ({}, {})


def test_kinds_do_not_share_a_label():
    labels = [label for scene in drawn(Degradations(), 400) for effect in scene for label in effect.requested()]
    owners = {(label, kind(effect)) for scene in drawn(Degradations(), 400) for effect in scene for label in effect.requested()}
    assert len(owners) == len(set(labels))


@pytest.mark.parametrize("config", [PUBLISHED, Degradations()], ids=["published", "default"])
def test_real_voices_come_out_on_time_and_as_labelled(config, real_bank):
    bank, load = real_bank
    for index in range(60):
        clip = bank.draw(Rng(1, "degradation", index)("voice"), "speech", 3.0)
        voice = load(clip)
        effects = config.draw(Rng(1, "degradation", index), 16000, voice.shape[1])
        after, labels = apply(effects, voice, 16000)
        assert delay_samples(after, voice, 16000) == 0, effects
        assert disagreements(labels.requested, labels.measured) == [], effects
