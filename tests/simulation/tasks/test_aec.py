import math
from dataclasses import replace

import msgspec
import numpy as np
import pyarrow.compute as pc
import pytest

from simulation.acoustics.echo import PlaybackRange
from simulation.acoustics.loudspeaker import LoudspeakerRange
from simulation.acoustics.rooms import MeasuredRoom, RoomRange
from simulation.bank import Bank
from simulation.example import SourceError
from simulation.labels import disagreements
from simulation.seeds import Rng
from simulation.signals.levels import from_int16, ratio_db
from simulation.signals.mixing import activity
from simulation.tasks import aec
from simulation.tasks.aec import Config, ScenarioShares, Scene

LINEAR = LoudspeakerRange(linear_probability=1.0)
OVERDRIVEN = LoudspeakerRange(linear_probability=0.0, drive_db=(-6.0, 0.0))
STEADY = PlaybackRange(drift_probability=0.0, slip_probability=0.0)


def only(scenario: str, **more) -> Config:
    shares = dict.fromkeys(("double_talk", "far_end", "near_end", "path_change"), 0.0) | {scenario: 1.0}
    return replace(Config(scenarios=ScenarioShares(**shares)), **more)


def scene_of(bank, index: int, config: Config = Config()) -> Scene:  # noqa: B008
    return aec.draw(config, bank, Rng(0, "aec", index))


def examples(corpus, count: int, config: Config = Config()):  # noqa: B008
    bank, load = corpus
    for index in range(count):
        scene = scene_of(bank, index, config)
        yield scene, aec.render(scene, load)


def bank_of(bank: Bank, speakers: list[str]) -> Bank:
    """The corpus with only these speakers and all of its noise."""
    table = bank.table
    keep = pc.or_(pc.is_in(table["speaker"], pc.cast(speakers, "string")), pc.equal(table["role"], "noise"))
    return Bank(table.filter(keep), bank.sample_rate_hz)


def test_labels_requested_are_labels_measured(some_bank):
    for scene, example in examples(some_bank, 60):
        assert not disagreements(example.requested, example.measured)
        for name, wanted in example.requested.items():
            if name in ("ser_db", "snr_db", "enr_db", "reference_snr_db"):
                assert example.measured[name] == pytest.approx(wanted, abs=0.1)
            elif name.startswith("echo_delay"):
                assert example.measured[name] == pytest.approx(wanted, abs=1)
        assert {"active_share", "target_level_db", "rt60_s", "drr_db", "room_lag_samples"} <= example.measured.keys()
        assert ("ser_db" in example.requested) == (scene.scenario == "double_talk" or bool(scene.path and scene.near))


def test_ratios_are_those_of_the_stored_stems(some_bank):
    for scene, example in examples(some_bank, 12, only("double_talk", noise_probability=1.0)):
        near, echo, noise = (from_int16(example.stems[name]) for name in ("near", "echo", "noise"))
        assert ratio_db(near, echo, 16000) == pytest.approx(scene.ser_db, abs=0.1)
        assert ratio_db(near, noise, 16000) == pytest.approx(scene.snr_db, abs=0.1)


@pytest.mark.parametrize("target", ["early", "direct", "reverberant"])
def test_the_input_is_the_sum_of_its_parts_to_the_last_bit(some_bank, target):
    for scene, example in examples(some_bank, 15, replace(Config(), target=target)):
        audio = example.signals | example.stems
        whole = np.sum([audio[part].astype(int) for part in example.mixture_parts], axis=0)
        assert np.array_equal(whole, example.signals["input"])
        assert example.measured["stem_residual_db"] == -200
        assert ("near" in example.stems) == (target != "reverberant" and scene.near is not None)
        assert ("target" in example.mixture_parts) == (target == "reverberant" and scene.near is not None)
        assert set(example.stems) <= set(example.mixture_parts)


