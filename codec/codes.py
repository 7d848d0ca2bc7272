"""The discrete streams of encoded audio.

Shapes: B clips (rows), C channels, K quantiser layers, F frames (or groups of frames, where the rate is dynamic), T samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as nnf
from torch import Tensor


@dataclass(frozen=True)
class Codes:
    """What `Codec.encode` gives and `Codec.decode` takes. Positions past a clip's length hold 0 and mean nothing.

    Where the rate is dynamic, the length of a group travels in its code: `(length - 1) * codebook_size + code`, in every layer
    of both streams, and `lengths_B` counts groups. Stereo is two rows a clip, mid and side: B counts rows, `num_channels` is 2.
    """

    acoustic_BKF: Tensor  # int64
    semantic_BKF: Tensor  # int64
    lengths_B: Tensor  # int64: frames or groups of each clip
    num_samples_B: Tensor  # int64: samples of each clip, which decoding gives back exactly
    frame_rate_hz: float
    codebook_size: int
    num_channels: int = 1

    @property
    def durations_BF(self) -> Tensor:
        """Frames that each position stands for: 1, or the group's length; 0 past the clip's end."""
        inside = torch.arange(self.semantic_BKF.shape[-1], device=self.lengths_B.device) < self.lengths_B[:, None]
        return (self.semantic_BKF[:, 0] // self.codebook_size + 1) * inside

    def to(self, device: torch.device | str) -> "Codes":
        """The same codes on another device."""
        tensors = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tensors)


def cut(codes: Codes, start: int, stop: int, samples_per_frame: int) -> Codes:
    """Frames from `start` to `stop` (not groups; a group that lies across is shortened), as codes of their own.

    Every clip must reach beyond `start`.
    """
    durations_BF = codes.durations_BF
    ends_BF = durations_BF.cumsum(1)
    kept_BF = (ends_BF.clamp(max=stop) - (ends_BF - durations_BF).clamp(min=start)).clamp(min=0)
    lengths_B = (kept_BF > 0).sum(1)
    assert bool((lengths_B > 0).all()), (start, stop, ends_BF[:, -1])
    longest = int(lengths_B.max())
    first_B1 = (kept_BF > 0).int().argmax(1, keepdim=True)
    columns_F = torch.arange(longest, device=first_B1.device)
    places_BF = (first_B1 + columns_F).clamp(max=kept_BF.shape[1] - 1)
    kept_BF = kept_BF.gather(1, places_BF) * (columns_F < lengths_B[:, None])
    streams = []
    for codes_BKF in (codes.acoustic_BKF, codes.semantic_BKF):
        taken_BKF = codes_BKF.gather(2, places_BF[:, None].expand(-1, codes_BKF.shape[1], -1)) % codes.codebook_size
        folded_BKF = (kept_BF[:, None] - 1) * codes.codebook_size + taken_BKF
        streams.append(folded_BKF.masked_fill(kept_BF[:, None] == 0, 0))
    num_samples_B = codes.num_samples_B.clamp(max=stop * samples_per_frame) - start * samples_per_frame
    return replace(codes, acoustic_BKF=streams[0], semantic_BKF=streams[1], lengths_B=lengths_B, num_samples_B=num_samples_B)


def join(parts: Sequence[Codes]) -> Codes:
    """One after the other in time, clip by clip. All but the last must hold whole frames."""
    total_B = sum(part.lengths_B for part in parts)
    longest = int(total_B.max())
    streams = []
    for name in ("acoustic_BKF", "semantic_BKF"):
        rows = []
        for row in range(len(total_B)):
            pieces = [getattr(part, name)[row, :, : int(part.lengths_B[row])] for part in parts]
            rows.append(nnf.pad(torch.cat(pieces, dim=1), (0, longest - int(total_B[row]))))
        streams.append(torch.stack(rows))
    num_samples_B = sum(part.num_samples_B for part in parts)
    return replace(parts[0], acoustic_BKF=streams[0], semantic_BKF=streams[1], lengths_B=total_B, num_samples_B=num_samples_B)
