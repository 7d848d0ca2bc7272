"""Real ranks for tests: processes with a group of their own, of gloo, with nccl beside it where each has a GPU."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing
from torch import distributed as dist

from training.launch import GLOO, NCCL


def run_ranks(scenario: Callable[..., Any], world_size: int, folder: Path, *arguments: Any) -> list[Any]:
    """What `scenario(*arguments)` gives on each rank. It must be a function at the top of a module."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.multiprocessing.spawn(_rank, (scenario, world_size, folder, arguments), nprocs=world_size)
    return [torch.load(folder / f"result-{rank}.pt", weights_only=False) for rank in range(world_size)]


def _rank(rank: int, scenario: Callable[..., Any], world_size: int, folder: Path, arguments: tuple) -> None:
    torch.set_num_threads(1)
    os.environ |= {"LOCAL_RANK": str(rank), "TORCH_EXTENSIONS_DIR": str(folder / "extensions")}
    store = dist.FileStore(str(folder / "store"), world_size)
    backend = NCCL if torch.cuda.device_count() >= world_size else GLOO
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size)
    torch.save(scenario(*arguments), folder / f"result-{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
