"""One vector for each group of frames, by a query that reads the clip: dynamic frame rate of H-Codec 1.5.

The query of a group is its average frame plus a learned vector, and stands right after the group's last frame. A Transformer
goes over frames and queries together; what it makes of the queries are the groups' vectors.
Sources: QuarkAudio report (arXiv 2512.20151), FlexiCodec (arXiv 2510.00981).

Shapes: B clips, D width, F frames, G groups, S = F + G places of the sequence.
"""

import torch
from torch import Tensor, nn

from codec.config import GroupingConfig
from codec.grouping import Groups
from codec.rotary_transformer import RotaryTransformer


class Aggregator(nn.Module):
    """Frames (B, D, F) and their groups to vectors (B, D, G), unspecified past a clip's groups. Each stream has its own."""

    def __init__(self, width: int, config: GroupingConfig):
        super().__init__()
        self.query = nn.Parameter(torch.randn(width, 1))
        self.transformer = RotaryTransformer(
            width,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
            feed_forward_width=config.feed_forward_width,
        )

    def forward(self, latent_BDF: Tensor, groups: Groups) -> Tensor:
        queries_BDG = groups.mean(latent_BDF) + self.query
        places_BS = _places(groups)
        order_BDS = places_BS.argsort(1)[:, None].expand(-1, latent_BDF.shape[1], -1)
        sequence_BDS = torch.cat([latent_BDF, queries_BDG], dim=2).gather(2, order_BDS)
        sequence_BDS = self.transformer(sequence_BDS, groups.num_frames_B + groups.num_groups_B)
        places_BDG = places_BS[:, None, latent_BDF.shape[2] :].expand(-1, latent_BDF.shape[1], -1)
        return sequence_BDS.gather(2, places_BDG)


def _places(groups: Groups) -> Tensor:
    """(B, F + G): where each frame, then each query, stands in the sequence: a permutation, what is past the end last."""
    num_frames, num_groups = groups.index_BF.shape[1], groups.lengths_BG.shape[1]
    frames_F = torch.arange(num_frames, device=groups.index_BF.device)
    groups_G = torch.arange(num_groups, device=groups.index_BF.device)
    # Before a frame stand the queries of the groups before its own; before one past the clip's end, all queries of the clip.
    past_BF = frames_F >= groups.num_frames_B[:, None]
    frame_places_BF = frames_F + groups.index_BF + past_BF
    query_places_BG = groups_G + torch.where(groups.lengths_BG > 0, groups.lengths_BG.cumsum(1), num_frames)
    return torch.cat([frame_places_BF, query_places_BG], dim=1)
