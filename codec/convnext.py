"""ConvNeXt blocks over time (arXiv 2201.03545), as in Vocos (arXiv 2306.00814).

Shapes: B clips, D channels, F frames.
"""

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from codec.masked import MaskedConv1d


class ConvNextBlock(nn.Module):
    """Depthwise convolution of 7 frames, LayerNorm, two linear layers with GELU between them, scaled and added to the input."""

    def __init__(self, width: int, inner_width: int, scale: float):
        super().__init__()
        self.depthwise = MaskedConv1d(width, width, 7, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.up = nn.Linear(width, inner_width)
        self.down = nn.Linear(inner_width, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x_BDF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        y_BFD = self.norm(self.depthwise(x_BDF, num_frames_B).transpose(1, 2))
        y_BFD = self.scale * self.down(nnf.gelu(self.up(y_BFD)))
        return x_BDF + y_BFD.transpose(1, 2)


class ConvNext(nn.Module):
    """A stack of blocks, (B, D, F) -> (B, D, F); each starts at 1 / num_blocks of its full strength."""

    def __init__(self, width: int, inner_width: int, num_blocks: int):
        super().__init__()
        self.blocks = nn.ModuleList(ConvNextBlock(width, inner_width, 1 / num_blocks) for _ in range(num_blocks))

    def forward(self, x_BDF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        for block in self.blocks:
            x_BDF = block(x_BDF, num_frames_B)
        return x_BDF
