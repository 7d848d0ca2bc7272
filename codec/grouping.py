"""Dynamic frame rate of H-Codec 1.5: consecutive frames that are alike become one group, and one code.

Source: QuarkAudio report (arXiv 2512.20151), H-Codec 1.5; the same rule as FlexiCodec's (arXiv 2510.00981).

Shapes: B clips, D width, F frames, G groups (the most of any clip), K quantiser layers.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from torch import Tensor

from codec.masked import inside_BF, silenced


@dataclass(frozen=True)
class Groups:
    """Which frames of each clip belong together. A clip's groups come first; past them the lengths are 0."""

    index_BF: Tensor  # int64: the group of each frame; past the clip's end, its last group
    lengths_BG: Tensor  # int64: frames of each group

    @classmethod
    def from_lengths(cls, lengths_BG: Tensor) -> "Groups":
        """The same groups again, from their lengths alone: what decoding knows."""
        ends_BG = lengths_BG.cumsum(1)
        num_frames = int(ends_BG[:, -1].max())
        frames_BF = torch.arange(num_frames, device=lengths_BG.device).expand(len(lengths_BG), -1).contiguous()
        last_B1 = (lengths_BG > 0).sum(1, keepdim=True).sub(1).clamp(min=0)
        return cls(torch.searchsorted(ends_BG, frames_BF, right=True).minimum(last_B1), lengths_BG)

    @property
    def num_groups_B(self) -> Tensor:
        return (self.lengths_BG > 0).sum(1)

    @property
    def num_frames_B(self) -> Tensor:
        return self.lengths_BG.sum(1)

    def mean(self, x_BDF: Tensor) -> Tensor:
        """(B, D, G): the average frame of each group; 0 past a clip's groups."""
        index_BDF = self.index_BF[:, None].expand(-1, x_BDF.shape[1], -1)
        sums_BDG = x_BDF.new_zeros(*x_BDF.shape[:2], self.lengths_BG.shape[1])
        sums_BDG = sums_BDG.scatter_add(2, index_BDF, silenced(x_BDF, self.num_frames_B))
        return sums_BDG / self.lengths_BG.clamp(min=1)[:, None]

    def repeat(self, x_BDG: Tensor) -> Tensor:
        """(B, D, F): each group's vector, or codes, at each of its frames."""
        return x_BDG.gather(2, self.index_BF[:, None].expand(-1, x_BDG.shape[1], -1))


@torch.no_grad()
def group_frames(
    latent_BDF: Tensor, threshold: float | Tensor, *, max_frames: int, num_frames_B: Tensor | None = None
) -> Groups:
    """Groups of neighbours each of which is more like the next (cosine similarity) than the threshold, cut every `max_frames`.

    `threshold` is one number, or one for each clip (B,): at 1 every frame is its own group. No gradient passes.
    """
    threshold_B1 = torch.as_tensor(threshold, dtype=torch.float32, device=latent_BDF.device).reshape(-1, 1)
    latent_BDF = latent_BDF.float()
    frames_F = torch.arange(latent_BDF.shape[2], device=latent_BDF.device)
    if num_frames_B is None:
        num_frames_B = frames_F.new_full((len(latent_BDF),), len(frames_F))
    is_inside_BF = inside_BF(num_frames_B, len(frames_F))

    similarity_BF = nnf.cosine_similarity(latent_BDF[:, :, :-1], latent_BDF[:, :, 1:], dim=1).clamp(max=1)
    starts_run_BF = nnf.pad(~(similarity_BF > threshold_B1), (1, 0), value=True)
    run_start_BF = (frames_F * starts_run_BF).cummax(1).values
    starts_group_BF = (frames_F - run_start_BF) % max_frames == 0
    index_BF = (starts_group_BF & is_inside_BF).cumsum(1) - 1

    num_groups = int(index_BF[:, -1].max()) + 1
    lengths_BG = index_BF.new_zeros(len(index_BF), num_groups).scatter_add(1, index_BF, is_inside_BF.long())
    return Groups(index_BF, lengths_BG)


def fold_lengths(codes_BKG: Tensor, lengths_BG: Tensor, codebook_size: int) -> Tensor:
    """The length of each group inside its codes: `(length - 1) * codebook_size + code`; 0 past a clip's groups."""
    folded_BKG = (lengths_BG[:, None] - 1) * codebook_size + codes_BKG
    return folded_BKG.masked_fill(lengths_BG[:, None] == 0, 0)


def unfold_lengths(codes_BKG: Tensor, num_groups_B: Tensor, codebook_size: int) -> tuple[Tensor, Tensor]:
    """(codes_BKG, lengths_BG): undoes `fold_lengths`; the first layer tells the length."""
    lengths_BG = codes_BKG[:, 0] // codebook_size + 1
    return codes_BKG % codebook_size, lengths_BG * inside_BF(num_groups_B, codes_BKG.shape[2])
