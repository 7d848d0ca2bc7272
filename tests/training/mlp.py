"""A small network with a buffer in one engine, for tests of what is around engines: on real ranks, at every ZeRO stage."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from training.collective import rank, world_size
from training.config import EngineConfig, ScheduleConfig, TrainingConfig
from training.engine import Engine, make_engine

BATCH, STAGES = 8, (0, 1, 2, 3)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 16), nn.ELU(), nn.Linear(16, 3))
        self.register_buffer("offset", torch.randn(3))

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.layers(x_BD) + self.offset


def settings(stage: int) -> EngineConfig:
    return EngineConfig(learning_rate=1e-2, epsilon=1e-4, clip_norm=0.5, zero_stage=stage, persistence_threshold=20)


def engine(stage: int) -> Engine:
    """With other weights and buffers on each rank, which the start must make those of rank 0."""
    torch.manual_seed(rank())
    training = TrainingConfig(batch_size=BATCH, micro_batch_size=2, schedule=ScheduleConfig(warmup_steps=0))
    return make_engine(Network(), settings(stage), training)


def inputs(step: int) -> Tensor:
    return torch.randn(BATCH, 5, generator=torch.Generator().manual_seed(step))


def gradient(trained: Engine, step: int, factor: float = 1.0) -> Tensor:
    """This rank's part of a step's gradient; its norm."""
    share = BATCH // world_size()
    parts = inputs(step)[rank() * share : (rank() + 1) * share].split(2)
    for index, x_BD in enumerate(parts):
        trained.backward(trained(x_BD).square().mean() * factor, is_last=index == len(parts) - 1)
    return trained.gradient_norm()


def train(trained: Engine, steps: range) -> list[Tensor]:
    """Gradient norms."""
    norms = []
    for step in steps:
        norms.append(gradient(trained, step))
        trained.step()
    return norms


def plain(num_steps: int) -> tuple[Network, list[Tensor]]:
    """The same without DeepSpeed and ranks."""
    torch.manual_seed(0)
    network, config = Network(), settings(0)
    adam = torch.optim.AdamW(network.parameters(), config.learning_rate, config.betas, config.epsilon, config.weight_decay)
    norms = []
    for step in range(1, num_steps + 1):
        adam.zero_grad()
        network(inputs(step)).square().mean().backward()
        norms.append(nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm))
        adam.step()
    return network, norms


def at_every_stage(scenario: Callable[..., Any], *arguments: Any) -> list[Any]:
    return [scenario(stage, *arguments) for stage in STAGES]