def test_all_signals_are_int16_as_long_as_the_input_and_do_not_clip(some_bank):
    for _, example in examples(some_bank, 15):
        for audio in (example.signals | example.stems).values():
            assert audio.dtype == np.int16 and audio.shape == (1, 80000)
            assert np.abs(audio.astype(int)).max() <= 0.99 * 32767 + 3
        assert {"input", "target", "reference"} == set(example.signals)


def test_scenarios_come_as_often_as_their_shares(tiny_bank):
    bank, _ = tiny_bank
    scenes = [scene_of(bank, index) for index in range(600)]
    for scenario, share in vars(ScenarioShares()).items():
        assert sum(scene.scenario == scenario for scene in scenes) / 600 == pytest.approx(share, abs=0.06)
    sent = [scene.far.placed.clip.role for scene in scenes if scene.far]
    assert 0.01 < sent.count("music") / len(sent) < 0.1


def test_far_end_single_talk_asks_for_silence(some_bank):
    for scene, example in examples(some_bank, 10, only("far_end")):
        assert scene.near is None and "near" not in example.stems
        assert not example.signals["target"].any()
        assert example.signals["reference"].any() and example.stems["echo"].any()
        assert example.measured["target_absent"] == 1 and example.measured["double_talk_share"] == 0
        assert "ser_db" not in example.requested and "snr_db" not in example.requested
        if scene.noise:
            assert example.measured["enr_db"] == pytest.approx(scene.snr_db - scene.ser_db, abs=0.1)


def test_near_end_single_talk_has_no_echo_whether_something_is_sent_or_not(some_bank):
    sent = 0
    for scene, example in examples(some_bank, 12, only("near_end", muted_probability=0.5)):
        assert "echo" not in example.stems and scene.path is None
        assert example.measured["echo_absent"] == 1
        assert not {"ser_db", "echo_delay_samples", "linear_erle_db"} & example.measured.keys()
        assert example.signals["target"].any()
        assert example.signals["reference"].any() == (scene.far is not None)
        sent += scene.far is not None
    assert 2 <= sent <= 10


def test_double_talk_is_at_the_same_time(some_bank):
    shares = [example.measured["double_talk_share"] for _, example in examples(some_bank, 40, only("double_talk"))]
    assert np.median(shares) > 0.25
    assert sum(share < 0.05 for share in shares) <= 2


def test_double_talk_share_counts_the_frames_of_both_stems(tiny_bank):
    for _, example in examples(tiny_bank, 5, only("double_talk")):
        both = [activity(from_int16(example.stems[name]), 16000).frames for name in ("near", "echo")]
        assert example.measured["double_talk_share"] == pytest.approx((both[0] & both[1]).mean(), abs=1e-4)


def found_delay(example) -> int:
    """Where the reference is found in the echo, knowing nothing of room and loudspeaker: plain cross-correlation."""
    echo, reference = (from_int16(audio)[0].astype(float) for audio in (example.stems["echo"], example.signals["reference"]))
    size = 2**18
    correlation = np.fft.irfft(np.fft.rfft(np.diff(echo), size) * np.conj(np.fft.rfft(np.diff(reference), size)), size)
    return int(np.argmax(np.abs(correlation[:8000])))


def test_the_delay_is_where_the_reference_is_found_in_the_echo(some_bank):
    """In a dead room, and with a flat box, no response has to be known to find it."""
    rooms = RoomRange(kind_shares=(1.0, 0.0, 0.0), rt60_s=(0.1, 0.12), measured_share=0.0)
    flat = replace(LINEAR, low_hz=(20.0, 21.0), high_hz=(15000.0, 16000.0))
    config = only("far_end", rooms=rooms, playback=STEADY, loudspeaker=flat, loudspeaker_distance_m=(0.1, 0.2))
    for scene, example in examples(some_bank, 10, config):
        assert found_delay(example) == pytest.approx(example.requested["echo_delay_samples"], abs=1)
        travel = example.requested["echo_delay_samples"] - scene.path.playback.delay_samples
        assert travel == round(scene.room.distance_m(0) / 343 * 16000)


