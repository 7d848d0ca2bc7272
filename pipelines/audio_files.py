"""Audio files: found, checked, read and written piece by piece; written whole or not at all."""

import contextlib
import errno
import functools
import mmap
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from infra.storage import StorageError
from pipelines import containers
from pipelines.audio_streams import PIECE_SAMPLES, Audio, BadAudio, check_samples

FORMATS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".opus": "OGG", ".mp3": "MP3", ".aif": "AIFF", ".aiff": "AIFF"}
KEPT_SUBTYPES = ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "VORBIS", "OPUS", "MPEG_LAYER_III")  # as exact as they say
UNKNOWN_LENGTH = 2**63 - 1  # libsndfile's word for it


@dataclass(frozen=True)
class FileAudio:
    """An audio file, opened anew each time it is read."""

    path: Path
    sample_rate_hz: int
    num_channels: int
    num_samples: int
    subtype: str  # in soundfile's words

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def duration_s(self) -> float:
        return self.num_samples / self.sample_rate_hz

    @classmethod
    def of(cls, path: Path) -> "FileAudio":
        """By its header. BadAudio if it is none, FileNotFoundError if there is no such file."""
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        _kind(path)
        if not path.stat().st_size:
            raise BadAudio(f"{path}: an empty file")
        with _decoding(path), soundfile.SoundFile(path) as file:
            if file.frames == UNKNOWN_LENGTH:
                raise BadAudio(f"{path}: its header states no length, as of a file written to a pipe: encode it again")
            return cls(path, file.samplerate, file.channels, file.frames, file.subtype)

    def pieces(self) -> Iterator[np.ndarray]:
        with _decoding(self.path), soundfile.SoundFile(self.path) as file:
            while len(block := file.read(PIECE_SAMPLES, dtype="float32", always_2d=True)):
                yield block.T

    def check(self) -> None:
        """Look at all of it. BadAudio if it is cut off, damaged, empty, silent or not finite."""
        if not self.num_samples:
            raise BadAudio(f"{self.path}: audio of zero length")
        with open(self.path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            fault = containers.fault(data)
        if fault:
            raise BadAudio(f"{self.path}: {fault[0]}: {fault[1]}")
        check_samples(self)


def find(place: Path) -> list[Path]:
    """Audio files below a folder, hidden ones apart, sorted; relative to it. ValueError if there are none."""
    found = []
    for folder, folders, names in os.walk(place):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder, name) for name in names if Path(name).suffix.lower() in FORMATS and not name.startswith(".")]
    if not found:
        raise ValueError(f"{place}: no audio files here ({', '.join(FORMATS)})")
    return sorted(path.relative_to(place) for path in found)


def subtype_like(audio: Audio, path: Path) -> str | None:
    """That of the audio, where it comes from a file of the same format; None leaves the choice to the format."""
    kind, subtype = _kind(path), getattr(audio, "subtype", "")
    same = subtype in KEPT_SUBTYPES and soundfile.check_format(kind, subtype)
    return subtype if same else None


def write(paths: list[Path], pieces: Iterable[np.ndarray], sample_rate_hz: int, subtype: str | None = None) -> int:
    """Pieces (signals, channels, samples) as a file for each signal, of the format that its name says; the number of samples.

    The files get their names when all are whole. StorageError for a disk that is full or a place that cannot be written,
    ValueError for a format that does not take this audio. What the pieces raise passes through.
    """
    writers: list[_Writer] = []
    num_samples = 0
    try:
        for piece in pieces:
            assert len(piece) == len(paths), (piece.shape, paths)
            if not writers:
                writers = [_Writer(path, piece.shape[1], sample_rate_hz, subtype) for path in paths]
            num_samples += piece.shape[-1]
            for writer, signal in zip(writers, piece, strict=True):
                writer.write(signal)
        for writer in writers:
            writer.finish()
        for writer in writers:
            writer.publish()
    finally:
        for writer in writers:
            writer.discard()
    return num_samples


class _Writer:
    """One file under a hidden name beside its place."""

    def __init__(self, path: Path, num_channels: int, sample_rate_hz: int, subtype: str | None):
        self.path, self.temporary = path, path.with_name(f".new-{uuid.uuid4().hex}")
        subtype = subtype or ("OPUS" if path.suffix.lower() == ".opus" else None)
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self.disk = _Disk(self.temporary)
        try:
            self.file = soundfile.SoundFile(self.disk, "w", sample_rate_hz, num_channels, subtype, format=_kind(path))
        except (soundfile.LibsndfileError, ValueError, TypeError) as error:
            self.discard()
            raise ValueError(
                f"{path}: its format does not take {num_channels} channels at {sample_rate_hz} Hz: {error}"
            ) from None

    def write(self, signal: np.ndarray) -> None:
        for start in range(0, signal.shape[-1], PIECE_SAMPLES):  # libsndfile's Vorbis encoder dies of longer ones
            with _writing(self.path):
                block = np.ascontiguousarray(signal[:, start : start + PIECE_SAMPLES].T)
                self._checked(functools.partial(self.file.write, block))

    def finish(self) -> None:
        with _writing(self.path):
            self._checked(self.file.close)
            self.disk.close()

    def publish(self) -> None:
        with _writing(self.path):
            os.replace(self.temporary, self.path)

    def discard(self) -> None:
        if hasattr(self, "file") and not self.file.closed:
            self.file.close()
        self.disk.discard()
        self.temporary.unlink(missing_ok=True)

    def _checked(self, act: Callable[[], object]) -> None:
        try:
            act()
        except (soundfile.LibsndfileError, AssertionError):
            if self.disk.error is None:
                raise
        if self.disk.error is not None:
            raise self.disk.error


class _Disk:
    """A file that keeps its first error: libsndfile calls back into Python and would lose it."""

    def __init__(self, path: Path):
        self.file = open(path, "xb", buffering=0)  # noqa: SIM115 closed by close() or discard()
        self.error: OSError | None = None

    def write(self, data: bytes | memoryview) -> int:
        view = memoryview(data).cast("B")
        try:
            done = 0
            while done < len(view) and self.error is None:
                done += self.file.write(view[done:])
            return done
        except OSError as error:
            self.error = error
            return 0

    def read(self, size: int = -1) -> bytes:
        return self.file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def close(self) -> None:
        os.fsync(self.file.fileno())
        self.file.close()

    def discard(self) -> None:
        self.file.close()


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """What the disk says becomes a StorageError that names the file and the remedy."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = "free some space or choose another place" if full else "choose a place that can be written"
        raise StorageError(error.errno, f"{path}: {error.strerror or error}; {remedy}") from error


@contextlib.contextmanager
def _decoding(path: Path) -> Iterator[None]:
    """What libsndfile says becomes a BadAudio that names the file."""
    try:
        yield
    except soundfile.LibsndfileError as error:
        raise BadAudio(f"{path}: cannot be decoded: {error.error_string}") from None


def _kind(path: Path) -> str:
    """soundfile's name of the format. ValueError for one that is not known."""
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise BadAudio(f"{path}: no format is known by this name; give one of {', '.join(FORMATS)}")
    return kind
