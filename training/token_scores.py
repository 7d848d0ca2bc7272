"""How well tokens are predicted, summed over clips, by task, stream and layer.

Shapes: B clips, N tasks, S streams (0 acoustic, 1 semantic), K layers; the first axis of sums is nll, correct, targets.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch import distributed as dist

from training.collective import world_size

STREAMS = ("acoustic", "semantic")


class TokenScores:
    """Sums in float64, so that the order in which clips are added hardly matters."""

    def __init__(self, tasks: Sequence[str], num_layers: int, device: torch.device | str = "cpu"):
        self.tasks = tuple(tasks)
        self.sums_3NSK = torch.zeros(3, len(self.tasks), 2, num_layers, dtype=torch.float64, device=device)

    def add(self, task_B: Tensor, sums_3BSK: Tensor) -> None:
        """Clips of these tasks, given as their places in `tasks`."""
        self.sums_3NSK.index_add_(1, task_B, sums_3BSK.double())

    def over_ranks(self) -> "TokenScores":
        """Those of all ranks together. Collective."""
        joined = TokenScores(self.tasks, self.sums_3NSK.shape[-1])
        joined.sums_3NSK = sum_over_ranks(self.sums_3NSK).cpu()
        return joined

    @property
    def num_targets(self) -> float:
        return float(self.sums_3NSK[2].sum())

    def loss(self, task: str | None = None) -> float:
        """Mean nats a token, of one task or of all examples; NaN without any."""
        return self._mean(0, task)

    def accuracy(self, task: str | None = None) -> float:
        return self._mean(1, task)

    def present(self) -> list[str]:
        """The tasks that have examples."""
        return [name for name, count in zip(self.tasks, self.sums_3NSK[2].sum((1, 2)).tolist()) if count]

    def layers(self, task: str | None = None) -> dict[str, dict[str, float]]:
        """Loss and accuracy of each layer that there is: acoustic-0, ..., semantic-0, ..."""
        sums_3SK = self._of(task)
        found = {}
        for stream, name in enumerate(STREAMS):
            for layer, (nll, correct, count) in enumerate(sums_3SK[:, stream].T.tolist()):
                if count:
                    found[f"{name}-{layer}"] = {"loss": nll / count, "accuracy": correct / count}
        return found

    def metrics(self) -> dict[str, float]:
        """All of it under names for the record."""
        found = {"loss": self.loss(), "accuracy": self.accuracy()}
        for name in self.present():
            found |= {f"loss/task/{name}": self.loss(name), f"accuracy/task/{name}": self.accuracy(name)}
        for layer, values in self.layers().items():
            found |= {f"{kind}/layer/{layer}": value for kind, value in values.items()}
        return found

    def _mean(self, kind: int, task: str | None) -> float:
        sums_3 = self._of(task).sum((1, 2))
        return float(sums_3[kind] / sums_3[2])

    def _of(self, task: str | None) -> Tensor:
        return self.sums_3NSK.sum(1) if task is None else self.sums_3NSK[:, self.tasks.index(task)]


def sum_over_ranks(values: Tensor) -> Tensor:
    """The element-wise sum in float64, the same bits on all ranks. Collective."""
    total = values.detach().double().clone()
    if world_size() > 1:
        dist.all_reduce(total)
    return total
