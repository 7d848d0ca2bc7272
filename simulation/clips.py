"""Reading a stretch of a corpus file: seek, decode only what is used, check, mix down, resample."""

from collections.abc import Callable
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from simulation.example import Clip, SourceError
from simulation.signals.levels import SILENCE_DB

Open = Callable[[str], str | BinaryIO]
"""From a clip's path to something soundfile reads: a local path, or an open binary file."""

FULL_SCALE_LIMIT = 4.0  # float files may exceed 1; 1e30 is damage
SILENCE = 10 ** (SILENCE_DB / 20)


def read(clip: Clip, open_file: Open, sample_rate_hz: int) -> np.ndarray:
    """The clip at `sample_rate_hz`: float32 `(1, clip.num_samples(sample_rate_hz))`, channels averaged.

    Raises SourceError (missing, undecodable, truncated, wrong_rate, not_finite, silent); a lost connection passes through as
    the OSError it is, for that is not the file's fault.
    """
    frames = _decode(clip, open_file)
    if len(frames) != clip.num_frames:
        raise _refuse(clip, "truncated", f"{len(frames)} frames from {clip.start_frame} on, {clip.num_frames} were promised")
    mono = frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1)
    peak = float(np.abs(mono).max(initial=0.0))
    if not peak <= FULL_SCALE_LIMIT:
        raise _refuse(clip, "not_finite", f"peak {peak}")
    if peak < SILENCE:
        raise _refuse(clip, "silent", f"peak {peak} in {clip.num_frames} frames from {clip.start_frame} on")
    if clip.sample_rate_hz != sample_rate_hz:
        mono = soxr.resample(mono, clip.sample_rate_hz, sample_rate_hz, quality="HQ")
    return _exact(mono, clip.num_samples(sample_rate_hz))[np.newaxis]


def _decode(clip: Clip, open_file: Open) -> np.ndarray:
    """The clip's own frames, `(frames, channels)` float32."""
    try:
        with soundfile.SoundFile(open_file(clip.path)) as file:
            if file.samplerate != clip.sample_rate_hz:
                raise _refuse(clip, "wrong_rate", f"{file.samplerate} Hz, manifest says {clip.sample_rate_hz} Hz")
            file.seek(clip.start_frame)
            if file.subtype == "PCM_16":  # the same samples in half the time that libsndfile takes to convert them
                return file.read(clip.num_frames, dtype="int16", always_2d=True) * np.float32(2**-15)
            return file.read(clip.num_frames, dtype="float32", always_2d=True)
    except FileNotFoundError as error:
        raise _refuse(clip, "missing", str(error)) from None
    except soundfile.LibsndfileError as error:
        if "System error" in str(error):  # what libsndfile says of a missing file, and of a disk that fails
            _reopen(clip, open_file)
        raise _refuse(clip, "undecodable", str(error)) from None


def _reopen(clip: Clip, open_file: Open) -> None:
    """Say what the operating system has against the file: missing is its own fault, anything else is tried again (OSError)."""
    path = open_file(clip.path)
    if not isinstance(path, str):
        return
    try:
        open(path, "rb").close()
    except FileNotFoundError as error:
        raise _refuse(clip, "missing", str(error)) from None
    raise OSError(f"{path}: could not be opened, now it can")


def _exact(mono: np.ndarray, num_samples: int) -> np.ndarray:
    """Trim or zero-pad to the length that the clip promises; resamplers round it their own way."""
    if len(mono) >= num_samples:
        return np.ascontiguousarray(mono[:num_samples], dtype=np.float32)
    return np.pad(mono, (0, num_samples - len(mono))).astype(np.float32)


def _refuse(clip: Clip, reason: str, detail: str) -> SourceError:
    return SourceError(clip.id, clip.path, reason, detail)
