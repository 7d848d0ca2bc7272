import dataclasses
import io

import numpy as np
import pytest
import soundfile
import soxr

from tests.training.data.conftest import RATE_HZ, sound
from training.data.crops import Clip, Cropping, centred, draw
from training.data.quarantine import Rejected
from training.keys import generator

CROPPING = Cropping(RATE_HZ, 800)


def clip_of(frames: np.ndarray, sample_rate_hz: int = RATE_HZ, kind: str = "FLAC", subtype: str | None = None) -> Clip:
    buffer = io.BytesIO()
    soundfile.write(buffer, frames, sample_rate_hz, format=kind, subtype=subtype)
    return Clip("a", buffer.getvalue(), "shard.tar/a.flac", sample_rate_hz, len(frames))


class Starts:
    """Draws of a known crop: it starts where it is told to."""

    def __init__(self, start: int):
        self.start = start

    def random(self) -> float:
        return 0.5

    def integers(self, low: int, high: int) -> int:
        assert low <= self.start < high
        return self.start


def reason(clip: Clip, cropping: Cropping = CROPPING) -> str:
    with pytest.raises(Rejected, match=clip.where) as caught:
        draw(clip, cropping, generator(0))
    assert caught.value.key == clip.key
    return caught.value.reason


def test_a_crop_is_a_stretch_of_the_clip_scaled_to_its_peak():
    frames = sound(0, 1.0)
    wave = draw(clip_of(frames), Cropping(RATE_HZ, 800, peak=(0.1, 0.3)), Starts(1234))
    assert (wave.shape, wave.dtype) == ((1, 800), np.float32)
    expected = frames[1234:2034] / np.abs(frames[1234:2034]).max()
    assert np.allclose(wave[0], 0.2 * expected, atol=1e-6)


def test_starts_and_peaks_cover_their_ranges():
    clip = clip_of(np.arange(8000, dtype=np.int16) + 8000)  # every sample tells its place
    waves = [draw(clip, CROPPING, generator(number)) for number in range(200)]
    starts = np.array([wave[0, 0] / wave[0, -1] for wave in waves])  # grows with the place
    assert starts.min() < (8000 + 300) / (8799 + 300)
    assert starts.max() > (15200 - 300) / (15999 - 300)
    peaks = np.array([wave.max() for wave in waves])
    assert peaks.min() < 0.15
    assert peaks.max() > 0.95


def test_a_crop_is_that_of_its_key():
    clip = clip_of(sound(0, 1.0))
    assert np.array_equal(draw(clip, CROPPING, generator(3)), draw(clip, CROPPING, generator(3)))
    assert not np.array_equal(draw(clip, CROPPING, generator(3)), draw(clip, CROPPING, generator(4)))


@pytest.mark.parametrize("rates", [(44100, 16000), (16000, 48000), (22050, 24000), (48000, 8000), (8000, 48000)])
def test_a_resampled_crop_equals_that_of_the_whole_clip_resampled(rates):
    source, target = rates
    frames = sound(1, 2.0, source)
    whole = soxr.resample(frames / np.float32(2**15), source, target, quality="HQ")
    clip, cropping = clip_of(frames, source), Cropping(target, target // 10)
    for start in (0, 1, target // 3, len(whole) - target // 10):
        crop = draw(clip, cropping, Starts(start))[0]
        expected = whole[start : start + target // 10]
        assert np.abs(crop / np.abs(crop).max() - expected / np.abs(expected).max()).max() < 1e-5


@pytest.mark.parametrize("sample_rate_hz", [8000, 44100])
def test_a_clip_shorter_than_a_crop_is_whole(sample_rate_hz):
    clip = clip_of(sound(0, 0.05, sample_rate_hz), sample_rate_hz)
    wave = draw(clip, CROPPING, generator(0))
    assert wave.shape == (1, clip.num_samples(RATE_HZ)) == (1, 400)


@pytest.mark.parametrize(("kind", "subtype"), [("FLAC", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "PCM_16"), ("OGG", "VORBIS")])
def test_any_format_that_soundfile_reads_serves(kind, subtype):
    clip = clip_of(sound(0, 1.0) / 2**15, kind=kind, subtype=subtype)
    frames, _ = soundfile.read(io.BytesIO(clip.file), dtype="float32")
    middle = centred(clip, CROPPING)[0]
    assert np.abs(middle - frames[3600:4400]).max() < (0.1 if kind == "OGG" else 1e-6)


def test_stereo_is_averaged_or_kept_and_mono_is_doubled():
    left, right = sound(0, 0.1), sound(1, 0.1)
    stereo, mono = clip_of(np.stack([left, right], axis=1)), clip_of(left)
    both = np.stack([left, right]) / np.float32(2**15)
    assert np.allclose(centred(stereo, CROPPING)[0], both.mean(axis=0))
    assert np.allclose(centred(stereo, Cropping(RATE_HZ, 800, num_channels=2)), both)
    assert np.allclose(centred(mono, Cropping(RATE_HZ, 800, num_channels=2)), both[[0, 0]])


def test_the_middle_of_a_clip_is_at_its_own_level():
    frames = sound(0, 1.0)
    assert np.array_equal(centred(clip_of(frames), CROPPING)[0], frames[3600:4400] / np.float32(2**15))


def test_a_crop_is_where_there_is_sound():
    frames = np.zeros(10 * RATE_HZ, np.int16)
    frames[70_000:70_400] = sound(0, 0.05)
    for number in range(20):
        assert np.abs(draw(clip_of(frames), CROPPING, generator(number))).max() > 0.09


def test_silence_is_refused():
    assert reason(clip_of(np.zeros(RATE_HZ, np.int16))) == "silent"
    assert reason(clip_of(np.full(RATE_HZ, 10, np.int16))) == "silent"
    with pytest.raises(Rejected, match="silent"):
        centred(clip_of(np.zeros(RATE_HZ, np.int16)), CROPPING)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_what_is_not_finite_is_refused(value):
    frames = sound(0, 0.1) / np.float32(2**15)
    frames[400] = value
    assert reason(clip_of(frames, kind="WAV", subtype="FLOAT")) == "not_finite"


def test_a_manifest_that_lies_is_refused():
    clip = clip_of(sound(0))
    assert reason(dataclasses.replace(clip, num_frames=clip.num_frames + 1)) == "wrong_length"
    assert reason(dataclasses.replace(clip, sample_rate_hz=44100)) == "wrong_rate"


@pytest.mark.parametrize("kind", ["FLAC", "WAV", "OGG"])
def test_a_file_cut_in_half_is_refused(kind):
    clip = clip_of(sound(0, 1.0), kind=kind)
    cut = dataclasses.replace(clip, file=clip.file[: len(clip.file) // 2])
    assert reason(cut, Cropping(RATE_HZ, 10 * RATE_HZ)) in ("wrong_length", "undecodable")


def test_no_audio_and_no_file_are_refused(tmp_path):
    assert reason(Clip("a", b"not audio", "shard.tar/a.flac", RATE_HZ, 100)) == "undecodable"
    assert reason(Clip("a", b"", "shard.tar/a.flac", RATE_HZ, 100)) == "undecodable"
    assert reason(Clip("a", str(tmp_path / "a.wav"), "a.wav", RATE_HZ, 100)) == "missing"
