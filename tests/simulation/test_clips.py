import numpy as np
import pytest
import soundfile

from simulation.clips import read
from simulation.example import Clip, SourceError

RATE_HZ = 16000


def clip(path, start: int = 0, num_frames: int = 16000, sample_rate_hz: int = RATE_HZ) -> Clip:
    return Clip("id", str(path), "speech", sample_rate_hz, start, num_frames, "CC0", "")


def noise(num_frames: int = 16000, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (num_frames, channels)).astype(np.float32)


def write(path, audio, rate=RATE_HZ, **options):
    soundfile.write(path, audio, rate, **options)
    return path


def reason(*arguments) -> str:
    with pytest.raises(SourceError) as error:
        read(*arguments)
    assert str(error.value.path) in str(error.value)
    return error.value.reason


def test_only_the_stretch_asked_for_is_read(tmp_path):
    audio = noise()
    path = write(tmp_path / "a.wav", audio, subtype="FLOAT")
    assert np.array_equal(read(clip(path, 4000, 1000), str, RATE_HZ), audio[4000:5000].T)


def test_channels_are_averaged(tmp_path):
    audio = noise(channels=2)
    path = write(tmp_path / "a.wav", audio, subtype="FLOAT")
    assert np.allclose(read(clip(path), str, RATE_HZ), audio.mean(axis=1))


@pytest.mark.parametrize("source_rate_hz", [8000, 22050, 44100, 48000])
@pytest.mark.parametrize("rate_hz", [16000, 48000])
def test_a_tone_keeps_its_pitch_level_and_place_at_another_rate(tmp_path, source_rate_hz, rate_hz):
    def tone(rate, count):
        return 0.5 * np.sin(2 * np.pi * 1000 * np.arange(count) / rate)

    path = write(tmp_path / "a.wav", tone(source_rate_hz, source_rate_hz), source_rate_hz, subtype="FLOAT")
    got = read(clip(path, 0, source_rate_hz, source_rate_hz), str, rate_hz)
    assert got.shape == (1, rate_hz)
    assert got.dtype == np.float32
    middle = slice(rate_hz // 10, -rate_hz // 10)
    assert np.abs(got[0] - tone(rate_hz, rate_hz))[middle].max() < 1e-3


def test_a_clip_has_exactly_the_length_it_promises(tmp_path):
    path = write(tmp_path / "a.wav", noise(), 22050)
    for num_frames in (1, 2, 3, 100, 441, 1000, 12345):
        wanted = clip(path, 7, num_frames, 22050)
        assert read(wanted, str, RATE_HZ).shape == (1, wanted.num_samples(RATE_HZ))


def test_a_missing_file(tmp_path):
    assert reason(clip(tmp_path / "none.wav"), str, RATE_HZ) == "missing"


def test_a_file_that_is_no_audio(tmp_path):
    path = tmp_path / "a.flac"
    path.write_bytes(b"not audio at all" * 100)
    assert reason(clip(path), str, RATE_HZ) == "undecodable"


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg"])
def test_a_file_cut_in_half(tmp_path, ending):
    path = write(tmp_path / f"a.{ending}", noise())
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert reason(clip(path), str, RATE_HZ) in ("truncated", "undecodable")


def test_a_rate_that_is_not_the_manifests(tmp_path):
    assert reason(clip(write(tmp_path / "a.wav", noise(), 8000)), str, RATE_HZ) == "wrong_rate"


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_samples_that_are_no_sound(tmp_path, value):
    audio = noise()
    audio[100] = value
    assert reason(clip(write(tmp_path / "a.wav", audio, subtype="FLOAT")), str, RATE_HZ) == "not_finite"


def test_a_silent_stretch(tmp_path):
    assert reason(clip(write(tmp_path / "a.wav", noise() * 0)), str, RATE_HZ) == "silent"


def test_a_lost_connection_is_not_the_files_fault(tmp_path):
    def lost(path):
        raise ConnectionError("the store is gone")

    with pytest.raises(ConnectionError):
        read(clip("a.wav"), lost, RATE_HZ)
