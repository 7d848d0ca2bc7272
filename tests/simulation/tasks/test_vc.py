from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from simulation.bank import Bank
from simulation.example import REASONS, Clip, SourceError
from simulation.labels import disagreements
from simulation.seeds import Rng, stored_noise
from simulation.tasks import vc
from simulation.tasks.vc import PRESETS, Config, Scene
from simulation.voice_conversion import converter as converters
from tests.simulation.made_speech import said

RATE_HZ = 16000
PLAIN = Config(parallel_probability=0.0, noise_probability=0.0, reverberation_probability=0.0)
PARALLEL = replace(PLAIN, parallel_probability=1.0)
DIRTY = replace(PLAIN, noise_probability=1.0, reverberation_probability=0.5)


def scene_of(bank, index: int, config: Config = PLAIN) -> Scene:
    return vc.draw(config, bank, Rng(0, "vc", index))


SPEAKERS = {"low": (105, 1.0, 1.0), "high": (205, 1.16, 0.9), "child": (270, 1.3, 1.1)}  # pitch, formants, duration


class Made:
    """A corpus whose speech is made on the spot: three speakers who say the same three texts, and noise."""

    def __init__(self, sample_rate_hz: int = RATE_HZ):
        self.sample_rate_hz, rows = sample_rate_hz, []
        self.audio = {"noise": stored_noise(1, (1, 2 * sample_rate_hz)) * np.float32(0.1)}
        for speaker, (pitch_hz, ratio, stretch) in SPEAKERS.items():
            for text in range(3):
                name = f"{speaker}{text}"
                made = {"pitch_hz": pitch_hz, "ratio": ratio, "stretch": stretch, "seed": text}
                self.audio[name] = said(**made, sample_rate_hz=sample_rate_hz)
                rows.append({"id": name, "role": "speech", "speaker": speaker, "text": f"Text {text}."})
        rows.append({"id": "noise", "role": "noise", "speaker": "", "text": ""})
        for row in rows:
            row |= {"path": f"{row['id']}.flac", "group": row["speaker"], "label": "", "caption": "", "licence": "CC0 1.0"}
            row |= {"sha256": "0" * 64, "sample_rate_hz": sample_rate_hz, "num_frames": self.audio[row["id"]].shape[1]}
        self.table = pa.Table.from_pylist(rows)
        self.bank = Bank(self.table, sample_rate_hz)

    def load(self, clip: Clip) -> np.ndarray:
        return self.audio[clip.id][:, clip.start_frame : clip.start_frame + clip.num_frames]


@pytest.fixture(scope="module")
def made() -> Made:
    return Made()


def rendered(bank, load, indices: range, config: Config = PLAIN) -> list[tuple[Scene, vc.Example]]:
    """Scenes and examples, without those that a source could not serve: at most one in ten."""
    found = []
    for index in indices:
        scene = scene_of(bank, index, config)
        try:
            found.append((scene, vc.render(scene, load)))
        except SourceError as error:
            assert error.reason in REASONS
    assert len(found) >= 0.9 * len(indices)
    return found


def test_labels_requested_are_labels_measured_on_fifty_scenes(real_bank):
    for scene, example in rendered(*real_bank, range(50), Config()):
        assert not disagreements(example.requested, example.measured)
        assert {
            "speaker_distance_input",
            "speaker_distance_target",
            "timing_error_ms",
            "active_share",
        } <= example.measured.keys()
        if scene.disguise and "pitch_shift_semitones" in example.requested:
            shift = example.requested["pitch_shift_semitones"]
            assert example.measured["pitch_shift_semitones"] == pytest.approx(shift, abs=0.5)
            assert abs(shift) > 1
        assert example.measured["level_difference_db"] == pytest.approx(0, abs=0.2)


def test_input_and_target_are_the_same_words_at_the_same_time(real_bank):
    for _, example in rendered(*real_bank, range(30)):
        assert example.signals["input"].shape == example.signals["target"].shape
        assert example.measured["timing_error_ms"] < 20 and abs(example.measured["lag_ms"]) < 5
        assert example.measured["envelope_correlation"] > 0.9


