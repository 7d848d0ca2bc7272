"""Stereo as mid and side, each of which the codec treats as a clip of its own.

Shapes: B clips, T samples, R rows = 2 B: mid, side of the first clip, of the second, ...
"""

import torch
from torch import Tensor


def mid_side(wave_B2T: Tensor) -> Tensor:
    """(B, 2, T) left and right -> (2 B, T)."""
    left_BT, right_BT = wave_B2T.unbind(1)
    return torch.stack([(left_BT + right_BT) / 2, (left_BT - right_BT) / 2], dim=1).flatten(0, 1)


def left_right(wave_RT: Tensor) -> Tensor:
    """(2 B, T) mid and side -> (B, 2, T)."""
    mid_BT, side_BT = wave_RT.unflatten(0, (-1, 2)).unbind(1)
    return torch.stack([mid_BT + side_BT, mid_BT - side_BT], dim=1)
