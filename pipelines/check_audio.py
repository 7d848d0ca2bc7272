"""Each file of a corpus, checked once: whole, decodes, as long as stated, finite, audible, not clipped; and its sha256.

In this process, or by Ray tasks of many files each: a task gets columns and returns columns.
"""

import errno
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import soundfile

from infra.storage import StorageError, Store, open_store
from pipelines import containers
from pipelines.file_batches import FileWork, in_batches
from simulation.clips import FULL_SCALE_LIMIT
from simulation.example import REASONS as SOURCE_REASONS
from simulation.signals.levels import SILENCE_DB, amplitude

REASONS = SOURCE_REASONS | {
    "unsupported": "a file of a kind that the format does not take",
    "duplicate": "the same bytes as another file of the corpus, which might be in another split",
}
STATED = pa.schema(
    [
        ("path", pa.string()),
        ("stated_rate_hz", pa.int64()),  # 0: the source manifest does not say
        ("stated_frames", pa.int64()),
        ("stated_duration_s", pa.float64()),
        ("stated_sha256", pa.string()),
    ]
)
FOUND = pa.schema(
    [
        ("sample_rate_hz", pa.int32()),
        ("num_frames", pa.int64()),
        ("num_channels", pa.int32()),
        ("sha256", pa.string()),
        ("reason", pa.string()),  # a code of REASONS; "" for a sound file
        ("detail", pa.string()),
    ]
)
FRAMES_PER_BLOCK = 1 << 18
FULL_SCALE = 0.9999  # 32767 / 32768 is there, 32763 / 32768 is not
UNKNOWN_LENGTH = 2**63 - 1  # libsndfile's word for it
MAX_CLIPPED_SHARE = 0.001
FILE_ERRORS = (errno.EACCES, errno.EPERM, errno.EIO, errno.ENAMETOOLONG)  # this file's, not the whole store's
DURATION_TOLERANCE_S = 0.01  # manifests round


@dataclass(frozen=True)
class Stated:
    """What the source manifest says of a file; 0 or "" where it says nothing."""

    rate_hz: int = 0
    frames: int = 0
    duration_s: float = 0.0
    sha256: str = ""


@dataclass(frozen=True)
class Found:
    """A sound file."""

    sample_rate_hz: int
    num_frames: int
    num_channels: int
    sha256: str


Check = Callable[[bytes, Stated], Found]


class Reject(Exception):
    """A file that cannot serve: a code of REASONS and what was found."""

    def __init__(self, reason: str, detail: str):
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def check(data: bytes, stated: Stated) -> Found:
    """What the file's bytes hold. Reject if they cannot serve as a source."""
    sha256 = hashlib.sha256(data).hexdigest()
    if not data:
        raise Reject("empty", "0 bytes")
    fault = containers.fault(data)
    if fault:
        raise Reject(*fault)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if stated.rate_hz and file.samplerate != stated.rate_hz:
                raise Reject("wrong_rate", f"{file.samplerate} Hz, its manifest says {stated.rate_hz} Hz")
            if file.frames == UNKNOWN_LENGTH:
                raise Reject("undecodable", "its header states no length, as of a file written to a pipe: encode it again")
            num_frames = _check_samples(file)
            _check_length(num_frames, file, stated)
            found = Found(file.samplerate, num_frames, file.channels, sha256)
    except soundfile.LibsndfileError as error:
        raise Reject("undecodable", f"{error.error_string} ({len(data)} bytes)") from None
    if stated.sha256 and sha256 != stated.sha256.lower():
        raise Reject("changed", f"sha256 {sha256[:12]}, its manifest says {stated.sha256[:12].lower()}")
    return found


def _check_length(num_frames: int, file: soundfile.SoundFile, stated: Stated) -> None:
    if num_frames != file.frames:
        raise Reject("truncated", f"{num_frames} frames decode, its header says {file.frames}")
    wanted = stated.frames or round(stated.duration_s * file.samplerate)
    slack = 0 if stated.frames else DURATION_TOLERANCE_S * file.samplerate
    if wanted and abs(num_frames - wanted) > slack:
        reason = "truncated" if num_frames < wanted else "changed"
        raise Reject(reason, f"{num_frames} frames, its manifest says {wanted}")


def _check_samples(file: soundfile.SoundFile) -> int:
    """Decode everything, a block at a time; the number of frames. Reject for what is wrong with the samples."""
    num_frames, peak, stuck = 0, 0.0, 0
    while len(block := file.read(FRAMES_PER_BLOCK, dtype="float32", always_2d=True)):
        num_frames += len(block)
        block_peak = float(np.abs(block).max())  # NaN if one of them is
        if not block_peak <= FULL_SCALE_LIMIT:
            raise Reject("not_finite", f"peak {block_peak} before frame {num_frames}")
        peak = max(peak, block_peak)
        stuck += _num_stuck(block) if block_peak >= FULL_SCALE else 0
    if not num_frames:
        raise Reject("empty", f"no samples, its header says {file.frames}")
    if peak < amplitude(SILENCE_DB):
        raise Reject("silent", f"peak {peak:.1e} in {num_frames} frames")
    if stuck > MAX_CLIPPED_SHARE * num_frames * file.channels:
        raise Reject("clipped", f"{stuck} of {num_frames * file.channels} samples lie in runs at full scale")
    return num_frames


def _num_stuck(block: np.ndarray) -> int:
    """Samples at or beyond full scale that have a neighbour of the same value: `(frames, channels)`."""
    same = (np.abs(block[1:]) >= FULL_SCALE) & (block[1:] == block[:-1])
    stuck = np.zeros(block.shape, bool)
    stuck[1:] |= same
    stuck[:-1] |= same
    return int(stuck.sum())


def check_batch(url: str, columns: dict[str, list], check: Check = check) -> pa.Table:
    """Check the files of STATED columns below `url`: FOUND rows in the same order. StorageError if the store fails."""
    store = open_store(url)
    rows = zip(*(columns[name] for name in STATED.names))
    found = [look_at(store, path, lambda data, told=told: vars(check(data, Stated(*told)))) for path, *told in rows]
    return pa.Table.from_pylist(found, schema=FOUND)


def look_at(store: Store, path: str, look: Callable[[bytes], dict]) -> dict:
    """What `look` finds in the file's bytes, or the row of a rejected file. StorageError if the store fails."""
    try:
        return look(store.get(path)) | {"reason": "", "detail": ""}
    except Reject as reject:
        return rejected(reject.reason, reject.detail)
    except FileNotFoundError as error:
        return rejected("missing", str(error))
    except StorageError as error:
        if error.errno not in FILE_ERRORS:
            raise  # not the file's fault
        return rejected("undecodable", str(error))


def rejected(reason: str, detail: str) -> dict:
    assert reason in REASONS, reason
    return {"sample_rate_hz": 0, "num_frames": 0, "num_channels": 0, "sha256": "", "reason": reason, "detail": detail}


def check_all(url: str, rows: pa.Table, workers: int | None = None, check: Check = check) -> pa.Table:
    """FOUND rows for STATED rows, in their order, with a progress bar. `workers` as of `in_batches`."""
    assert rows.schema.equals(STATED), rows.schema
    return in_batches(FileWork(partial(check_batch, url, check=check), FOUND, rejected, "check"), rows, workers)