def test_the_input_is_further_from_the_reference_than_the_target_is(real_bank):
    distances = [
        (example.measured["speaker_distance_input"], example.measured["speaker_distance_target"])
        for _, example in rendered(*real_bank, range(60))
    ]
    assert np.mean([changed > own for changed, own in distances]) > 0.85
    assert np.mean([changed for changed, _ in distances]) > 1.5 * np.mean([own for _, own in distances])


def test_the_target_is_the_file_itself_but_for_one_gain(made):
    for scene, example in rendered(made.bank, made.load, range(5)):
        own, target = made.load(scene.target)[0], example.signals["target"][0].astype(float)
        gain = float(own @ target / (own @ own))
        assert np.abs(target - gain * own).max() <= 0.51


def test_the_reference_is_another_file_of_the_speaker(some_bank):
    bank, _ = some_bank
    for index in range(100):
        scene = scene_of(bank, index)
        assert scene.reference.clip.speaker == scene.target.speaker != ""
        assert scene.reference.clip.id != scene.target.id and scene.reference.clip.path != scene.target.path


def test_the_same_draw_gives_the_same_scene_and_samples(made):
    for index in range(4):
        one, other = scene_of(made.bank, index, DIRTY), scene_of(made.bank, index, DIRTY)
        assert one == other
        first, second = vc.render(one, made.load), vc.render(other, made.load)
        assert first.measured == second.measured
        for role, audio in first.signals.items():
            assert np.array_equal(audio, second.signals[role])


def test_a_scene_from_json_renders_to_the_same_samples(made):
    for config in (PLAIN, DIRTY, PARALLEL):
        scene = scene_of(made.bank, 1, config)
        again = msgspec.json.decode(msgspec.json.encode(scene), type=Scene)
        assert again == scene
        one, other = vc.render(scene, made.load), vc.render(again, made.load)
        assert one.requested == other.requested and one.measured == other.measured
        assert all(np.array_equal(audio, other.signals[role]) for role, audio in one.signals.items())


def test_a_noisy_input_is_the_sum_of_its_parts_and_the_target_is_clean(made):
    for scene, example in rendered(made.bank, made.load, range(6), DIRTY):
        whole = sum(example.stems[part].astype(int) for part in example.mixture_parts)
        assert np.array_equal(whole, example.signals["input"])
        assert example.measured["snr_db"] == pytest.approx(scene.snr_db, abs=0.1)
        assert np.mean(example.signals["target"][0][-600:].astype(float) ** 2) < 1  # its last pause is silent
    assert {scene.room is None for scene, _ in rendered(made.bank, made.load, range(6), DIRTY)} == {True, False}


def test_parallel_texts_give_another_speakers_voice_in_the_targets_time(real_bank):
    bank, load = real_bank
    for scene, example in rendered(bank, load, range(20), PARALLEL):
        assert scene.reading and scene.disguise is None
        assert scene.reading.speaker != scene.target.speaker
        assert example.signals["input"].shape == example.signals["target"].shape
        assert example.measured["timing_error_ms"] < 40 and "pitch_shift_semitones" not in example.requested


def test_without_parallel_texts_voices_are_disguised_instead(tiny_bank):
    bank, _ = tiny_bank
    assert all(scene_of(bank, index, PARALLEL).disguise for index in range(10))


def test_other_words_under_the_same_text_are_refused(real_bank):
    bank, load = real_bank
    scenes = [scene_of(bank, index, PARALLEL) for index in range(12)]
    refused = []
    for scene, other in pairwise(scenes):
        if other.reading.text != scene.reading.text:
            try:
                vc.render(msgspec.structs.replace(scene, reading=other.reading), load)
                refused.append(False)
            except SourceError as error:
                refused.append(error.reason == "not_followed" and "spectral_likeness" in str(error))
    assert len(refused) > 6 and np.mean(refused) > 0.8


class Down:
    """A converter: slower formants by a disguise of its own, whatever the voice."""

    version = "7"

    def __call__(self, audio, sample_rate_hz, voice):
        return scene_of(Made().bank, 3).disguise(audio, sample_rate_hz).audio


