"""Train a codec: `python -m pipelines.train_codec tiny --corpus ../corpus --minutes 20`.

<out>/
    run.json             the resolved configuration, can be given back with --config
    metrics.jsonl        a line a step
    tensorboard/         curves, clips, spectrograms, codebook usage
    checkpoints/         the last ones and the best; the same command goes on from there
    quarantine-0.jsonl   clips that could not serve, of each rank
    model/               config.json, model.safetensors: averaged weights, when the budget is used up
    finished.json        after how much training
    report.json, .html   held-out clips, judged
"""

import dataclasses
import datetime
import difflib
import json
import logging
import os
import socket
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
from infra.command_line import Choice, parse, run
from infra.config import fingerprint, to_json
from infra.model_folder import model_id
from infra.progress import Pace, Progress
from infra.shards import encode_json
from infra.storage import FolderStore, open_store
from infra.tracking import Tracker
from pipelines import corpus as corpora
from training.budget import LoopConfig, State
from training.checkpoints import REMEDY, Checkpoints, KeepConfig, Origin, difference
from training.config import CodecTraining, EngineConfig, ScheduleConfig, TrainingConfig
from training.data.config import DataConfig
from training.data.held_out import HeldOut, Item, held_out
from training.data.sources import open_sources
from training.guard import on_first_rank
from training.keys import key
from training.launch import Resources, Stopped, Worker, is_under_torchrun, joined, launch, require_absolute

ROOT = Path(__file__).resolve().parents[1]
CODE = ("codec", "training", "pipelines/train_codec.py", "pipelines/codec_validation.py")
RUN, FINISHED, MODEL, REPORT = "run.json", "finished.json", "model", "report.json"
DEFAULT_PRESET = "tiny"
PATIENCE = datetime.timedelta(days=7)  # of the other ranks, while the first builds a corpus and reads tars
FEW_CLIPS = 8  # of a GPU in a step

logger = logging.getLogger(__name__)


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
        if "://" in self.out:
            raise ValueError(f"--out {self.out}: give a folder of this machine; --checkpoints takes an s3:// prefix")
        batch_size, parts = self.recipe.training.batch_size, self.clips.logical_workers
        if batch_size % parts:
            raise ValueError(
                f"--training.batch-size is {batch_size}: give a multiple of --clips.logical-workers, which is {parts}"
            )


@dataclass(frozen=True)
class Job:
    """What every rank needs."""

    config: TrainCodec
    folder: str
    data: DataConfig  # with the places of all data
    origin: Origin

    def checkpoints(self) -> Checkpoints:
        return Checkpoints(open_store(self.config.checkpoints or f"{self.folder}/checkpoints"), self.origin, self.config.keep)

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
        return held_out(data, choice, self.config.model.sample_rate_hz, open_store(self.folder))


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
    with joined(config.resources):
        job, is_done = on_first_rank(lambda: _begun(config, preset), PATIENCE)
        if not is_done:
            state = launch(train_rank, job, config.resources)
            if not state.is_finished(config.loop):
                raise Stopped(f"stopped at step {state.step}, which is saved; the same command goes on")
    if config.report and _is_first() and not FolderStore(job.folder).exists(REPORT):
        judge(job)
    return Path(job.folder)


def _begun(config: TrainCodec, preset: str) -> tuple[Job, bool]:
    """The job, told in its folder, and whether it was done before. One process decides: ranks may see other disks."""
    job = job_of(config, preset)
    if is_finished(job):
        print(f"{job.folder}: trained before; give more --steps or --minutes to go on", flush=True)
        return job, True
    FolderStore(job.folder).put(RUN, encode_json({"task": preset, "config": to_json(config)}))
    print(f"{job.folder}: tensorboard --logdir {job.folder}/tensorboard", flush=True)
    return job, False


def job_of(config: TrainCodec, preset: str) -> Job:
    """All that can be wrong is found here, before anything starts. ValueError, OSError."""
    _check(config)
    places, shards = _split(config.corpus), _split(config.data)
    found = [corpora.resolve(place) for place in places] if places or shards else [corpora.resolve("")]
    data = dataclasses.replace(
        config.clips,
        corpora=tuple(corpus.location for corpus in found) + config.clips.corpora,
        shards=shards + config.clips.shards,
    )
    parents = {"corpora": [corpus.id for corpus in found], "data": list(data.shards)}
    named = {"config": identity(config), "recipe": to_json(config.recipe), "parents": parents}
    folder = config.out or f"data/codec-{preset}-{fingerprint(named)}"
    open_sources(data, open_store(folder))
    code = {"code": versions.code_hash(ROOT, CODE), "recipe": to_json(config.recipe), "clips": to_json(config.clips)}
    return Job(config, folder, data, Origin(identity(config), parents | code))


def _check(config: TrainCodec) -> None:
    """ValueError for numbers that do not go together, and for what is not there."""
    ranks = int(os.environ["WORLD_SIZE"]) if is_under_torchrun() else max(1, config.resources.workers)
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


def is_finished(job: Job) -> bool:
    """Whether the budget was used up before, and the model is there."""
    place = FolderStore(job.folder)
    if not (place.exists(FINISHED) and place.exists(f"{MODEL}/config.json")):
        return False
    found = json.loads(place.get(FINISHED))
    changed = difference(found["config"], job.origin.config)
    if changed:
        raise ValueError(f"{job.folder}: holds a codec of another configuration: {changed}; {REMEDY}")
    return State(found["step"], found["seconds"]).is_finished(job.config.loop)


