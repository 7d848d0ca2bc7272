import resource
import signal
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from infra.storage import StorageError
from pipelines.audio_files import FileAudio, find, subtype_like, write
from pipelines.audio_streams import PIECE_SAMPLES, BadAudio, whole


def noise(channels: int, samples: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).normal(size=(channels, samples)).astype(np.float32)


def cut(wave: np.ndarray, size: int = 5000) -> list[np.ndarray]:
    return [wave[np.newaxis, :, start : start + size] for start in range(0, wave.shape[1], size)]


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3", "aiff"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate_hz", [16000, 48000])
def test_what_is_written_is_read_with_the_same_rate_channels_and_length(tmp_path, suffix, channels, rate_hz):
    wave, path = noise(channels, PIECE_SAMPLES + 12345), tmp_path / "deep" / f"x.{suffix}"
    assert write([path], cut(wave), rate_hz) == wave.shape[1]
    audio = FileAudio.of(path)
    assert (audio.sample_rate_hz, audio.num_channels, audio.num_samples) == (rate_hz, channels, wave.shape[1])
    audio.check()
    found = whole(audio.pieces())
    assert found.shape == wave.shape
    if suffix in ("wav", "flac", "aiff"):
        np.testing.assert_allclose(found, wave, atol=1 / 32768)
    assert [child.name for child in path.parent.iterdir()] == [path.name]


def test_loud_samples_are_clipped_and_do_not_wrap(tmp_path):
    path = tmp_path / "x.wav"
    write([path], [np.array([[[1.5, -1.5, 0.5]]], np.float32)], 16000)
    assert np.sign(soundfile.read(path)[0]).tolist() == [1, -1, 1]


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW"])
def test_the_output_is_as_fine_as_the_input(tmp_path, subtype):
    path = tmp_path / "x.wav"
    soundfile.write(path, noise(1, 100).T, 16000, subtype=subtype)
    audio = FileAudio.of(path)
    assert subtype_like(audio, tmp_path / "y.wav") == (subtype if subtype != "ULAW" else None)
    assert subtype_like(audio, tmp_path / "y.ogg") is None


def test_signals_get_their_names_together_or_none_does(tmp_path):
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]

    def failing():
        yield np.zeros((2, 1, 100), np.float32)
        raise BadAudio("the source broke")

    with pytest.raises(BadAudio, match="the source broke"):
        write(paths, failing(), 16000)
    assert list(tmp_path.iterdir()) == []
    write(paths, [np.stack([noise(1, 100), 2 * noise(1, 100)])], 16000)
    ratio = [np.abs(soundfile.read(path)[0]).sum() for path in paths]
    assert ratio[1] == pytest.approx(2 * ratio[0], rel=1e-2)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_a_disk_that_takes_no_more_is_named_and_leaves_nothing(tmp_path, suffix):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
    try:
        with pytest.raises(StorageError, match=r"x\.\w+: File too large; free some space"):
            write([tmp_path / f"x.{suffix}"], cut(noise(1, 1_000_000)), 16000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="choose a place that can be written"):
        write([tmp_path / "file" / "x.wav"], cut(noise(1, 10)), 16000)


@pytest.mark.parametrize(("suffix", "channels", "rate_hz"), [("mp3", 1, 12345), ("opus", 1, 44100), ("flac", 9, 16000)])
def test_a_format_that_does_not_take_the_audio_is_named(tmp_path, suffix, channels, rate_hz):
    with pytest.raises(ValueError, match=f"its format does not take {channels} channels at {rate_hz} Hz"):
        write([tmp_path / f"x.{suffix}"], cut(noise(channels, 100)), rate_hz)
    assert list(tmp_path.iterdir()) == []


def damaged(folder: Path, kind: str) -> Path:
    path, wave = folder / "x.wav", noise(1, 8000)
    if kind == "not finite":
        wave[0, 4000] = np.nan
    soundfile.write(path, wave.T * (kind != "silent"), 16000, subtype="FLOAT")
    data = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(data[:-1000])
    if kind == "an empty file":
        path.write_bytes(b"")
    if kind == "cannot be decoded":
        path.write_bytes(b"RIFF" + struct.pack("<I", 4) + b"nope" * 100)
    if kind == "zero length":
        soundfile.write(path, np.zeros((0, 1)), 16000)
    return path


@pytest.mark.parametrize("kind", ["not finite", "silent", "truncated", "an empty file", "cannot be decoded", "zero length"])
def test_files_that_cannot_be_used_are_named_with_the_reason(tmp_path, kind):
    path = damaged(tmp_path, kind)
    with pytest.raises(BadAudio, match=rf"x\.wav: .*{kind}"):
        FileAudio.of(path).check()


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3"])
def test_a_cut_file_of_any_format_is_found_out(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    write([path], cut(noise(1, 160_000)), 16000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(BadAudio, match=rf"x\.{suffix}: "):
        FileAudio.of(path).check()


def test_audio_is_found_at_any_depth_and_hidden_files_are_not(tmp_path):
    for name in ("b.wav", "a/c.FLAC", "a/notes.txt", ".hidden/d.wav", "a/.e.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert find(tmp_path) == [Path("a/c.FLAC"), Path("b.wav")]
    with pytest.raises(ValueError, match="no audio files here"):
        find(tmp_path / ".hidden" / "none")
    with pytest.raises(BadAudio, match=r"no format is known.*\.wav"):
        FileAudio.of(tmp_path / "a/notes.txt")
