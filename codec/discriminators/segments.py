"""Parts of a crop that the same discriminators judge beside the whole (SegGAN, arXiv 1905.12835, there on sequences of words).

Shapes: B clips, T samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class SegmentConfig:
    """Which parts. The losses are means over all of them."""

    count: int = 1
    """How many, the whole included (nested) or beside it (parts); 1: the whole alone."""
    kind: Literal["nested", "parts"] = "nested"
    """nested: prefixes of equal steps; parts: equal stretches, one after the other, and the whole."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"segments.count is {self.count}: give 1 (the whole alone) or more")


def segments_of(wave_BT: Tensor, num_samples_B: Tensor | None, config: SegmentConfig) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Waves and their lengths, as discriminators take them; the whole comes first, as it is. Cut on each clip's own length."""
    yield wave_BT, num_samples_B
    if config.count == 1:
        return
    if num_samples_B is None:
        lengths_B = torch.full((len(wave_BT),), wave_BT.shape[1], device=wave_BT.device)
    else:
        lengths_B = num_samples_B
    if config.kind == "nested":
        for index in range(1, config.count):
            part_B = (lengths_B * index + config.count - 1) // config.count
            yield wave_BT[:, : int(part_B.max())], _unless_full(part_B, num_samples_B)
        return
    part_B = lengths_B // config.count
    samples = torch.arange(int(part_B.max()), device=wave_BT.device)
    for index in range(config.count):
        places_BT = (part_B * index)[:, None] + samples
        yield wave_BT.gather(1, places_BT.clamp(max=wave_BT.shape[1] - 1)), _unless_full(part_B, num_samples_B)


def _unless_full(part_B: Tensor, num_samples_B: Tensor | None) -> Tensor | None:
    """No lengths where the clips have none: all parts are equally long then."""
    return None if num_samples_B is None else part_B
