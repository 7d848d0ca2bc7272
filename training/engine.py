"""A network, its AdamW and DeepSpeed ZeRO, on a CPU (gloo) or GPUs (nccl), behind the few calls that a training step needs.

DeepSpeed keeps the fp32 master weights and Adam's moments flat and, from stage 1 on, partitioned; whether a training step takes
effect must be decided for all engines and all ranks together. So gradient norms are read before the step, and the optimizer can
be told to go through the motions without changing anything, which leaves DeepSpeed's own bookkeeping to DeepSpeed.
"""

import contextlib
import logging
import math
import os
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from training.config import EngineConfig, TrainingConfig, deepspeed_config

MOMENTS = ("exp_avg", "exp_avg_sq")


class HoldableAdamW(torch.optim.AdamW):
    """AdamW that does nothing at a step while `held`."""

    held = False

    def step(self, closure: None = None) -> None:
        if not self.held:
            super().step(closure)


class Autocast(nn.Module):
    """Runs a module in bf16 where that is safe. Inside the engine's root, because DeepSpeed switches an outer autocast off."""

    def __init__(self, module: nn.Module, device_type: str, enabled: bool):
        super().__init__()
        self.module, self.device_type, self.enabled = module, device_type, enabled

    def forward(self, *inputs: Any, **options: Any) -> Any:
        with torch.autocast(self.device_type, torch.bfloat16, enabled=self.enabled):
            return self.module(*inputs, **options)