def train_rank(job: Job, worker: Worker) -> State:
    """One rank's part; where the run stands when it ends."""
    from pipelines.codec_validation import Validation
    from training.codec_step import CodecTrainee
    from training.data.stream import Batching, Stream
    from training.loop import Run, train

    config, recipe = job.config, job.config.recipe.training
    check_node(job, worker)
    tracker = Tracker(job.folder if worker.rank == 0 else None, Progress(_pace(config)))
    try:
        trainee = CodecTrainee(job.untrained(), config.recipe, worker.device)
        sources = open_sources(job.data, open_store(job.folder))
        micro_batch = recipe.micro_batch(worker.world_size)
        batching = Batching(
            recipe.seed, config.model.sample_rate_hz, recipe.batch_size, micro_batch, worker.rank, worker.world_size
        )
        quarantine = Path(job.folder, f"quarantine-{worker.rank}.jsonl")
        items = job.held_out(config.validation) if config.loop.validation_steps else []
        surroundings = Run(
            recipe.seed,
            worker,
            job.checkpoints(),
            tracker,
            lambda state: Stream(sources, job.data, batching, state=state, quarantine=quarantine),
            Validation(trainee, items, tracker) if items else None,
        )
        state = train(trainee, surroundings, config.loop)
        if state.is_finished(config.loop):
            codec = trainee.publish()
            if worker.rank == 0:
                _publish(codec, job, state)
        return state
    finally:
        tracker.close()


def check_node(job: Job, worker: Worker) -> None:
    """ValueError where Ray has put this rank on a machine with other code, or the first one where the run's folder is not."""
    machine, code = socket.gethostname(), versions.code_hash(ROOT, CODE)
    if code != job.origin.parents["code"]:
        raise ValueError(f"{machine} has other code in {ROOT} than the machine of the command: bring them to the same commit")
    if worker.rank:
        return
    if not FolderStore(job.folder).exists(RUN):
        raise ValueError(f"{machine} has no {job.folder}/{RUN}: --out must be a folder that all nodes share")
    share = job.config.recipe.training.batch_size // worker.world_size
    if worker.device.type == "cuda" and share < FEW_CLIPS:
        logger.warning(
            "%d clips in a step are few for a GPU: --training.batch-size %d is over all %d ranks; %d or more use them better",
            *(share, job.config.recipe.training.batch_size, worker.world_size, FEW_CLIPS * worker.world_size),
        )


def judge(job: Job) -> None:
    """The report on held-out clips, beside the untrained codec."""
    from pipelines.codec_report import Options, report

    items = job.held_out(job.config.judged)
    if not items:
        print("no report: there are no held-out clips without a corpus; `make codec-report CORPUS=...` takes one")
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    codec = Codec.from_pretrained(f"{job.folder}/{MODEL}").to(device)
    parents = {"corpora": job.origin.parents["corpora"], "data": job.origin.parents["data"]}
    options = Options({"step 0": job.untrained().to(device)}, parents, num_processes=len(os.sched_getaffinity(0)))
    report(codec, items, open_store(job.folder), options)


def _publish(codec: Codec, job: Job, state: State) -> None:
    """The model, then the mark that it is there; a report of an earlier one goes."""
    place = FolderStore(job.folder)
    place.delete(REPORT)
    codec.save_pretrained(Path(job.folder, MODEL))
    about = {"model": model_id(Path(job.folder, MODEL)), "parents": job.origin.parents}  # for lineage
    finished = {"step": state.step, "seconds": state.seconds, "config": job.origin.config}
    place.put(FINISHED, encode_json(about | finished))


def _pace(config: TrainCodec) -> Pace:
    batch_size = config.recipe.training.batch_size
    limit_s = None if config.loop.minutes is None else 60 * config.loop.minutes
    return Pace(config.loop.steps, limit_s, batch_size, batch_size * config.clips.crop_s, loss="loss/generator")


def _split(places: str) -> tuple[str, ...]:
    return tuple(place for place in places.split(",") if place)


def _is_first() -> bool:
    """Under torchrun every rank runs this program; one of them speaks."""
    return not is_under_torchrun() or os.environ["RANK"] == "0"


def main(argv: list[str]) -> int:
    found = presets()
    if "--config" not in argv and not (argv and argv[0] in ("-h", "--help")):
        if not argv or argv[0].startswith("-"):
            argv = [DEFAULT_PRESET, *argv]
        elif argv[0] not in found:
            near = difflib.get_close_matches(argv[0], found, n=1)
            there = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(found)}"
            raise ValueError(f"no preset {argv[0]!r}: {there}")
    argv = ["--training." + word[2:] if word.split("=")[0] == "--seed" else word for word in argv]  # as other pipelines say it
    choices = {name: Choice(name, TrainCodec, config) for name, config in found.items()}
    preset, config = parse(choices, argv, prog="pipelines.train_codec")
    train_codec(config, preset)
    return 0


if __name__ == "__main__":
    from pipelines import train_codec as module  # by its name: what Ray's workers are sent is found there

    run(module.main)
