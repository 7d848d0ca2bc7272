"""Ranks as workers of Ray Train (V2), which starts all of them again when one has died."""

import dataclasses
import logging
import os
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import ray
import ray.train
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig, WorkerGroupError
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from infra import cluster
from training.launch import GLOO, NCCL, Resources, Signals, Worker

logger = logging.getLogger(__name__)

POLL_S = 0.2


@ray.remote(num_cpus=0)
class Supervisor:
    """Between the driver and the ranks: that they shall stop, and why starting them again would not help."""

    def __init__(self) -> None:
        self._stop, self._failure, self._starts = False, None, 0

    def started(self) -> int:
        """How often the ranks were started, this time included."""
        self._starts += 1
        return self._starts

    def stop(self) -> None:
        self._stop = True

    def is_stopping(self) -> bool:
        return self._stop

    def give_up(self, failure: ValueError) -> None:
        self._failure = self._failure or failure

    def failure(self) -> ValueError | None:
        return self._failure


class RayWorker(Worker):
    """A rank that Ray has placed."""

    def __init__(self, supervisor: Any, gpu: bool):
        super().__init__(get_device() if gpu else torch.device("cpu"))
        self._supervisor, self._stop, self._warned = supervisor, False, False

    def is_stopping(self) -> bool:
        return self._stop

    def heartbeat(self, metrics: dict[str, float]) -> bool:
        ray.train.report(metrics)
        self._stop = ray.get(self._supervisor.is_stopping.remote())
        leaving = not self._warned and ray.train.get_preemption_info() is not None
        self._warned = self._warned or leaving
        return leaving


def run(train: Callable[[Any, Worker], Any], config: Any, resources: Resources, signals: Signals) -> Any:
    """What `train` returns on rank 0. ValueError of any rank, OSError after too many failures, RuntimeError for the rest."""
    assert train.__module__ != "__main__", "workers import it by name: call launch from the imported module"
    own = not os.environ.get("RAY_ADDRESS")
    num_cpus = max(os.cpu_count() or 1, resources.workers)
    cluster.start(num_cpus)
    signals.listen()
    resources = dataclasses.replace(resources, gpu=_uses_gpu(resources, own))
    cpus = resources.cpus_per_worker or (max(1, num_cpus // resources.workers) if own else 1)
    _check(resources, cpus, own)
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"  # paths of the configuration are relative to the working folder
    supervisor = Supervisor.remote()
    with tempfile.TemporaryDirectory(prefix="ray-train-") as folder:
        trainer = (_OwnRayTrainer if own else TorchTrainer)(
            _rank,
            train_loop_config={"train": train, "config": config, "gpu": resources.gpu, "supervisor": supervisor},
            torch_config=TorchConfig(backend=NCCL if resources.gpu else GLOO),
            scaling_config=ScalingConfig(
                num_workers=resources.workers,
                use_gpu=resources.gpu,
                resources_per_worker={"CPU": cpus} | ({"GPU": 1} if resources.gpu else {}),
            ),
            run_config=RunConfig(
                storage_path=folder,
                failure_config=FailureConfig(max_failures=resources.max_failures),
                worker_runtime_env={"env_vars": _environment(cpus)},
                **({"logging_config": ray.train.LoggingConfig("WARNING")} if hasattr(ray.train, "LoggingConfig") else {}),
            ),
        )
        fit = _Fit(trainer)
        asked = False
        while fit.is_alive():
            fit.join(POLL_S)
            if signals.received and not asked:
                asked = True
                supervisor.stop.remote()
    failure = ray.get(supervisor.failure.remote())
    if failure is not None:
        raise failure
    if fit.error is not None:
        raise _cause(fit.error, resources.max_failures) from fit.error
    return fit.result.return_value


class _OwnRayTrainer(TorchTrainer):
    """For a Ray without a dashboard: one callback asks it every second, and complains in the log that it is not there."""

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()
        return [callback for callback in callbacks if type(callback).__name__ != "PlacementGroupCleanerCallback"]


class _Fit(threading.Thread):
    """The trainer in a thread of its own: signals are the main thread's, and Ray's handler would lose what is not saved."""

    def __init__(self, trainer: TorchTrainer):
        super().__init__(name="ray-train", daemon=True)
        self.trainer, self.result, self.error = trainer, None, None
        self.start()

    def run(self) -> None:
        try:
            self.result = self.trainer.fit()
        except BaseException as error:  # raised by the main thread
            self.error = error


def _rank(given: dict[str, Any]) -> Any:
    """The train function on one rank. A person's mistake is not made again: the restarted group sees it and ends."""
    supervisor = given["supervisor"]
    if ray.get(supervisor.failure.remote()) is not None:
        return None
    worker = RayWorker(supervisor, given["gpu"])
    if worker.rank == 0 and (starts := ray.get(supervisor.started.remote())) > 1:
        logger.warning("a rank has died: all are started again from the last checkpoint (start %d)", starts)
    try:
        return given["train"](given["config"], worker)
    except ValueError as error:
        ray.get(supervisor.give_up.remote(error))
        raise


def _uses_gpu(resources: Resources, own: bool) -> bool:
    """Whether each rank gets a GPU: what was asked for, else whether there are any where the ranks will run."""
    num_gpus = int(ray.cluster_resources().get("GPU", 0))
    if own and not torch.cuda.is_available():
        num_gpus = 0  # Ray counts those that this build of torch cannot use
    gpu = num_gpus > 0 if resources.gpu is None else resources.gpu
    where = "this machine" if own else f"the cluster {os.environ['RAY_ADDRESS']}"
    kind = "a GPU each" if gpu else "CPUs only"
    print(
        f"{resources.workers} ranks on {where}, which has {num_gpus} GPUs: {kind} (--gpu True and --gpu False choose)",
        flush=True,
    )
    return gpu


def _check(resources: Resources, cpus: int, own: bool) -> None:
    """ValueError for what this machine does not have; a cluster may be growing, so that Ray itself says what it waits for."""
    there = ray.cluster_resources()
    wanted = {"CPU": cpus * resources.workers, "GPU": resources.workers if resources.gpu else 0}
    for name, count in wanted.items():
        if own and there.get(name, 0) < count:
            remedy = "give fewer workers, or set RAY_ADDRESS to a cluster that has them"
            raise ValueError(
                f"{resources.workers} workers need {count} {name}s, this machine has {there.get(name, 0):.0f}; {remedy}"
            )


def _environment(cpus: int) -> dict[str, str]:
    names = ("TORCH_EXTENSIONS_DIR", "CUBLAS_WORKSPACE_CONFIG", "HF_HUB_OFFLINE")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(cpus))} | kept


def _cause(error: BaseException, max_failures: int) -> BaseException:
    """The first rank's error that a person can understand: the others only lost their connection to it."""
    if not isinstance(error, WorkerGroupError):
        return error
    failures = error.worker_failures.values()
    causes = [getattr(failure, "_base_exc", failure) for failure in failures]
    named = [cause for cause in causes if isinstance(cause, OSError)] or causes
    if isinstance(named[0], OSError):
        return named[0]
    return RuntimeError(f"ranks died more than {max_failures} times; the last time of {type(named[0]).__name__}: {named[0]}")
