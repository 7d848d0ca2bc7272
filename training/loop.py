"""The one training loop. It knows neither codec nor language model, neither Ray nor DeepSpeed."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from infra.tracking import Tracker
from training.budget import Clock, LoopConfig, State
from training.checkpoints import Checkpoints
from training.guard import SkipGuard, agreed, gathered, longest
from training.keys import key
from training.launch import Worker
from training.step_metrics import export_save, export_step, running


class Trainee(Protocol):
    """What the loop trains. Every method is collective."""

    def step(self, batches: list[Any], step: int) -> dict[str, float]:
        """One optimizer step on this rank's micro-batches, torch seeded for it; the same numbers on all ranks.

        If anything is not finite, nothing changes on any rank and "skipped" is 1.0.
        """

    def state(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Names and tensors that any number of ranks can load; rank 0 gets the tensors, the others empty dicts."""

    def load(self, files: Mapping[str, dict[str, Tensor]]) -> None:
        """Take what `state` gave; asserts that nothing is missing."""


@dataclass
class Run:
    """What surrounds a trainee: its data, its rank, its record."""

    seed: int
    worker: Worker
    checkpoints: Checkpoints
    tracker: Tracker
    batches: Callable[[dict[str, Any] | None], Any]
    """From the data's state (None at the start) to an endless iterator with `close`: micro-batches, this rank's state after."""
    validate: Callable[[int], dict[str, float]] | None = None
    """From a step to metrics that are the same on all ranks; collective."""


def train(trainee: Trainee, run: Run, config: LoopConfig) -> State:
    """From the newest checkpoint to the end of the budget, or until a signal asks to stop; saved in the end.

    Step and seconds of the state are the same on all ranks, and so is whether it is finished: what follows may be collective.
    ValueError for what a person can mend (Diverged among it), OSError where the outside world fails.
    """
    state = State()
    if checkpoint := run.checkpoints.newest():
        state = State(**checkpoint.state())
        trainee.load(checkpoint)
    run.tracker.resume(state.step, state.seconds)
    guard, clock = SkipGuard(config.max_skipped, state.skipped), Clock(config, state)
    if state.step == 0 and run.validate and clock.validation_is_due(0):
        run.tracker.log(0, _validated(run, 0))
    end = state.is_finished(config)
    with running(run.tracker.folder), closing(run.batches(state.stream)) as stream:
        while not end:
            began_s = time.monotonic()
            batches, state.stream = next(stream)
            waited_s = time.monotonic() - began_s
            state.step += 1
            # By rank too, or all ranks would drop the same units: with dropout, another number of ranks trains other weights.
            torch.manual_seed(key(run.seed, "step", state.step, run.worker.rank))
            metrics = trainee.step(batches, state.step)
            times = {"time": {"total_s": clock.seconds(), "step_s": time.monotonic() - began_s, "wait_s": waited_s}}
            skipped = guard.watch(state.step, metrics.get("skipped", 0.0) > 0, batches)
            validated = _validated(run, state.step) if clock.validation_is_due(state.step) else {}
            run.tracker.log(state.step, metrics | validated | skipped | times)
            export_step(run.tracker.folder, state.step, metrics | validated, times["time"])
            guard.check()
            state.skipped, state.seconds = guard.in_a_row, longest(clock.seconds())
            stop, save, beat = agreed(run.worker.is_stopping(), *clock.due(state.step))
            if beat:
                save = run.worker.heartbeat({"step": state.step} | metrics) or save
                clock.beaten()
            end = state.is_finished(config) or stop
            if end or save:
                _save(trainee, run, state, validated, must=end)
                clock.saved()
    return state


def _validated(run: Run, step: int) -> dict[str, float]:
    return {f"valid/{name}": value for name, value in run.validate(step).items()} if run.validate else {}


def _save(trainee: Trainee, run: Run, state: State, validated: dict[str, float], *, must: bool) -> None:
    run.tracker.sync()
    stream = {worker: position for found in gathered(state.stream or {}) for worker, position in found.items()}
    metrics = {name: value for name, value in validated.items() if math.isfinite(value)}
    began_s = time.monotonic()
    saved = run.checkpoints.save(asdict(state) | {"stream": stream}, trainee.state(), metrics, must)
    export_save(run.tracker.folder, time.monotonic() - began_s, saved)