def test_drifts_and_slips_are_drawn_and_keep_their_labels(some_bank):
    playback = PlaybackRange(drift_probability=0.5, slip_probability=0.7)
    slips = 0
    for scene, example in examples(some_bank, 25, only("far_end", playback=playback)):
        assert not disagreements(example.requested, example.measured)
        if "echo_delay2_samples" in example.requested:
            moved = example.requested["echo_delay2_samples"] - example.requested.get("echo_delay_samples", math.nan)
            assert moved == scene.path.playback.slip_samples or math.isnan(moved)
            slips += 1
    assert slips > 6


def test_without_overdrive_the_echo_is_linear_with_it_it_is_not(some_bank):
    told = 0
    for _, example in examples(some_bank, 12, only("far_end", loudspeaker=LINEAR, level_db=(-20.0, -18.0))):
        if "linear_erle_db" in example.measured:
            assert example.measured["linear_erle_db"] > 45
            told += 1
    assert told > 8
    for _, example in examples(some_bank, 12, only("far_end", loudspeaker=OVERDRIVEN)):
        assert example.measured.get("linear_erle_db", 10) < 30


def test_superposition_holds_for_the_stored_echoes_of_a_linear_loudspeaker(tiny_bank):
    """One path for three signals: the sum of the echoes is the echo of the sum, up to the step of 16 bit."""
    bank, load = tiny_bank
    scene = scene_of(bank, 1, only("far_end", loudspeaker=LINEAR, noise_probability=0.0))
    answers = aec.responses(scene.room, load, 16000)
    sent = [np.float32(0.2) * load(bank.clip(np.random.default_rng(n), row, 5.0)) for n, row in enumerate((2, 5))]
    sent = [np.pad(audio, ((0, 0), (0, 80000 - audio.shape[1])))[:, :80000] for audio in sent]
    one, other, both = (aec._echo(scene, audio, answers).audio for audio in (*sent, sent[0] + sent[1]))
    assert np.abs(both).max() > 1e-3
    assert np.abs(both - one - other).max() < 1 / 32767


def test_a_change_of_the_echo_path_shows(some_bank):
    config = only("path_change", moved_probability=0.5, loudspeaker=LINEAR, volume_change_db=(6.0, 12.0), playback=STEADY)
    moves, told = 0, 0
    for scene, example in examples(some_bank, 16, config):
        change = scene.path.change
        assert change.moved != bool(change.gain_db)
        assert ("echo_delay2_samples" in example.requested) <= change.moved
        moves += change.moved
        if {"stale_erle_db", "linear_erle_db"} <= example.measured.keys():
            assert example.measured["linear_erle_db"] > example.measured["stale_erle_db"] + 10
            told += 1
    assert 3 < moves < 13 and told > 8


def test_far_and_near_end_are_different_people_at_different_places(some_bank):
    bank, _ = some_bank
    for index in range(150):
        scene = scene_of(bank, index)
        assert (scene.near is not None) + (scene.far is not None) >= 1
        if scene.near and scene.far:
            assert scene.near.clip.speaker != scene.far.placed.clip.speaker or scene.far.placed.clip.role == "music"
        room = scene.room
        places = [clip.id for clip in room.clips] if isinstance(room, MeasuredRoom) else room.sources_m
        moved = bool(scene.path and scene.path.change and scene.path.change.moved)
        assert len(set(places)) == len(places) == (scene.near is not None) + (scene.path is not None) + moved


def test_the_loudspeaker_is_at_its_own_distance_in_the_same_room(tiny_bank):
    bank, _ = tiny_bank
    rooms = replace(Config().rooms, measured_share=0.0, distance_m=(1.5, 4.0), small_m=(5.0, 10.0))
    for index in range(30):
        room = scene_of(bank, index, only("double_talk", rooms=rooms, loudspeaker_distance_m=(0.1, 0.5))).room
        assert room.distance_m(0) > 1.4 and room.distance_m(1) < 0.51