def test_a_converter_of_ones_own_makes_the_input(made):
    config = replace(PLAIN, converter=f"{__name__}:Down", converter_probability=1.0)
    converters.converter.cache_clear()
    scene = scene_of(made.bank, 0, config)
    assert scene.conversion.version == "7" and scene.conversion.voice.speaker != scene.target.speaker
    again = msgspec.json.decode(msgspec.json.encode(scene), type=Scene)
    one, other = vc.render(scene, made.load), vc.render(again, made.load)
    assert np.array_equal(one.signals["input"], other.signals["input"])
    assert one.measured["speaker_distance_input"] > one.measured["speaker_distance_target"]
    with pytest.raises(ValueError, match="drawn for '8'"):
        vc.render(msgspec.structs.replace(scene, conversion=msgspec.structs.replace(scene.conversion, version="8")), made.load)


def test_a_wrong_converter_is_refused_before_anything_is_made(made):
    with pytest.raises(ValueError, match="PYTHONPATH"):
        [scene_of(made.bank, n, replace(PLAIN, converter="nowhere.at_all:f", converter_probability=1.0)) for n in range(3)]


def test_speakers_with_one_clip_are_refused_with_the_remedy(tiny_bank):
    bank, _ = tiny_bank
    speakers = bank.table["speaker"].to_pylist()
    first = [speakers.index(speaker) for speaker in sorted(set(speakers) - {""})]
    with pytest.raises(ValueError, match=r"at least 2 speech files.*add files of the same speakers"):
        scene_of(Bank(bank.table.take(first), RATE_HZ), 0)
    with pytest.raises(ValueError, match="vc needs speech"):
        scene_of(Bank(bank.table.filter(pc.not_equal(bank.table["role"], "speech")), RATE_HZ), 0)


def test_files_of_nobody_in_particular_are_not_one_speaker(made):
    table = made.table.drop_columns(["speaker"]).append_column("speaker", pa.array([""] * made.table.num_rows))
    with pytest.raises(ValueError, match="named speaker"):
        scene_of(Bank(table, RATE_HZ), 0)


@pytest.mark.parametrize(
    "reason, audio",
    [
        ("unvoiced", stored_noise(1, (1, 32000)) * np.float32(0.1)),
        ("unvoiced", np.zeros((1, 32000), np.float32)),
        ("too_short", said()[:, :4000]),
    ],
)
def test_what_cannot_serve_is_refused_with_its_reason(made, reason, audio):
    scene = scene_of(made.bank, 0)
    broken = {**made.audio, scene.target.id: audio}
    with pytest.raises(SourceError) as caught:
        vc.render(scene, lambda clip: broken[clip.id])
    assert caught.value.reason == reason and caught.value.source_id == scene.target.id


def test_a_silent_reference_or_noise_is_refused_by_name(made):
    scene = scene_of(made.bank, 0, replace(PLAIN, noise_probability=1.0))
    for clip in (scene.reference.clip, scene.noise):
        broken = {**made.audio, clip.id: np.zeros((1, 32000), np.float32)}
        with pytest.raises(SourceError) as caught:
            vc.render(scene, lambda wanted, broken=broken: broken[wanted.id])
        assert caught.value.reason == "silent" and caught.value.source_id == clip.id


def test_an_utterance_is_never_padded_and_never_longer_than_asked(some_bank):
    bank, load = some_bank
    for scene, example in rendered(bank, load, range(10), replace(PLAIN, duration_s=3.0)):
        assert example.signals["input"].shape[1] == scene.target.num_samples(RATE_HZ) <= 3 * RATE_HZ


def test_48_khz_works(wide_bank):
    bank, load = wide_bank
    for _, example in rendered(bank, load, range(4), Config()):
        assert not disagreements(example.requested, example.measured)


def test_the_vocoder_preset_is_made_by_the_vocoder(made):
    config = replace(PRESETS["vocoder"], parallel_probability=0.0)
    for scene, example in rendered(made.bank, made.load, range(2), config):
        assert scene.disguise.method == "world"
        assert not disagreements(example.requested, example.measured)