class Engine:
    """A module in training. `engine(...)` is its forward pass, then `backward` for each micro-batch, then one `step`."""

    def __init__(self, module: nn.Module, root: nn.Module, deepspeed_engine: Any, adam: HoldableAdamW):
        self.module = module
        self.deepspeed_engine = deepspeed_engine
        self.adam = adam
        self._root = root
        self._learning_rate = adam.param_groups[0]["lr"]
        self._prime_moments()

    @property
    def stage(self) -> int:
        return self.deepspeed_engine.zero_optimization_stage()

    @property
    def zero(self) -> Any:
        """DeepSpeed's ZeRO optimizer, of stages 1-3."""
        assert self.stage > 0
        return self.deepspeed_engine.optimizer

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """The forward pass whose gradients train this engine. Give tuples of tensors out: ZeRO looks into nothing else."""
        return self.deepspeed_engine(*inputs, **options)

    def raw(self, *inputs: Any, **options: Any) -> Any:
        """A forward pass that does not train this engine: another engine's loss, or none (`torch.no_grad`).

        In the former case freeze it (`frozen`), and call it once for each backward pass.
        """
        return self._root(*inputs, **options)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """No gradient reaches the weights. Keep it on until after the other engine's backward pass."""
        self.module.requires_grad_(False)
        try:
            yield
        finally:
            self.module.requires_grad_(True)

    def backward(self, loss: Tensor, *, is_last: bool) -> None:
        """Add the gradients of one micro-batch's loss, divided by their number; after the last they are averaged over ranks."""
        self.deepspeed_engine.set_gradient_accumulation_boundary(is_last)
        self.deepspeed_engine.backward(loss)

    def gradient_norm(self) -> Tensor:
        """2-norm of the whole gradient before clipping, a float64 scalar; NaN if anything is not finite. Collective."""
        if self.stage == 0:
            gradients = [weight.grad for weight in self.module.parameters() if weight.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
        elif self.stage < 3:
            norm = torch.as_tensor(self.zero.scaled_global_norm())
        else:
            norms_N = torch.stack([torch.as_tensor(norm) for norm in self.zero._get_norm_groups()])
            norm = norms_N.norm().where(norms_N.min() >= 0, math.nan)
        norm = norm.double().to(self.device)
        return norm.where((norm >= 0) & norm.isfinite(), math.nan)  # DeepSpeed says -1 for what is not finite

    @property
    def device(self) -> torch.device:
        return self.deepspeed_engine.device

    def step(self, share: float = 1.0, *, held: bool = False) -> None:
        """Clip, update with this share of the learning rate, drop the gradients; `held`: only drop them. Collective."""
        for group in self.adam.param_groups:
            group["lr"] = self._learning_rate * share
        self.adam.held = held
        self.deepspeed_engine.step()

    def masters(self) -> list[Tensor]:
        """This rank's part of the fp32 weights: the weights themselves (stage 0), or flat partitions of them."""
        if self.stage == 0:
            return [weight for weight in self.module.parameters() if weight.requires_grad]
        return list(self.zero.single_partition_of_fp32_groups if self.stage < 3 else self.zero.fp32_partitioned_groups_flat)

    @torch.no_grad()
    def publish_masters(self) -> None:
        """Copy changed `masters` into the weights that the forward pass uses, on all ranks. Collective."""
        if self.stage in (1, 2):
            self.zero.update_lp_params()
        elif self.stage == 3:
            self.zero._partition_all_parameters()
            for group in range(len(self.zero.fp16_groups)):
                self.zero._reassign_or_swap_out_partitioned_parameters(group)
            persistent = self.zero.persistent_parameters
            if persistent:
                persistent[0].all_gather(persistent)

    def _prime_moments(self) -> None:
        """Give AdamW its zeros now, not at its first step: that may be held, and a checkpoint may be loaded before it."""
        for master in self.masters():
            moments = {name: torch.zeros_like(master, requires_grad=False) for name in MOMENTS}
            self.adam.state[master] = {"step": torch.tensor(0.0, dtype=torch.float32), **moments}
        if self.stage in (1, 2):
            self.zero._lazy_init_hp_params_optimizer_state()


def make_engine(
    module: nn.Module, config: EngineConfig, training: TrainingConfig, device: torch.device | str = "cpu"
) -> Engine:
    """Train `module` so. Its weights and buffers become those of rank 0. Collective; a world of one rank needs no launcher.

    ValueError for offloading from a CPU.
    """
    if torch.device(device).type == "cpu" and (config.offload_optimiser or config.offload_weights):
        name = "offload-optimiser" if config.offload_optimiser else "offload-weights"
        raise ValueError(f"{name} is True: give False on a CPU, whose memory is where it would go, or train on GPUs")
    deepspeed = _deepspeed(torch.device(device))
    world_size = dist.get_world_size()
    module.to(device)
    for tensor in (*module.parameters(), *module.buffers()):
        dist.broadcast(tensor.data, src=0)
    options = {"eps": config.epsilon, "weight_decay": config.weight_decay}
    adam = HoldableAdamW(module.parameters(), config.learning_rate, config.betas, **options)
    root = Autocast(module, torch.device(device).type, training.precision == "bf16")
    settings = deepspeed_config(config, training.micro_batch(world_size), training.num_micro_batches(world_size))
    engine, *_ = deepspeed.initialize(model=root, optimizer=adam, config=settings, dist_init_required=False)
    return Engine(module, root, engine, adam)


def _deepspeed(device: torch.device) -> Any:
    """The module, quiet, with a process group and without anything to compile."""
    os.environ.setdefault("TORCH_EXTENSIONS_DIR", tempfile.gettempdir() + f"/torch-extensions-{os.getuid()}")
    os.environ.setdefault("LOCAL_RANK", "0")
    os.environ.setdefault("DS_ACCELERATOR", "cuda" if device.type == "cuda" else "cpu")
    import deepspeed  # here, because it takes seconds
    from deepspeed.utils import logger

    logger.setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")  # of calls that DeepSpeed makes
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # compiles for a minute, and makes the same bits
    backend = "nccl" if device.type == "cuda" else "gloo"
    if not dist.is_initialized():
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    deepspeed.init_distributed(dist_backend=backend, auto_mpi_discovery=False, verbose=False)
    return deepspeed
