"""Sequences of unequal lengths in one padded tensor.

Shapes: B rows, M features, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


@dataclass(frozen=True)
class Features:
    """Row b holds lengths_B[b] features, possibly none; what comes after them means nothing."""

    values_BMD: Tensor
    lengths_B: Tensor  # int64

    @classmethod
    def of(cls, rows: Sequence[Tensor]) -> "Features":
        """Pad rows (M, D) of unequal lengths."""
        lengths_B = torch.tensor([len(row) for row in rows], device=rows[0].device)
        return cls(pad_sequence(list(rows), batch_first=True), lengths_B)

    def kept(self, keep_B: Tensor) -> "Features":
        """The same with no features in the rows that are not kept (bool)."""
        return Features(self.values_BMD, self.lengths_B * keep_B)

    def to(self, device: torch.device | str) -> "Features":
        return Features(self.values_BMD.to(device), self.lengths_B.to(device))

    def joined(self, other: "Features") -> "Features":
        """The rows of this, then those of another that is padded to the same size."""
        return Features(torch.cat([self.values_BMD, other.values_BMD]), torch.cat([self.lengths_B, other.lengths_B]))
