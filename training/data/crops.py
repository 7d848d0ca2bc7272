"""A stretch of a clip: only what is used is decoded, resampled, mixed to the channels asked for, scaled to a drawn peak.

Waves are float32 `(channels, samples)` of numpy, full scale +-1.
"""

import contextlib
import io
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr

from training.data.quarantine import Rejected

TRIES = 4  # of a crop that turns out silent, before the loudest place of the clip is looked for
SILENCE = 10 ** (-60 / 20)  # a peak below this would be noise of quantisation, once scaled up
FULL_SCALE_LIMIT = 4.0  # float files may exceed 1; 1e30 is damage
MARGIN_SAMPLES = 512  # read around a crop that is resampled, at the lower of both rates: more than soxr's filter is long
BLOCK_FRAMES = 2**16


@dataclass(frozen=True)
class Clip:
    """An audio file as its manifest describes it."""

    key: str
    file: str | bytes  # path on this machine, or the encoded file itself
    where: str  # for people: the path or URL
    sample_rate_hz: int
    num_frames: int

    def num_samples(self, sample_rate_hz: int) -> int:
        """Length after resampling."""
        return -(-self.num_frames * sample_rate_hz // self.sample_rate_hz)


@dataclass(frozen=True)
class Cropping:
    """What every crop is."""

    sample_rate_hz: int
    num_samples: int
    num_channels: int = 1
    peak: tuple[float, float] = (0.1, 0.99)


def draw(clip: Clip, cropping: Cropping, draws: np.random.Generator) -> np.ndarray:
    """A random crop that is not silent, of `cropping.num_samples` at most, with a random peak. Rejected for what cannot serve.

    A lost disk or store passes through as the OSError it is: that is not the clip's fault.
    """
    low, high = cropping.peak
    wanted = low + (high - low) * draws.random()
    num_samples = clip.num_samples(cropping.sample_rate_hz)
    length = min(num_samples, cropping.num_samples)
    with _opened(clip) as file:
        for _ in range(TRIES if length < num_samples else 1):
            start = int(draws.integers(0, num_samples - length + 1))
            wave, peak = _cut(file, clip, cropping, start)
            if peak >= SILENCE:
                break
        else:
            loudest = _loudest(file, clip) * cropping.sample_rate_hz // clip.sample_rate_hz
            wave, peak = _cut(file, clip, cropping, min(max(loudest - length // 2, 0), num_samples - length))
    if peak < SILENCE:
        raise _reject(clip, "silent", f"peak {peak:.2g} where it is loudest")
    wave *= np.float32(wanted / peak)
    return wave


def centred(clip: Clip, cropping: Cropping) -> np.ndarray:
    """The middle of a clip, the whole of a short one, at its own level. Rejected for what cannot serve."""
    num_samples = clip.num_samples(cropping.sample_rate_hz)
    with _opened(clip) as file:
        wave, peak = _cut(file, clip, cropping, max(0, num_samples - cropping.num_samples) // 2)
    if peak < SILENCE:
        raise _reject(clip, "silent", f"peak {peak:.2g} in its middle")
    return wave


def _cut(file: soundfile.SoundFile, clip: Clip, cropping: Cropping, start: int) -> tuple[np.ndarray, float]:
    """The crop from a sample on, and its peak. Rejected for NaN and the like."""
    length = min(clip.num_samples(cropping.sample_rate_hz) - start, cropping.num_samples)
    wave = _channels(_read(file, clip, start, length, cropping.sample_rate_hz), cropping.num_channels)
    peak = float(max(wave.max(), -wave.min()))
    if not peak <= FULL_SCALE_LIMIT:
        raise _reject(clip, "not_finite", f"peak {peak}")
    return wave, peak


@contextlib.contextmanager
def _opened(clip: Clip) -> Iterator[soundfile.SoundFile]:
    """The clip's file, held to its manifest row."""
    try:
        with soundfile.SoundFile(io.BytesIO(clip.file) if isinstance(clip.file, bytes) else clip.file) as file:
            if file.samplerate != clip.sample_rate_hz:
                raise _reject(clip, "wrong_rate", f"{file.samplerate} Hz, its manifest says {clip.sample_rate_hz} Hz")
            if file.frames != clip.num_frames:
                raise _reject(clip, "wrong_length", f"{file.frames} frames, its manifest says {clip.num_frames}")
            yield file
    except soundfile.LibsndfileError as error:
        if isinstance(clip.file, str):
            _reopen(clip, clip.file)
        raise _reject(clip, "undecodable", str(error)) from None


def _reopen(clip: Clip, path: str) -> None:
    """Say what the operating system has against the file: a missing one is rejected, anything else is no fault of the file."""
    if not os.path.exists(path):
        raise _reject(clip, "missing", "no such file")
    open(path, "rb").close()


def _read(file: soundfile.SoundFile, clip: Clip, start: int, length: int, sample_rate_hz: int) -> np.ndarray:
    """`length` samples from sample `start` on, both counted at `sample_rate_hz`; as if the whole clip had been resampled."""
    source, target = clip.sample_rate_hz, sample_rate_hz
    if source == target:
        return _frames(file, clip, start, length).T
    margin = MARGIN_SAMPLES * max(1, source // target)
    grid = source // math.gcd(source, target)  # frames at which samples of both rates fall together
    first = max(0, (start * source // target - margin) // grid * grid)
    stop = min(clip.num_frames, -(-(start + length) * source // target) + margin)
    resampled = soxr.resample(_frames(file, clip, first, stop - first), source, target, quality="HQ")
    skipped = start - first * target // source
    wave = resampled[skipped : skipped + length].T
    return np.pad(wave, ((0, 0), (0, length - wave.shape[1])))  # the end of a clip is rounded in the resampler's own way


def _frames(file: soundfile.SoundFile, clip: Clip, start: int, length: int) -> np.ndarray:
    """Frames of the file, `(frames, channels)` float32."""
    if file.tell() != start:  # a seek decodes a frame, even to where the file already is
        file.seek(start)
    if file.subtype == "PCM_16":  # the same values in less time than libsndfile takes to convert them
        frames = file.read(length, dtype="int16", always_2d=True) * np.float32(2**-15)
    else:
        frames = file.read(length, dtype="float32", always_2d=True)
    if len(frames) != length:
        raise _reject(clip, "wrong_length", f"{len(frames)} frames from {start} on, its header promises {length}")
    return frames


def _loudest(file: soundfile.SoundFile, clip: Clip) -> int:
    """The frame with the highest peak."""
    best, loudest = 0.0, 0
    for start in range(0, clip.num_frames, BLOCK_FRAMES):
        block = np.abs(_frames(file, clip, start, min(BLOCK_FRAMES, clip.num_frames - start))).max(axis=1)
        frame = int(block.argmax())
        if block[frame] > best:
            best, loudest = float(block[frame]), start + frame
    return loudest


def _channels(wave: np.ndarray, num_channels: int) -> np.ndarray:
    """Averaged to mono, or the first two channels; a mono clip is doubled for stereo."""
    if num_channels == 1:
        return wave if len(wave) == 1 else wave.mean(axis=0, keepdims=True)
    return np.repeat(wave, 2, axis=0) if len(wave) == 1 else wave[:2]


def _reject(clip: Clip, reason: str, detail: str) -> Rejected:
    return Rejected(reason, detail, file=clip.where, key=clip.key)
