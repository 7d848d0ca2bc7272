"""What training runs of any model have in common: their folder, when they are finished, their command line.

<out>/
    run.json             the resolved configuration, can be given back with --config
    metrics.jsonl        a line a step
    tensorboard/         curves
    checkpoints/         the last ones and the best; the same command goes on from there
    quarantine-0.jsonl   clips that could not serve, of each rank
    model/               config.json, model.safetensors: averaged weights, when the budget is used up
    finished.json        after how much training
    report.json          held-out clips, judged
"""

import datetime
import difflib
import functools
import json
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from infra.command_line import Choice, parse
from infra.config import to_json
from infra.model_folder import model_id
from infra.progress import Pace
from infra.shards import encode_json
from infra.storage import FolderStore, open_store
from training.budget import LoopConfig, State
from training.checkpoints import REMEDY, Checkpoints, KeepConfig, Origin, difference
from training.guard import on_first_rank
from training.launch import Resources, Stopped, Worker, is_under_torchrun, joined, launch

RUN, FINISHED, MODEL, REPORT, CHECKPOINTS = "run.json", "finished.json", "model", "report.json", "checkpoints"
PATIENCE = datetime.timedelta(days=7)  # of the other ranks, while the first builds a corpus and reads tars
FEW_ITEMS = 8  # of a GPU in a step

logger = logging.getLogger(__name__)


class Model(Protocol):
    def save_pretrained(self, folder: Path) -> None: ...


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run, on this machine, and what its contents come from."""

    path: str
    origin: Origin

    def checkpoints(self, place: str, keep: KeepConfig) -> Checkpoints:
        """In the folder, or at another place if one is given."""
        return Checkpoints(open_store(place or f"{self.path}/{CHECKPOINTS}"), self.origin, keep)

    def begin(self, name: str, config: Any) -> None:
        """Say what is going to be made."""
        FolderStore(self.path).put(RUN, encode_json({"task": name, "config": to_json(config)}))
        print(f"{self.path}: tensorboard --logdir {self.path}/tensorboard", flush=True)

    def is_finished(self, budget: LoopConfig) -> bool:
        """Whether the budget was used up before, and the model is there. ValueError for a model of another configuration."""
        place = FolderStore(self.path)
        if not (place.exists(FINISHED) and place.exists(f"{MODEL}/config.json")):
            return False
        found = json.loads(place.get(FINISHED))
        changed = difference(found["config"], self.origin.config)
        if changed:
            raise ValueError(f"{self.path}: holds a model of another configuration: {changed}; {REMEDY}")
        return State(found["step"], found["seconds"]).is_finished(budget)

    def has_report(self) -> bool:
        return FolderStore(self.path).exists(REPORT)

    def publish(self, model: Model, state: State) -> None:
        """The model, then the mark that it is there; a report of an earlier one goes."""
        place = FolderStore(self.path)
        place.delete(REPORT)
        model.save_pretrained(Path(self.path, MODEL))
        about = {"model": model_id(Path(self.path, MODEL)), "parents": self.origin.parents}  # for lineage
        about |= {"step": state.step, "seconds": state.seconds, "config": self.origin.config}
        place.put(FINISHED, encode_json(about))


def check_folder(out: str) -> None:
    """ValueError for --out that is no folder of this machine."""
    if "://" in out:
        raise ValueError(f"--out {out}: give a folder of this machine; --checkpoints takes an s3:// prefix")


def check_shares(batch_size: int, option: str, logical_workers: int) -> None:
    """ValueError for a batch that the logical workers, which `option` has, cannot share evenly."""
    if batch_size % logical_workers:
        raise ValueError(
            f"--training.batch-size is {batch_size}: give a multiple of --{option}.logical-workers, which is {logical_workers}"
        )


class Job(Protocol):
    """What every rank of a run needs; `config.loop` is its budget."""

    config: Any
    run: RunFolder


J = TypeVar("J", bound=Job)


def train_and_judge(
    config: Any, make: Callable[[], J], train: Callable[[J, Worker], State], judge: Callable[[J], None], *, name: str
) -> Path:
    """The folder of the run of preset `name`, trained to the end of its budget and then judged by the first rank.

    `train` is pickled for Ray. ValueError for what a person can mend, OSError, Stopped after a signal.
    """
    with joined(config.resources):
        job = begun_once(make, name)
        train_once(job.run, functools.partial(train, job), budget=config.loop, resources=config.resources)
    if config.report and is_first() and not job.run.has_report():
        judge(job)
    return Path(job.run.path)


def begun_once(make: Callable[[], J], name: str) -> J:
    """The job, told in its folder unless that is finished. Under torchrun one rank makes it: others may see other disks."""

    def begun() -> J:
        job = make()
        if not job.run.is_finished(job.config.loop):
            job.run.begin(name, job.config)
        return job

    return on_first_rank(begun, PATIENCE)


def train_once(run: RunFolder, train: Callable[[Worker], State], *, budget: LoopConfig, resources: Resources) -> None:
    """Train to the end of the budget, unless that was done before. `train` is pickled for Ray. Stopped after a signal.

    Under torchrun call it in `joined`: the first rank decides for all.
    """
    if on_first_rank(lambda: _is_done(run, budget)):
        return
    state = launch(_on_rank, train, resources)
    if not state.is_finished(budget):
        raise Stopped(f"stopped at step {state.step}, which is saved; the same command goes on")


def _is_done(run: RunFolder, budget: LoopConfig) -> bool:
    done = run.is_finished(budget)
    if done:
        print(f"{run.path}: trained before; give more --steps or --minutes to go on", flush=True)
    return done


def _on_rank(train: Callable[[Worker], State], worker: Worker) -> State:
    return train(worker)


def check_node(run: RunFolder, worker: Worker, code: str, batch_size: int) -> None:
    """ValueError where Ray has put this rank on a machine with other code, or the first one where the run's folder is not."""
    machine = socket.gethostname()
    if code != run.origin.parents["code"]:
        raise ValueError(f"{machine} has other code than the machine of the command: bring them to the same commit")
    if worker.rank:
        return
    if not FolderStore(run.path).exists(RUN):
        raise ValueError(f"{machine} has no {run.path}/{RUN}: --out must be a folder that all nodes share")
    share = batch_size // worker.world_size
    if worker.device.type == "cuda" and share < FEW_ITEMS:
        logger.warning(
            "%d clips in a step are few for a GPU: --training.batch-size %d is over all %d ranks; %d or more use them better",
            *(share, batch_size, worker.world_size, FEW_ITEMS * worker.world_size),
        )


