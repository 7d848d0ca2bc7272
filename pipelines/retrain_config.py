"""What a retraining is: a TOML or JSON file over the defaults below, options of the command line over that.

preset = "tiny"                      # of the language model, as in `make train-lm`
registry = "s3://bucket/registry"
codec = "s3://bucket/codec/model"    # for the first champion

[data]
corpora = ["s3://bucket/corpora"]
out = "s3://bucket/data"             # on a cluster a place that all nodes reach
tasks = ["sr", "tse"]
count = 100000
gpus_per_worker = 0.5                # of encoding and evaluation, which else work on CPUs
workers = 16                         # CPUs of this machine; a cluster (RAY_ADDRESS) brings its own

[lm.resources]                       # else training is in the process of the command: in a pod on the CPUs of the head
workers = 8                          # ranks
gpu = true                           # one each

[[judging.datasets]]                 # printed by `python -m pipelines.frozen s3://bucket/test`
place = "s3://bucket/test/sr-0123456789ab"
id = "..."
manifest_sha256 = "..."
"""

import functools
import json
import os
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tyro

from infra.config import from_json, to_json
from infra.lease import LeaseConfig
from pipelines.judging_options import JudgingOptions
from pipelines.train_lm import DEFAULT_PRESET, TrainLM, presets
from simulation.registry import configurations
from training.gate import GateConfig

ByFile = tyro.conf.Suppress  # what no command line can hold: only in the configuration file
# What changes neither candidate nor decision, so that with another value a run is the same run and goes on.
OTHERWISE_THE_SAME = (
    *("registry", "codec", "new_codec", "work", "lease", "always", "keep_runs", "dry_run"),  # the id of the codec counts
    *(f"data.{name}" for name in ("corpora", "datasets", "out")),  # what is there is in the run's inputs
    *(f"data.{name}" for name in ("workers", "gpus_per_worker", "max_workers", "rerender")),
    # Training publishes the weights of its last step, whichever checkpoint was best, and every step draws from its own seed.
    *(f"lm.loop.{name}" for name in ("checkpoint_steps", "checkpoint_minutes", "validation_steps", "max_skipped")),
    *(f"lm.{name}" for name in ("resources", "held_out", "codec", "keep", "report", "judged_examples", "validation_examples")),
    *(f"lm.examples.{name}" for name in ("threads", "prefetch_steps", "max_reject_share")),
    "lm.recipe.peak_tflops",
    *("judging.heard", "judging.clips_per_part"),  # each clip is judged by itself
)


@dataclass(frozen=True)
class Data:
    """What there is to train on, and what is simulated from it."""

    corpora: tuple[str, ...] = ()
    """Manifests of corpora, folders or s3:// prefixes with one, or with several below: what is new there is new data."""
    datasets: tuple[str, ...] = ()
    """Finished datasets of task audio that come from elsewhere, likewise; those of another split, rate or task are left out."""
    out: str = "data"
    """Folder or s3:// prefix for simulated data and tokens; what is there is not made again."""
    tasks: tuple[str, ...] = ("sr",)
    """As `make simulate TASK=` knows them."""
    count: int = 256
    """Examples of each task and corpus. More of them later are more datasets; only a last, short one is made anew."""
    block: int = 16384
    """Examples of one dataset, at most."""
    seed: int = 0
    sample_rate_hz: int = 16000
    split: str = "train"
    examples_per_shard: int = 64
    rerender: int = 2
    """Examples of a dataset that are rendered again to verify it, once (pipelines/verify.py)."""
    ranges: ByFile[dict[str, Any]] = field(default_factory=dict)
    """By task, what differs from its defaults, as in [data.ranges.sr]."""
    workers: int | None = None
    """CPUs of this machine for simulation, encoding and evaluation, all if not given. A cluster brings its own."""
    gpus_per_worker: float = 0.0
    """For encoding and evaluation; 0 works on CPUs."""
    max_workers: int | None = None
    """Of encoding and evaluation, on a cluster that grows with the work; if not given, as many as it has room for at first."""

    def __post_init__(self) -> None:
        for name in ("count", "block", "examples_per_shard"):
            if getattr(self, name) < 1:
                raise ValueError(f"data.{name} is {getattr(self, name)}: give 1 or more")
        unknown = [name for name in (*self.tasks, *self.ranges) if name not in configurations()]
        if unknown:
            raise ValueError(f"data.tasks: no task {unknown[0]!r}; there are {', '.join(configurations())}")


@dataclass(frozen=True)
class Frozen:
    """A dataset that must be the very one it was when the configuration was written."""

    place: str
    id: str
    manifest_sha256: str


@dataclass(frozen=True)
class JudgingConfig(JudgingOptions):
    """What champion and candidate are judged on, both by the same code."""

    datasets: tuple[Frozen, ...] = ()


