"""A small real model trained by the real loop on any number of ranks: `python -m tests.training.toy_trainee '{"out": ...}'`.

Everything that a resume can lose is in play: dropout, momentum, a buffer, the data's position, skipped steps.
"""

import dataclasses
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from infra.command_line import run as run_command
from infra.storage import open_store
from infra.tracking import Tracker
from training.budget import LoopConfig, State
from training.checkpoints import Checkpoints, KeepConfig, Origin
from training.keys import generator, key
from training.launch import Resources, Stopped, Worker, launch
from training.loop import Run, train

LOGICAL_WORKERS = 4
CLIPS = 2  # of a logical worker in a step


@dataclass(frozen=True)
class Toy:
    out: str
    checkpoints: str = ""
    steps: int = 12
    minutes: float | None = None
    checkpoint_steps: int = 4
    validation_steps: int = 0
    max_skipped: int = 3
    max_failed_saves: int = 3
    seed: int = 0
    width: int = 8
    dropout: float = 0.3
    workers: int = 0
    max_failures: int = 3
    step_s: float = 0.0
    nan_steps: tuple[int, ...] = ()
    kill: tuple[int, int] | None = None  # rank and step at which it kills itself, once
    mistake: str = ""  # a person's, found on rank 1


@dataclass(frozen=True)
class Clips:
    keys: tuple[str, ...]
    x_BD: Tensor


def batches(config: Toy, worker: Worker, state: dict | None) -> Iterator[tuple[list[Clips], dict]]:
    share = LOGICAL_WORKERS // worker.world_size
    mine = range(worker.rank * share, (worker.rank + 1) * share)
    positions = {number: (state or {}).get(str(number), {"position": 0})["position"] for number in mine}
    while True:
        micro_batches = []
        for number in mine:
            at = positions[number]
            rows = [generator(config.seed, "clip", number, at + i).standard_normal(config.width) for i in range(CLIPS)]
            keys = tuple(f"w{number}-{at + i}" for i in range(CLIPS))
            micro_batches.append(Clips(keys, torch.from_numpy(np.stack(rows)).float()))
            positions[number] += CLIPS
        yield micro_batches, {str(number): {"position": position} for number, position in positions.items()}


class ToyTrainee:
    """Learns to sum; its gradients are averaged over the ranks."""

    def __init__(self, config: Toy):
        self.config = config
        torch.manual_seed(key(config.seed, "weights"))
        layers = nn.Linear(config.width, 16), nn.Tanh(), nn.Dropout(config.dropout), nn.Linear(16, 1)
        self.model = nn.Sequential(*layers)
        self.model.register_buffer("seen", torch.zeros(16, dtype=torch.float64))
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=0.02, momentum=0.9)

    def step(self, batches: list[Clips], step: int) -> dict[str, float]:
        time.sleep(self.config.step_s)
        self._perhaps_die(step)
        loss = sum(self._loss(batch.x_BD) for batch in batches) / len(batches)
        self.optimiser.zero_grad()
        loss.backward()
        means = [loss.detach(), *(parameter.grad for parameter in self.model.parameters())]
        for mean in means:
            dist.all_reduce(mean)
            mean /= dist.get_world_size()
        if step in self.config.nan_steps:
            return {"loss": float("nan"), "skipped": 1.0}
        self.optimiser.step()
        with torch.no_grad():
            self.model.seen += self.model[0].weight.sum(1).double()
        return {"loss": means[0].item()}

    def _loss(self, x_BD: Tensor) -> Tensor:
        return nn.functional.mse_loss(self.model(x_BD)[:, 0], x_BD.sum(1))

    def _perhaps_die(self, step: int) -> None:
        if self.config.kill == (dist.get_rank(), step):
            mark = Path(self.config.out, "killed")
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)

    def validate(self, step: int) -> dict[str, float]:
        return {"distance": float(sum(parameter.abs().sum() for parameter in self.model.parameters()).item())}

    def state(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        first = dist.get_rank() == 0
        yield "model", dict(self.model.state_dict()) if first else {}
        momenta = enumerate(self.optimiser.state[parameter].get("momentum_buffer") for parameter in self.model.parameters())
        yield "optimiser", {str(number): value for number, value in momenta if value is not None} if first else {}

    def load(self, files: Mapping[str, dict[str, Tensor]]) -> None:
        self.model.load_state_dict(files["model"])
        for number, value in files["optimiser"].items():
            self.optimiser.state[list(self.model.parameters())[int(number)]]["momentum_buffer"] = value


def checkpoints_of(config: Toy) -> Checkpoints:
    store = open_store(config.checkpoints or f"{config.out}/checkpoints")
    origin = Origin({"seed": config.seed, "model": {"width": config.width}}, {"datasets": ["toy"]})
    keep = KeepConfig(last=2, best="valid/distance", max_failed_saves=config.max_failed_saves)
    return Checkpoints(store, origin, keep)


def train_toy(config: Toy, worker: Worker) -> State:
    if config.mistake and worker.rank == worker.world_size - 1:
        raise ValueError(config.mistake)
    trainee = ToyTrainee(config)
    tracker = Tracker(config.out if worker.rank == 0 else None)
    parts = (checkpoints_of(config), tracker, lambda state: batches(config, worker, state), trainee.validate)
    names = ("steps", "minutes", "checkpoint_steps", "validation_steps", "max_skipped")
    limits = {field: getattr(config, field) for field in names}
    try:
        return train(trainee, Run(config.seed, worker, *parts), LoopConfig(**limits))
    finally:
        tracker.close()


def main(argv: list[str]) -> int:
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(argv[0]).items()}
    config = Toy(**values)
    state = launch(train_toy, config, Resources(workers=config.workers, max_failures=config.max_failures))
    if state.step < config.steps:
        raise Stopped(f"stopped at step {state.step}; the same command goes on")
    print(json.dumps(dataclasses.asdict(state)))
    return 0


if __name__ == "__main__":
    from tests.training import toy_trainee  # by its name: what Ray's workers are sent is found there

    torch.set_num_threads(1)
    run_command(toy_trainee.main)
