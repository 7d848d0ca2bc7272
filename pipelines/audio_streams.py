"""Audio that comes piece by piece, so that hours of it need the memory of seconds: float32 (channels, samples) at +-1."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import soxr

from simulation.clips import FULL_SCALE_LIMIT
from simulation.signals.levels import SILENCE_DB, amplitude

PIECE_SAMPLES = 1 << 16


class BadAudio(ValueError):
    """Audio that cannot be used: says which and why."""


class Audio(Protocol):
    """Audio that can be read from its start as often as wanted."""

    name: str  # for messages
    sample_rate_hz: int
    num_channels: int
    num_samples: int  # of each channel

    def pieces(self) -> Iterator[np.ndarray]:
        """(channels, samples) float32, one after the other. BadAudio for what cannot be decoded."""


@dataclass(frozen=True, eq=False)
class ArrayAudio:
    """Audio in memory."""

    wave: np.ndarray  # float32 (channels, samples)
    sample_rate_hz: int
    name: str = "the audio"

    @classmethod
    def of(cls, wave: np.ndarray, sample_rate_hz: int | None, name: str) -> "ArrayAudio":
        """Of (samples,) or (channels, samples) of floats. ValueError for anything else."""
        wave = np.asarray(wave)
        if wave.ndim not in (1, 2) or not np.issubdtype(wave.dtype, np.floating):
            raise ValueError(
                f"{name}: a {wave.dtype} array of shape {wave.shape}; give floats of full scale +-1, (samples,) or "
                "(channels, samples)"
            )
        if wave.ndim == 2 and wave.shape[0] > max(wave.shape[1], 1):
            raise ValueError(f"{name}: shape {wave.shape} has more channels than samples: transpose it")
        if not isinstance(sample_rate_hz, int | np.integer) or sample_rate_hz <= 0:
            raise ValueError(f"{name}: a sample rate of {sample_rate_hz!r} Hz; give a whole number above 0")
        return cls(np.atleast_2d(wave).astype(np.float32), int(sample_rate_hz), name)

    @property
    def num_channels(self) -> int:
        return len(self.wave)

    @property
    def num_samples(self) -> int:
        return self.wave.shape[1]

    def pieces(self) -> Iterator[np.ndarray]:
        for start in range(0, self.num_samples, PIECE_SAMPLES):
            yield self.wave[:, start : start + PIECE_SAMPLES]


def check_samples(audio: Audio) -> None:
    """Read all of it once. BadAudio if it is empty, silent, not finite, or not as long as it says."""
    num_samples, peak = 0, 0.0
    for piece in audio.pieces():
        piece_peak = float(np.abs(piece).max(initial=0.0))  # NaN if one of them is
        if not piece_peak <= FULL_SCALE_LIMIT:
            raise BadAudio(f"{audio.name}: samples that are not finite, or damaged (peak {piece_peak})")
        num_samples, peak = num_samples + piece.shape[1], max(peak, piece_peak)
    if not num_samples:
        raise BadAudio(f"{audio.name}: audio of zero length")
    if num_samples != audio.num_samples:
        raise BadAudio(f"{audio.name}: truncated: {num_samples} samples decode, its header says {audio.num_samples}")
    if peak < amplitude(SILENCE_DB):
        raise BadAudio(f"{audio.name}: silent (peak {peak:.1e})")


def num_samples_at(audio: Audio, sample_rate_hz: int) -> int:
    """Samples that the audio has at another rate, the last one begun counted whole."""
    return -(-audio.num_samples * sample_rate_hz // audio.sample_rate_hz)


def at_rate(audio: Audio, sample_rate_hz: int) -> Iterator[np.ndarray]:
    """Its pieces at another rate, `num_samples_at` in all."""
    pieces = resampled(audio.pieces(), audio.sample_rate_hz, sample_rate_hz)
    return exactly(pieces, num_samples_at(audio, sample_rate_hz))


def mono_at_rate(audio: Audio, sample_rate_hz: int) -> Iterator[np.ndarray]:
    """The same of the mean of its channels, (1, samples)."""
    means = (piece.mean(axis=0, keepdims=True) for piece in audio.pieces())
    return exactly(resampled(means, audio.sample_rate_hz, sample_rate_hz), num_samples_at(audio, sample_rate_hz))


def resampled(pieces: Iterable[np.ndarray], from_hz: int, to_hz: int) -> Iterator[np.ndarray]:
    """Pieces at another rate (soxr, HQ), the same samples however the audio is cut into pieces."""
    if from_hz == to_hz:
        yield from pieces
        return
    stream, num_channels = None, 0
    for piece in pieces:
        if stream is None:
            num_channels = len(piece)
            stream = soxr.ResampleStream(from_hz, to_hz, num_channels, dtype="float32", quality="HQ")
        yield stream.resample_chunk(np.ascontiguousarray(piece.T), last=False).T
    if stream is not None:
        yield stream.resample_chunk(np.zeros((0, num_channels), np.float32), last=True).T


def exactly(pieces: Iterable[np.ndarray], num_samples: int) -> Iterator[np.ndarray]:
    """The pieces, cut or continued with zeros to this length."""
    left, shape = num_samples, (1,)
    for piece in pieces:
        shape = piece.shape[:-1]
        if piece.shape[-1] and left:
            yield piece[..., :left]
            left -= min(left, piece.shape[-1])
    if left:
        yield np.zeros((*shape, left), np.float32)


def stretches(pieces: Iterable[np.ndarray], spans: Sequence[tuple[int, int]]) -> Iterator[np.ndarray]:
    """The samples of each span, which may overlap; starts and ends do not fall. Holds no more than one span and one piece."""
    pieces = iter(pieces)
    held, first = None, 0  # samples from `first` on
    for start, stop in spans:
        while held is None or first + held.shape[-1] < stop:
            piece = next(pieces)
            held = piece if held is None else np.concatenate([held, piece], axis=-1)
            gone = min(max(start - first, 0), held.shape[-1])
            held, first = held[..., gone:], first + gone
        yield held[..., start - first : stop - first]


def whole(pieces: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate(list(pieces), axis=-1)


def loudest(pieces: Iterable[np.ndarray], num_samples: int) -> np.ndarray:
    """The stretch of so many samples, on a grid of a quarter of that, with the most energy; all if there is no more."""
    step = max(1, num_samples // 4)
    best, best_energy, held = None, -1.0, None
    for piece in pieces:
        held = piece if held is None else np.concatenate([held, piece], axis=-1)
        while held.shape[-1] >= num_samples:
            energy = float(np.square(held[..., :num_samples], dtype=np.float64).sum())
            if energy > best_energy:
                best, best_energy = held[..., :num_samples].copy(), energy
            held = held[..., step:]
    return held if best is None else best