def num_ranks(resources: Resources) -> int:
    return int(os.environ["WORLD_SIZE"]) if is_under_torchrun() else max(1, resources.workers)


def is_first() -> bool:
    """Under torchrun every rank runs the program; one of them speaks."""
    return not is_under_torchrun() or os.environ["RANK"] == "0"


def split(places: str) -> tuple[str, ...]:
    """Places, separated by commas."""
    return tuple(place for place in places.split(",") if place)


def pace(budget: LoopConfig, batch_size: int, loss: str, clip_s: float = 0.0) -> Pace:
    """`clip_s` of audio in each item of a batch, where that has a speed."""
    limit_s = None if budget.minutes is None else 60 * budget.minutes
    return Pace(budget.steps, limit_s, batch_size, batch_size * clip_s, loss=loss)


def chosen(presets: dict[str, Any], argv: list[str], *, default: str, prog: str) -> tuple[str, Any]:
    """`[PRESET] --option value ...` or `--config run.json` to the preset's name and its configuration.

    `--seed` is short for `--training.seed`. ValueError with the nearest name for an unknown preset.
    """
    if "--config" not in argv and not (argv and argv[0] in ("-h", "--help")):
        if not argv or argv[0].startswith("-"):
            argv = [default, *argv]
        elif argv[0] not in presets:
            near = difflib.get_close_matches(argv[0], presets, n=1)
            there = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(presets)}"
            raise ValueError(f"no preset {argv[0]!r}: {there}")
    argv = ["--training." + word[2:] if word.split("=")[0] == "--seed" else word for word in argv]
    return parse({name: Choice(name, type(config), config) for name, config in presets.items()}, argv, prog=prog)
