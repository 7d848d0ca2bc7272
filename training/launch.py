"""Ranks for a train function: this process, the processes of torchrun, or workers of Ray Train, started again when they die.

The train function gets its configuration and a Worker, and finds torch.distributed ready (gloo, with nccl beside it on
GPUs; one rank is a group, too). Ray's own checkpoints are not used: a restarted group goes on from the run's own.
"""

import contextlib
import importlib.util
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from infra.command_line import Stopped as Stopped
from training.collective import end_group

T = TypeVar("T")
GLOO, NCCL = "gloo", "cpu:gloo,cuda:nccl"


@dataclass(frozen=True)
class Resources:
    """Who trains."""

    workers: int = 0
    """Ranks, placed by Ray (RAY_ADDRESS, or this machine); 0 trains in this process, or as torchrun says, without Ray."""
    gpu: bool | None = None
    """A GPU for each rank. If not given, where there is one: torch is asked on this machine, Ray on a cluster."""
    cpus_per_worker: int | None = None
    """Threads and CPUs of a rank under Ray; if not given this machine's are shared out, and it is one on a cluster."""
    max_failures: int = 3
    """Restarts of the ranks after one has died. Nodes that are taken away do not count."""

    def __post_init__(self) -> None:
        for name, least in (("workers", 0), ("max_failures", 0), ("cpus_per_worker", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"--{name.replace('_', '-')} is {value}: give {least} or more")


class Worker:
    """One rank, as its train function sees it."""

    def __init__(self, device: torch.device, signals: "Signals | None" = None):
        self.rank, self.world_size, self.device = dist.get_rank(), dist.get_world_size(), device
        self._signals = signals

    def is_stopping(self) -> bool:
        """Whether this rank was asked to save and end; others may not have been."""
        return self._signals is not None and self._signals.received != 0

    def heartbeat(self, metrics: dict[str, float]) -> bool:
        """Say how far it is; whether to save now, because a node will be taken away. All ranks call it equally often."""
        return False


class Signals:
    """SIGTERM and SIGINT noted instead of obeyed, while the main thread is inside; a second one interrupts at once."""

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        self.listen()
        return self

    def listen(self) -> None:
        """Also to be called after what takes the signals for itself, as starting Ray does."""
        for number in self._before:
            signal.signal(number, self._note)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        if self.received:
            raise KeyboardInterrupt
        self.received = number


def launch(train: Callable[[Any, Worker], T], config: Any, resources: Resources) -> T:
    """Run `train(config, worker)` on every rank; what rank 0 returns (under torchrun, what this rank returns).

    ValueError and OSError of a rank come through; KeyboardInterrupt after SIGINT, when all ranks have ended.
    """
    os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(extensions_folder()))
    with Signals() as signals:
        if resources.workers and not is_under_torchrun():
            result = _on_ray(train, config, resources, signals)
        else:
            with _group(_uses_gpu(resources)) as device:
                result = train(config, Worker(device, signals))
    if signals.received == signal.SIGINT:
        raise KeyboardInterrupt
    return result


def is_under_torchrun() -> bool:
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def joined(resources: Resources) -> contextlib.AbstractContextManager[Any]:
    """The ranks of torchrun in one process group, for what comes before and after `launch`; elsewhere nothing."""
    return _group(_uses_gpu(resources)) if is_under_torchrun() else contextlib.nullcontext()


def require_absolute(out: str, resources: Resources) -> None:
    """ValueError for a folder of the run that is another one on each node of a cluster: Ray chooses the node of rank 0."""
    if resources.workers and os.environ.get("RAY_ADDRESS") and not is_under_torchrun() and not Path(out).is_absolute():
        given = f"--out {out}" if out else "no --out"
        raise ValueError(f"{given}, and RAY_ADDRESS is set: give the absolute path of a folder that all nodes share")


def _uses_gpu(resources: Resources) -> bool:
    """Of the ranks on this machine."""
    if resources.gpu and not torch.cuda.is_available():
        raise ValueError("--gpu, but torch finds none here: check the driver and the build of torch (make doctor)")
    return torch.cuda.is_available() if resources.gpu is None else resources.gpu


@contextlib.contextmanager
def _group(gpu: bool) -> Iterator[torch.device]:
    """A process group for this process: the one that is there, torchrun's, or one of its own."""
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    device = torch.device("cuda", local_rank) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    if dist.is_initialized():  # by the caller, whose it stays
        yield device
        return
    alone = {} if is_under_torchrun() else {"store": dist.HashStore(), "rank": 0, "world_size": 1}
    dist.init_process_group(NCCL if gpu else GLOO, **alone)
    try:
        yield device
    finally:
        end_group()


def _on_ray(train: Callable[[Any, Worker], T], config: Any, resources: Resources, signals: Signals) -> T:
    if importlib.util.find_spec("ray") is None:
        command = f"torchrun --nproc-per-node {resources.workers} -m pipelines.... --workers 0"
        raise ValueError(f"--workers {resources.workers} needs Ray, which is not installed; without it: {command}")
    from training.ray_launch import run  # here, because the other ways work without Ray

    return run(train, config, resources, signals)


def extensions_folder() -> Path:
    """Where DeepSpeed builds its kernels: not the shared default, where a killed build's lock would stop us for ever."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quarkline"
    return Path(os.environ.get("QUARKLINE_CACHE") or cache) / "torch_extensions"
