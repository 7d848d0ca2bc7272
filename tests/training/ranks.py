"""Real ranks for tests: processes with a group of their own, of gloo, with nccl beside it where each has a GPU.

They stay for all tests of this process, because a new one takes seconds to import torch and DeepSpeed.
"""

import contextlib
import os
import tempfile
import traceback
from collections.abc import Callable
from multiprocessing import connection
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing
from torch import distributed as dist

from training.launch import GLOO, NCCL


def run_ranks(scenario: Callable[..., Any], world_size: int, folder: Path, *arguments: Any, fresh: bool = False) -> list[Any]:
    """What `scenario(*arguments)` gives on each rank. A function at the top of a module, that restores what it patches.

    `fresh` ranks have run nothing before.
    """
    if fresh:
        with contextlib.closing(_Ranks(world_size)) as ranks:
            return ranks.run(scenario, folder, arguments)
    if world_size not in _kept:
        _kept[world_size] = _Ranks(world_size)
    try:
        return _kept[world_size].run(scenario, folder, arguments)
    except BaseException:  # what they are in the middle of is unknown
        _kept.pop(world_size).close()
        raise


class _Ranks:
    def __init__(self, world_size: int):
        context = torch.multiprocessing.get_context("spawn")
        folder = tempfile.mkdtemp(prefix="ranks-")
        self._processes, self._pipes = [], []
        for rank in range(world_size):
            pipe, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(rank, world_size, folder, theirs), daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            self._pipes.append(pipe)

    def run(self, scenario: Callable[..., Any], folder: Path, arguments: tuple) -> list[Any]:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save((scenario, arguments), folder / "job.pt")
        for pipe in self._pipes:
            pipe.send((str(folder), os.getcwd(), dict(os.environ)))
        waiting = list(self._pipes)
        while waiting:  # for any: where one fails, the others may wait for it in a collective
            for pipe in connection.wait(waiting):
                waiting.remove(pipe)
                self._check(pipe)
        return [torch.load(folder / f"result-{rank}.pt", weights_only=False) for rank in range(len(self._pipes))]

    def _check(self, pipe: connection.Connection) -> None:
        try:
            error = pipe.recv()
        except EOFError:
            error = "it has died"
        if error:
            raise RuntimeError(f"rank {self._pipes.index(pipe)}: {error}")

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.join()


_kept: dict[int, _Ranks] = {}


def _serve(rank: int, world_size: int, folder: str, pipe: connection.Connection) -> None:
    """Run what comes, until the tests are over."""
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", world_size)
    backend = NCCL if torch.cuda.device_count() >= world_size else GLOO
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size)
    with contextlib.suppress(EOFError):
        while True:
            place, here, environment = pipe.recv()
            os.environ.clear()
            os.environ.update(environment | {"LOCAL_RANK": str(rank), "TORCH_EXTENSIONS_DIR": f"{folder}/extensions"})
            os.chdir(here)
            torch.manual_seed(0)
            try:
                scenario, arguments = torch.load(f"{place}/job.pt", weights_only=False)
                torch.save(scenario(*arguments), f"{place}/result-{rank}.pt")
                dist.barrier()
                pipe.send("")
            except Exception:
                pipe.send(traceback.format_exc())
