"""Train a codec: `python -m pipelines.train_codec tiny --corpus ../corpus --minutes 20`.

Its folder is that of any run (pipelines/train_run.py), with clips, spectrograms and codebook usage in tensorboard/ and a page
to listen to, report.html.
"""

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from codec.config import CodecConfig
from codec.discriminators.ensemble import DISCRIMINATOR_PRESETS
from codec.model import Codec
from codec.presets import PRESETS
from codec.teacher import open_teacher
from infra import versions
from infra.command_line import run
from infra.config import fingerprint, to_json
from infra.progress import Progress
from infra.storage import open_store
from infra.tracking import Tracker
from pipelines import corpus as corpora
from pipelines.train_run import (
    MODEL,
    RunFolder,
    check_folder,
    check_node,
    check_shares,
    chosen,
    num_ranks,
    pace,
    split,
    train_and_judge,
)
from training.budget import LoopConfig, State
from training.checkpoints import KeepConfig, Origin
from training.config import CodecTraining, EngineConfig, ScheduleConfig, TrainingConfig
from training.data.config import DataConfig
from training.data.held_out import HeldOut, Item, held_out
from training.data.sources import open_sources
from training.keys import key
from training.launch import Resources, Worker, require_absolute

ROOT = Path(__file__).resolve().parents[1]
CODE = ("codec", "training", "pipelines/train_codec.py", "pipelines/train_run.py", "pipelines/codec_validation.py")
DEFAULT_PRESET = "tiny"


@dataclass(frozen=True)
class TrainCodec:
    """Train one codec, or go on training it: a rerun of the same command continues where the last one was."""

    model: tyro.conf.AvoidSubcommands[CodecConfig]
    """What the codec is."""
    corpus: str = ""
    """Corpora, separated by commas: manifests, folders or s3:// prefixes; the starter corpus if there is no --data either."""
    data: str = ""
    """Shards, separated by commas: datasets of `make simulate`, or plain tars with their domain (music=s3://bucket/folder)."""
    out: str = ""
    """Folder of the run, on this machine; data/codec-<preset>-<fingerprint> if not given."""
    checkpoints: str = ""
    """Folder or s3:// prefix for the checkpoints, if not in the run's folder: nodes may then come and go."""
    clips: DataConfig = field(default_factory=DataConfig)
    """What is cut from the data."""
    recipe: Annotated[CodecTraining, tyro.conf.arg(name="")] = field(default_factory=CodecTraining)
    loop: Annotated[LoopConfig, tyro.conf.arg(name="")] = field(default_factory=LoopConfig)
    keep: KeepConfig = field(default_factory=KeepConfig)
    """Checkpoints that stay."""
    resources: Annotated[Resources, tyro.conf.arg(name="")] = field(default_factory=Resources)
    validation: HeldOut = field(default_factory=lambda: HeldOut(per_domain=4, seconds=5.0))
    """Held-out clips that are judged on the way."""
    report: bool = True
    """Judge the codec in the end."""
    judged: HeldOut = field(default_factory=HeldOut)
    """Held-out clips of that report."""

    def __post_init__(self) -> None:
        check_folder(self.out)
        check_shares(self.recipe.training.batch_size, "clips", self.clips.logical_workers)