def test_a_noisy_far_end_is_heard_in_the_reference(some_bank):
    for scene, example in examples(some_bank, 6, only("far_end", reference_noise_probability=1.0)):
        assert scene.far.noise
        assert example.measured["reference_snr_db"] == pytest.approx(scene.far.snr_db, abs=0.1)


def test_drawing_and_rendering_twice_is_the_same_and_so_is_a_scene_from_json(some_bank):
    bank, load = some_bank
    config = replace(Config(), playback=PlaybackRange(drift_probability=0.5, slip_probability=0.5))
    for index in range(12):
        scene = scene_of(bank, index, config)
        assert scene_of(bank, index, config) == scene
        again = msgspec.json.decode(msgspec.json.encode(scene), type=Scene)
        assert again == scene
        one, two = aec.render(scene, load), aec.render(again, load)
        for before, after in ((one.signals, two.signals), (one.stems, two.stems)):
            assert before.keys() == after.keys()
            assert all(np.array_equal(before[role], after[role]) for role in before)
        assert (one.requested, one.measured, one.texts) == (two.requested, two.measured, two.texts)


def test_a_known_transcript_of_the_near_end_comes_along(tiny_bank):
    bank, load = tiny_bank
    scene = scene_of(bank, 0, only("double_talk", duration_s=7.0))
    assert aec.render(scene, load).texts == {"transcript": scene.near.clip.text}
    far_end = scene_of(bank, 0, only("far_end", duration_s=7.0))
    assert aec.render(far_end, load).texts == {}


def test_a_corpus_of_one_speaker_is_refused_with_a_remedy(tiny_bank):
    bank, _ = tiny_bank
    with pytest.raises(ValueError, match=r"aec with a voice at either end needs speech of at least 2 speaker.* add"):
        scene_of(bank_of(bank, ["s0"]), 0)
    assert scene_of(bank_of(bank, ["s0", "s1"]), 0)


def test_a_corpus_without_noise_is_refused_with_a_remedy(tiny_bank):
    bank, _ = tiny_bank
    quiet = Bank(bank.table.filter(pc.not_equal(bank.table["role"], "noise")), 16000)
    with pytest.raises(ValueError, match=r"aec with noise needs noise of at least 1"):
        scene_of(quiet, 0, replace(Config(), noise_probability=1.0))
    silent = replace(Config(), noise_probability=0.0, reference_noise_probability=0.0)
    assert scene_of(quiet, 0, silent).noise is None


def test_a_silent_far_end_is_named(tiny_bank):
    bank, load = tiny_bank
    scene = scene_of(bank, 0, only("far_end"))
    clip = scene.far.placed.clip
    with pytest.raises(SourceError) as caught:
        aec.render(scene, lambda asked: np.zeros_like(load(asked)) if asked == clip else load(asked))
    assert caught.value.path == clip.path and caught.value.reason == "silent"


@pytest.mark.parametrize(
    "wrong",
    [
        {"duration_s": 0.5},
        {"music_probability": 1.5},
        {"ser_db": (5.0, -5.0)},
        {"loudspeaker_distance_m": (0.0, 1.0)},
        {"change_at": (0.5, 1.5)},
    ],
)
def test_a_configuration_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is "):
        Config(**wrong)
    with pytest.raises(ValueError, match="scenarios: "):
        ScenarioShares(0, 0, 0, 0)


def test_full_band(wide_bank):
    for scene, example in examples(wide_bank, 8):
        assert example.signals["input"].shape == (1, 240000)
        assert not disagreements(example.requested, example.measured)
        if scene.path:
            assert example.requested.get("echo_delay_samples", 0) <= 0.31 * 48000
