"""Audio of any length in bounded memory: overlapping chunks are coded one by one, and no seam is heard where they meet.

A chunk is coded with context on both sides, whose result is thrown away; decoded chunks fade into each other. What does not
reach further than the context comes out as for the whole file; what does (the LSTMs' memory, attention over all frames,
GroupNorm's statistics) can differ: tests/codec/test_chunked.py bounds by how much. Audio that fits into one chunk is coded
exactly as without.

Shapes: B clips, T samples.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from codec.codes import Codes, cut, join
from codec.model import Codec


@dataclass(frozen=True)
class Chunking:
    """How audio is cut. The codecs are trained on crops of 5 s, and so have not learned to use much longer chunks."""

    chunk_s: float = 8.0  # of audio between two cuts
    context_s: float = 1.0  # on both sides
    fade_s: float = 0.08  # over which decoded chunks fade into each other, around a cut

    def __post_init__(self) -> None:
        if self.chunk_s <= 0 or self.context_s < 0 or not 0 <= self.fade_s <= min(2 * self.context_s, self.chunk_s):
            raise ValueError(f"{self}: chunk_s must be above 0, and fade_s from 0 to twice context_s, at most chunk_s")

    def frames(self, codec: Codec) -> tuple[int, int]:
        """Whole frames of a chunk and of its context on one side."""
        rate_hz = codec.config.frame_rate_hz
        return max(1, round(self.chunk_s * rate_hz)), -int(-self.context_s * rate_hz // 1)


DEFAULT = Chunking()


def encode_long(codec: Codec, wave: Tensor, *, threshold: float | None = None, chunking: Chunking = DEFAULT) -> Codes:
    """As `codec.encode` for clips (B, T) or (B, 2, T) of one length."""
    return join(list(encode_pieces(codec, [wave], threshold=threshold, chunking=chunking)))


def encode_pieces(
    codec: Codec, pieces: Iterable[Tensor], *, threshold: float | None = None, chunking: Chunking = DEFAULT
) -> Iterator[Codes]:
    """Codes of audio that comes in pieces (B, T_i) or (B, 2, T_i) of any length, as they become known; `join` joins them."""
    samples, (chunk, context) = codec.config.samples_per_frame, chunking.frames(codec)
    kept, first, done = None, 0, 0  # samples still needed, frame that they begin with, frames coded
    for piece in pieces:
        kept = piece if kept is None else torch.cat([kept, piece], dim=-1)
        while (first * samples + kept.shape[-1]) > (done + chunk + context) * samples:
            window = kept[..., : (done + chunk + context - first) * samples]
            yield cut(codec.encode(window, threshold=threshold), done - first, done - first + chunk, samples)
            done += chunk
            kept, first = kept[..., max(0, done - context - first) * samples :], max(first, done - context)
    if kept is None:
        raise ValueError("there is no audio: give at least one piece")
    codes = codec.encode(kept, threshold=threshold)
    yield cut(codes, done - first, -(-kept.shape[-1] // samples), samples)


def decode_long(codec: Codec, codes: Codes, *, chunking: Chunking = DEFAULT) -> Tensor:
    """As `codec.decode` for clips of one length."""
    return torch.cat(list(decode_pieces(codec, codes, chunking=chunking)), dim=-1)


def decode_pieces(codec: Codec, codes: Codes, *, chunking: Chunking = DEFAULT) -> Iterator[Tensor]:
    """The audio of `codes` in pieces (B, T_i) or (B, 2, T_i) that follow each other."""
    if bool((codes.num_samples_B != codes.num_samples_B[0]).any()):
        raise ValueError(
            f"clips have {codes.num_samples_B.tolist()} samples: decode long clips of one length, or one at a time"
        )
    samples, (chunk, context) = codec.config.samples_per_frame, chunking.frames(codec)
    num_samples, num_frames = int(codes.num_samples_B[0]), int(codes.durations_BF[0].sum())
    half_fade = round(chunking.fade_s * codec.config.sample_rate_hz / 2)
    start, tail = 0, None  # frame of the last cut; what the chunk before it has around that cut
    while start < num_frames:
        last = num_frames - start <= chunk + context
        stop = num_frames if last else start + chunk
        first = max(0, start - context)
        wave = codec.decode(cut(codes, first, min(stop + context, num_frames), samples))
        begin = start * samples - (half_fade if start else 0)
        wave = wave[..., begin - first * samples :]
        if tail is not None:
            wave = torch.cat([_faded(tail, wave[..., : tail.shape[-1]]), wave[..., tail.shape[-1] :]], dim=-1)
        if last:
            yield wave[..., : num_samples - begin]
            return
        length = stop * samples - half_fade - begin
        yield wave[..., :length]
        start, tail = stop, wave[..., length : length + 2 * half_fade]


def _faded(before: Tensor, after: Tensor) -> Tensor:
    rise_T = (torch.arange(before.shape[-1], device=before.device, dtype=before.dtype) + 0.5) / max(1, before.shape[-1])
    return before + (after - before) * rise_T
