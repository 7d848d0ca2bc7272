"""Exponential moving average of an engine's weights, each rank for its own part of them.

It averages the fp32 masters, so it is as exact and as partitioned as they are, at every ZeRO stage. (Codebooks are moving
averages already, and no weights: the engine's own are published.)
"""

import contextlib
from collections.abc import Iterator

import torch

from training.engine import Engine


class WeightAverage:
    """`update` after each step that counts; `swapped` lends the average to the engine.

    Early on the average is over the last tenth of the steps or so, whatever `decay` says: else what is published after a short
    run would be the random weights it began with.
    """

    def __init__(self, engine: Engine, decay: float):
        self.engine, self.decay = engine, decay
        self.averages = [master.detach().clone() for master in engine.masters()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after optimizer step `step`, counted from 1."""
        masters = [master.detach() for master in self.engine.masters()]
        torch._foreach_lerp_(self.averages, masters, 1 - self.decay_at(step))

    def decay_at(self, step: int) -> float:
        """The decay, or less at the beginning."""
        return min(self.decay, (1 + step) / (10 + step))

    @contextlib.contextmanager
    @torch.no_grad()
    def swapped(self) -> Iterator[None]:
        """The engine's masters are the average (to be read or written) and then again what they were."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for average, master in zip(self.averages, self.engine.masters()):
            kept = master.detach().clone()
            master.data.copy_(average)
            average.copy_(kept)