@dataclass(frozen=True)
class Retrain:
    """Train on what is new since the champion, compare, promote what is better. A rerun goes on where the last one ended."""

    lm: TrainLM
    """How the language model is trained; its data, start and places are given by the run."""
    preset: str = DEFAULT_PRESET
    registry: str = ""
    """Folder or s3:// prefix of the registry (pipelines that share it take turns)."""
    codec: str = ""
    """A published codec for the first champion; later the champion's own is used, unless --new-codec."""
    new_codec: bool = False
    """Take --codec in place of the champion's: all data are encoded anew and the language model starts from nothing, even if no
    data are new. Nothing else once the champion has that codec."""
    warm_start: bool = True
    """Start with the champion's weights."""
    always: bool = False
    """Also when no data are new: another configuration is then another run."""
    work: str = "data/retrain"
    """Folder of the training runs, on this machine or on a disk that all nodes share."""
    licence: str = ""
    """Of the weights, for the model card."""
    keep_runs: int = 10
    """Ended runs that keep their candidate and the audio of their evaluation; of older ones only what tells how they came about
    stays (pipelines/retention.py)."""
    dry_run: bool = False
    """Say what would be done and end: no lease is taken, nothing is made."""
    data: Data = field(default_factory=Data)
    judging: ByFile[JudgingConfig] = field(default_factory=JudgingConfig)
    gate: ByFile[GateConfig] = field(default_factory=GateConfig)
    lease: LeaseConfig = field(default_factory=LeaseConfig)

    def __post_init__(self) -> None:
        if "://" in self.work:
            raise ValueError(f"--work {self.work}: give a folder of this machine, or of a disk that all nodes share")
        given = [name for name in ("data", "init", "out", "checkpoints") if getattr(self.lm, name)]
        if given:
            raise ValueError(f"lm.{given[0]} is {getattr(self.lm, given[0])!r}: the run gives it, leave it out")
        if self.lm.loop.minutes is not None:
            raise ValueError("lm.loop.minutes: give lm.loop.steps, so that a run that was killed ends with the same model")
        if self.keep_runs < 1:
            raise ValueError(f"--keep-runs is {self.keep_runs}: give 1 or more")
        if self.new_codec and not self.codec:
            raise ValueError("--new-codec, but no --codec: give the codec to change to")

    def identity(self) -> dict[str, Any]:
        """What of this changes candidate or decision: not where it lies, who works, how long others wait and what is shown."""
        values = to_json(self)
        values["judging"]["datasets"] = sorted(frozen.id for frozen in self.judging.datasets)
        for path in OTHERWISE_THE_SAME:
            *sections, name = path.split(".")
            del functools.reduce(dict.__getitem__, sections, values)[name]
        return values

    def absolute(self) -> "Retrain":
        """With places that mean the same on every node and in every folder."""
        data = replace(
            self.data,
            out=_absolute(self.data.out),
            corpora=tuple(map(_absolute, self.data.corpora)),
            datasets=tuple(map(_absolute, self.data.datasets)),
        )
        places = {name: _absolute(getattr(self, name)) for name in ("registry", "codec", "work")}
        return replace(self, data=data, **places)


def read(argv: list[str], prog: str) -> Retrain:
    """`[--config FILE] --option value ...` to the configuration. ValueError names the file and the option."""
    argv, path = list(argv), ""
    if "--config" in argv:
        at = argv.index("--config")
        path = argv[at + 1] if at + 1 < len(argv) else ""
        del argv[at : at + 2]
    values = _values(path) if path else {}
    preset = values.get("preset", DEFAULT_PRESET)
    if preset not in presets():
        raise ValueError(f"{path}: no preset {preset!r}; there are {', '.join(presets())}")
    default = Retrain(presets()[preset], preset)
    config = from_json(Retrain, _merged(to_json(default), values), path)
    return tyro.cli(Retrain, default=config, args=argv, prog=prog).absolute()


def _values(path: str) -> dict[str, Any]:
    """What a TOML or JSON file says; of a run.json its configuration."""
    try:
        text = Path(path).read_text()
        found = json.loads(text) if path.endswith(".json") else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise ValueError(f"--config {path}: give a TOML or JSON file: {error}") from error
    found = found.get("config", found) if isinstance(found, dict) else found
    if not isinstance(found, dict):
        raise ValueError(f"--config {path}: give a table of options")
    return found


def _merged(default: Any, values: Any) -> Any:
    """Tables within tables; anything else is replaced."""
    if not (isinstance(default, dict) and isinstance(values, dict)):
        return values
    return default | {name: _merged(default.get(name), value) for name, value in values.items()}


def _absolute(place: str) -> str:
    return place if not place or "://" in place else os.path.abspath(place)