@dataclass(frozen=True)
class Job:
    """What every rank needs."""

    config: TrainCodec
    data: DataConfig  # with the places of all data
    run: RunFolder

    def untrained(self) -> Codec:
        """The codec as it is at step 0, the same on every rank."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key(self.config.recipe.training.seed, "weights"))
            return Codec(self.config.model)

    def held_out(self, choice: HeldOut) -> list[Item]:
        """Clips that are not trained on; none where only shards are given."""
        if not self.data.corpora:
            return []
        data = dataclasses.replace(self.data, shards=())
        return held_out(data, choice, self.config.model.sample_rate_hz, open_store(self.run.path))


def presets() -> dict[str, TrainCodec]:
    """Every codec preset, with what its training takes."""
    cpu = CodecTraining(
        training=TrainingConfig(batch_size=8, micro_batch_size=8, schedule=ScheduleConfig(warmup_steps=100)),
        generator=EngineConfig(learning_rate=1e-3, zero_stage=0),
        discriminator=EngineConfig(zero_stage=0),
        discriminators=DISCRIMINATOR_PRESETS["tiny"],
        adversarial_start=4000,
    )
    full = CodecTraining(training=TrainingConfig(precision="bf16"))
    small = dataclasses.replace(full, discriminators=DISCRIMINATOR_PRESETS["small"])
    found = {name: TrainCodec(model, recipe=full) for name, model in PRESETS.items()}
    found["small"] = TrainCodec(PRESETS["small"], clips=DataConfig(crop_s=3.0), recipe=small)
    clips, loop = DataConfig(crop_s=1.0), LoopConfig(steps=20_000, checkpoint_steps=500, validation_steps=500)
    found["tiny"] = TrainCodec(PRESETS["tiny"], clips=clips, recipe=cpu, loop=loop)
    return found


def train_codec(config: TrainCodec, preset: str) -> Path:
    """The folder of the run, trained to the end of its budget and judged. ValueError for what a person can mend, OSError."""
    return train_and_judge(config, lambda: job_of(config, preset), train_rank, judge, name=preset)


def job_of(config: TrainCodec, preset: str) -> Job:
    """All that can be wrong is found here, before anything starts. ValueError, OSError."""
    _check(config)
    places, shards = split(config.corpus), split(config.data)
    found = [corpora.resolve(place) for place in places] if places or shards else [corpora.resolve("")]
    data = dataclasses.replace(
        config.clips,
        corpora=tuple(corpus.location for corpus in found) + config.clips.corpora,
        shards=shards + config.clips.shards,
    )
    parents = {"corpora": [corpus.id for corpus in found], "data": list(data.shards)}
    fixed = identity(config)
    named = {"config": fixed, "recipe": to_json(config.recipe), "parents": parents}
    folder = config.out or f"data/codec-{preset}-{fingerprint(named)}"
    open_sources(data, open_store(folder))
    code = {"code": versions.code_hash(ROOT, CODE), "recipe": to_json(config.recipe), "clips": to_json(config.clips)}
    return Job(config, data, RunFolder(folder, Origin(fixed, parents | code)))


def _check(config: TrainCodec) -> None:
    """ValueError for numbers that do not go together, and for what is not there."""
    ranks = num_ranks(config.resources)
    require_absolute(config.out, config.resources)
    config.recipe.training.micro_batch(ranks)
    workers = config.clips.logical_workers
    if ranks > workers:
        raise ValueError(f"{ranks} ranks: raise --clips.logical-workers, which is {workers}, to {ranks} or a multiple of it")
    if workers % ranks:
        raise ValueError(f"{ranks} ranks: give a number that divides --clips.logical-workers, which is {workers}")
    if config.clips.num_channels != 1:
        raise ValueError(
            f"--clips.num-channels is {config.clips.num_channels}: give 1. A codec is trained on mono clips; stereo is coded as"
            " mid and side when it is used"
        )
    if config.model.teacher.kind != "log-mel":
        try:
            open_teacher(config.model.teacher)
        except ValueError as error:
            raise ValueError(f"{error}\n--model.teacher.kind log-mel trains without any teacher's weights") from error


def identity(config: TrainCodec) -> dict[str, Any]:
    """What must stay the same for a run to go on; data, lengths, intervals and learning rates may change."""
    training, model = config.recipe.training, to_json(config.model)
    model["teacher"].pop("source")  # it may have been moved
    return {
        "model": model,
        "discriminators": to_json(config.recipe.discriminators),
        "training": {"seed": training.seed, "batch_size": training.batch_size},
        "clips": {"logical_workers": config.clips.logical_workers, "num_channels": config.clips.num_channels},
    }


def train_rank(job: Job, worker: Worker) -> State:
    """One rank's part; where the run stands when it ends."""
    from pipelines.codec_validation import Validation
    from training.codec_step import CodecTrainee
    from training.data.stream import Batching, Stream
    from training.loop import Run, train

    config, recipe = job.config, job.config.recipe.training
    check_node(job.run, worker, versions.code_hash(ROOT, CODE), recipe.batch_size)
    progress = Progress(pace(config.loop, recipe.batch_size, "loss/generator", config.clips.crop_s))
    tracker = Tracker(job.run.path if worker.rank == 0 else None, progress)
    try:
        trainee = CodecTrainee(job.untrained(), config.recipe, worker.device)
        sources = open_sources(job.data, open_store(job.run.path))
        micro_batch = recipe.micro_batch(worker.world_size)
        batching = Batching(
            recipe.seed, config.model.sample_rate_hz, recipe.batch_size, micro_batch, worker.rank, worker.world_size
        )
        quarantine = Path(job.run.path, f"quarantine-{worker.rank}.jsonl")
        items = job.held_out(config.validation) if config.loop.validation_steps else []
        surroundings = Run(
            recipe.seed,
            worker,
            job.run.checkpoints(config.checkpoints, config.keep),
            tracker,
            lambda state: Stream(sources, job.data, batching, state=state, quarantine=quarantine),
            Validation(trainee, items, tracker) if items else None,
        )
        state = train(trainee, surroundings, config.loop)
        if state.is_finished(config.loop):
            codec = trainee.publish()
            if worker.rank == 0:
                job.run.publish(codec, state)
        return state
    finally:
        tracker.close()


def judge(job: Job) -> None:
    """The report on held-out clips, beside the untrained codec."""
    from pipelines.codec_report import Options, report

    items = job.held_out(job.config.judged)
    if not items:
        print("no report: there are no held-out clips without a corpus; `make codec-report CORPUS=...` takes one")
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    codec = Codec.from_pretrained(f"{job.run.path}/{MODEL}").to(device)
    parents = {"corpora": job.run.origin.parents["corpora"], "data": job.run.origin.parents["data"]}
    options = Options({"step 0": job.untrained().to(device)}, parents, num_processes=len(os.sched_getaffinity(0)))
    report(codec, items, open_store(job.run.path), options)


def main(argv: list[str]) -> int:
    preset, config = chosen(presets(), argv, default=DEFAULT_PRESET, prog="pipelines.train_codec")
    train_codec(config, preset)
    return 0


if __name__ == "__main__":
    from pipelines import train_codec as module  # by its name: what Ray's workers are sent is found there

    run(module.main)
