from dataclasses import replace

import msgspec
import numpy as np
import pytest

from simulation.acoustics.rooms import MeasuredRoom, RoomRange
from simulation.effects.band_limit import BandLimitRange
from simulation.example import Clip, SourceError
from simulation.labels import disagreements
from simulation.seeds import Rng
from simulation.signals.levels import active_power, from_int16
from simulation.talkers.voices import Mix, MixRange, draw_voices, mixed, rarely

RATE_HZ = 16000
QUIET = replace(MixRange(), noise_probability=0.0, reverberation_probability=0.0)


def mixture_of(bank, load, config: MixRange, index: int, count: int = 3, loudest: float = 1.0):
    """A mixture of so many voices, each from the start, and the Mix that it was made from."""
    rng = Rng(0, "test", index)
    clips, mix = draw_voices(bank, rng, count, config.duration_s), config.draw_mix(bank, rng, count)
    dry = [np.zeros((1, mix.num_samples), np.float32) for _ in clips]
    for out, clip in zip(dry, clips, strict=True):
        audio = load(clip)
        out[:, : audio.shape[1]] = loudest * audio
    return mix, mixed(mix, clips, dry, load)


def test_voices_are_of_different_named_speakers_none_of_them_excluded(tiny_bank):
    bank, _ = tiny_bank
    for index in range(50):
        speakers = [clip.speaker for clip in draw_voices(bank, Rng(0, "t", index), 3, 5.0, exclude=("s0", "s1"))]
        assert sorted(speakers) == ["s2", "s3", "s4"]


def test_labels_hold_for_any_number_of_voices_with_room_noise_and_channel(some_bank):
    config = replace(MixRange(), reverberation_probability=0.5)
    for index in range(20):
        _, mixture = mixture_of(*some_bank, config, index, count=2 + index % 2)
        assert not disagreements(mixture.requested, mixture.measured)


def test_a_ratio_holds_when_a_frame_is_active_before_rounding_to_16_bit_and_not_after():
    clips = [Clip(name, name, "speech", RATE_HZ, 0, 3200, "CC0 1.0", "0" * 64) for name in "ab"]
    mix = Mix(sample_rate_hz=RATE_HZ, num_samples=3200, level_db=-36.0, sir_db=(3.0,), target="reverberant")
    for seed in range(40):
        rng = np.random.default_rng(seed)
        voices = rng.normal(size=(2, 1, 10, 320))
        voices /= np.sqrt(np.square(voices).mean(axis=-1, keepdims=True))
        voices[:, :, 5] *= 10 ** ((-40 + rng.uniform(-0.004, 0.004, (2, 1, 1))) / 20)  # just about active
        dry = list((0.1 * voices).reshape(2, 1, 3200).astype(np.float32))
        assert mixed(mix, clips, dry, None).measured["sir_db"] == pytest.approx(3, abs=0.05)


def test_the_first_voice_is_at_its_level_at_the_microphone(some_bank):
    loud = replace(MixRange(), level_db=(-30.0, -30.0), sir_db=(0.0, 0.0), noise_probability=0.0, reverberation_probability=0.5)
    for index in range(10):
        mix, mixture = mixture_of(*some_bank, replace(loud, degradations=rarely()), index)
        if mix.effects:
            continue
        for voice in mixture.voices:
            assert 10 * np.log10(active_power(from_int16(voice), RATE_HZ)) == pytest.approx(-30, abs=0.05)


def test_nothing_that_a_task_may_store_is_clipped_however_loud(some_bank):
    config = replace(QUIET, level_db=(0.0, 3.0), reverberation_probability=0.5)
    for index in range(10):
        _, mixture = mixture_of(*some_bank, config, index)
        for group in (mixture.voices, mixture.targets):
            for parts in (group, group[1:], *[[part] for part in group]):
                whole = np.sum([part.astype(int) for part in parts], axis=0)
                assert np.abs(whole).max() <= 0.99 * 32767 + 2
        assert np.abs(mixture.input.astype(int)).max() <= 0.99 * 32767 + 2


def test_no_two_voices_share_a_place_in_drawn_or_measured_rooms(some_bank):
    bank, _ = some_bank
    config = replace(MixRange(), rooms=RoomRange(measured_share=0.7))
    kinds = set()
    for index in range(60):
        room = config.draw_room(bank, Rng(0, "t", index), 3)
        places = [clip.id for clip in room.clips] if isinstance(room, MeasuredRoom) else room.sources_m
        assert len(set(places)) == 3
        kinds.add(type(room))
    assert len(kinds) == 2 or len(bank.members["rir"].rows) < 3


def test_a_silent_voice_is_refused_by_name(tiny_bank):
    with pytest.raises(SourceError, match="no active frame") as refused:
        mixture_of(*tiny_bank, QUIET, 0, loudest=0.0)
    assert refused.value.reason == "silent"


def test_a_mix_survives_json(tiny_bank):
    bank, _ = tiny_bank
    config = replace(MixRange(), degradations=replace(rarely(), band_limit=BandLimitRange(probability=1.0)))
    drawn = [config.draw_mix(bank, Rng(0, "t", index), 2) for index in range(20)]
    assert any(mix.effects for mix in drawn)
    assert any(mix.room for mix in drawn)
    assert [msgspec.json.decode(msgspec.json.encode(mix), type=Mix) for mix in drawn] == drawn


def test_the_channel_is_mostly_sound():
    usual = rarely()
    assert 0 < sum(getattr(usual, name).probability for name in usual.names()) < 0.25


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"noise_probability": 1.5}, "noise_probability is 1.5"),
        ({"sir_db": (5.0, -5.0)}, "lower bound first"),
        ({"duration_s": 0.0}, "duration_s"),
    ],
)
def test_ranges_that_cannot_be_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        MixRange(**wrong)
