"""Train a language model on tokens: `python -m pipelines.train_lm tiny --data data/train --held-out data/test --minutes 30`.

Tokens are made by `make encode`. The folder of the run is described in pipelines/train_run.py; its report.json has the losses
on held-out examples beside those of a unigram and, where --codec is given, of a copy of the input.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from codec.model import Codec
from infra import versions
from infra.command_line import run
from infra.config import fingerprint, to_json
from infra.dataset import open_dataset
from infra.model_folder import local_folder, model_id
from infra.progress import Progress
from infra.storage import open_store
from infra.tracking import Tracker
from lm.audio_encoder import RATE_HZ
from lm.conditions import Encoders
from lm.config import PRESETS, LMConfig, TokenConfig
from lm.model import UnifiedLM
from lm.text_encoder import check_text
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
from training.adversarial_config import check_tokens
from training.budget import LoopConfig, State
from training.checkpoints import KeepConfig, Origin
from training.config import EngineConfig, ScheduleConfig, TrainingConfig
from training.data.token_config import TokenData
from training.data.token_examples import Cutting, TokenExample
from training.data.token_held_out import batched, first_examples
from training.data.token_source import TokenSource, Wanted, open_token_sources
from training.keys import key
from training.launch import Resources, Worker, require_absolute
from training.lm_config import LMTraining
from training.warm_start import warm_started

ROOT = Path(__file__).resolve().parents[1]
CODE = ("lm", "training", "pipelines/train_lm.py", "pipelines/train_run.py", "pipelines/lm_validation.py")
HELD_OUT_SPLITS = ("test", "valid")
DEFAULT_PRESET = "tiny"


@dataclass(frozen=True)
class TrainLM:
    """Train one language model, or go on training it: a rerun of the same command continues where the last one was."""

    model: tyro.conf.AvoidSubcommands[LMConfig]
    """What the model is; its tokens are those of the data unless they are given."""
    data: str = ""
    """Token datasets of the split train, or folders or s3:// prefixes of them, separated by commas."""
    held_out: str = ""
    """Token datasets of the splits test or valid, likewise: for validation and report."""
    codec: str = ""
    """The codec of the tokens: with it the report has the copy of the input."""
    init: str = ""
    """A model whose weights to start with, of the same shape: folder, the same on all nodes, or s3:// prefix."""
    out: str = ""
    """Folder of the run, on this machine; data/lm-<preset>-<fingerprint> if not given."""
    checkpoints: str = ""
    """Folder or s3:// prefix for the checkpoints, if not in the run's folder: nodes may then come and go."""
    examples: TokenData = field(default_factory=TokenData)
    """How the data are drawn and cut."""
    recipe: Annotated[LMTraining, tyro.conf.arg(name="")] = field(default_factory=LMTraining)
    loop: Annotated[LoopConfig, tyro.conf.arg(name="")] = field(default_factory=LoopConfig)
    keep: KeepConfig = field(default_factory=lambda: KeepConfig(best="valid/loss"))
    """Checkpoints that stay."""
    resources: Annotated[Resources, tyro.conf.arg(name="")] = field(default_factory=Resources)
    validation_examples: int = 16
    """Held-out examples of each task that are judged on the way."""
    judged_examples: int = 128
    """And those of the report; as many training examples are what the baselines are fitted to."""
    report: bool = True
    """Judge the model in the end."""

    def __post_init__(self) -> None:
        check_folder(self.out)
        for name in ("validation_examples", "judged_examples"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}: give 1 or more")
        check_shares(self.recipe.training.batch_size, "examples", self.examples.logical_workers)


@dataclass(frozen=True)
class Job:
    """What every rank needs."""

    config: TrainLM
    model: LMConfig  # with the tokens of the data
    run: RunFolder

    def sources(self, encoders: Encoders | None = None, *, held_out: bool = False) -> list[TokenSource]:
        """The examples to train on, or to judge with (none if none are named). ValueError for what a person can mend."""
        splits = HELD_OUT_SPLITS if held_out else ("train",)
        places = split(self.config.held_out) if held_out else (*split(self.config.data), *self.config.examples.datasets)
        if held_out and not places:
            return []
        check = getattr(encoders and encoders.text, "check", check_text)
        model = self.model
        wanted = Wanted(model.max_positions, splits, model.tokens, check, model.conditions.audio_encoder, model.copies)
        return open_token_sources(dataclasses.replace(self.config.examples, datasets=places), wanted)

    def first(self, sources: list[TokenSource], per_task: int) -> list[TokenExample]:
        """Examples that are the same in every run."""
        data = self.config.examples
        return first_examples(
            sources, Cutting(self.model.tokens, self.model.max_positions, data.crop_s, data.reference_s), per_task
        )

    def untrained(self) -> UnifiedLM:
        """The model as it is at step 0, the same on every rank."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key(self.config.recipe.training.seed, "weights"))
            if not self.config.init:
                return UnifiedLM(self.model)
            return warm_started(self.model, self.config.init, self.run.origin.parents["init"])


def presets() -> dict[str, TrainLM]:
    """Every preset of the model, with what its training takes."""
    warm_up = ScheduleConfig(warmup_steps=2000, decay=0.99998, floor=0.02)

    def recipe(learning_rate: float, zero_stage: int, micro_batch_size: int, **options: Any) -> LMTraining:
        training = TrainingConfig(batch_size=192, micro_batch_size=micro_batch_size, precision="bf16", schedule=warm_up)
        engine = dataclasses.replace(LMTraining().engine, learning_rate=learning_rate, zero_stage=zero_stage)
        return LMTraining(training, engine, **options)

    # half an hour is some hundred steps: many small ones, and no smoothing, which a short run pays for in likelihood
    cpu = LMTraining(
        TrainingConfig(batch_size=8, micro_batch_size=8, ema_decay=0.99, schedule=ScheduleConfig(warmup_steps=50)),
        EngineConfig(learning_rate=1e-3, betas=(0.9, 0.98), zero_stage=0),
        label_smoothing=0.0,
    )
    tiny_loop = LoopConfig(steps=20_000, checkpoint_steps=500, validation_steps=500)
    return {
        "tiny": TrainLM(PRESETS["tiny"], examples=TokenData(crop_s=5.0), recipe=cpu, loop=tiny_loop),
        "small": TrainLM(PRESETS["small"], recipe=recipe(5e-4, 1, 24)),
        "base": TrainLM(PRESETS["base"], recipe=recipe(3e-4, 1, 12)),
        "1b": TrainLM(PRESETS["1b"], recipe=recipe(2e-4, 2, 4, activation_checkpointing=True)),
    }


def train_lm(config: TrainLM, preset: str) -> Path:
    """The folder of the run, trained to the end of its budget and judged. ValueError for what a person can mend, OSError."""
    return train_and_judge(config, lambda: job_of(config, preset), train_rank, judge, name=preset)


def job_of(config: TrainLM, preset: str) -> Job:
    """All that can be wrong is found here, before anything starts. ValueError, OSError."""
    if config.recipe.adversarial.is_on and not config.init:
        raise ValueError(f"--adversarial.form {config.recipe.adversarial.form} fine-tunes a trained model: name it with --init")
    ranks = num_ranks(config.resources)
    require_absolute(config.out, config.resources)
    config.recipe.training.micro_batch(ranks)
    if config.examples.logical_workers % ranks:
        workers = config.examples.logical_workers
        raise ValueError(f"{ranks} ranks: give a number that divides --examples.logical-workers, which is {workers}")
    data = dataclasses.replace(config.examples, datasets=(*split(config.data), *config.examples.datasets))
    given = None if config.model.tokens == TokenConfig() else config.model.tokens
    wanted = Wanted(config.model.max_positions, codec=given, input_codes=config.model.copies)
    sources = open_token_sources(data, wanted)
    model = dataclasses.replace(config.model, tokens=sources[0].tokens)
    for source in sources:
        model.task_index(source.domain)
    if config.codec and model_id(local_folder(config.codec)) != model.tokens.codec:
        raise ValueError(f"--codec {config.codec}: another codec than the one of the tokens in {config.data}")
    parents = {
        "datasets": [open_dataset(open_store(source.where)).description["id"] for source in sources],
        "codec": model.tokens.codec,
        "init": model_id(local_folder(config.init)) if config.init else "",
    }
    fixed = identity(config, model)
    named = {"config": fixed, "recipe": to_json(config.recipe), "parents": parents}
    folder = config.out or f"data/lm-{preset}-{fingerprint(named)}"
    code = {"code": versions.code_hash(ROOT, CODE), "recipe": to_json(config.recipe), "examples": to_json(config.examples)}
    job = Job(config, model, RunFolder(folder, Origin(fixed, parents | code)))
    job.sources(held_out=True)
    if config.init:
        check_tokens(job.untrained(), config.recipe.adversarial)
    return job


def identity(config: TrainLM, model: LMConfig) -> dict[str, Any]:
    """What must stay the same for a run to go on; data, lengths, intervals and learning rates may change."""
    training, adversarial = config.recipe.training, config.recipe.adversarial
    fixed = {
        "model": to_json(model),
        "training": {"seed": training.seed, "batch_size": training.batch_size, "averages": training.ema_decay > 0},
        "examples": {"logical_workers": config.examples.logical_workers, "bucket_steps": config.examples.bucket_steps},
    }
    if adversarial.is_on:
        fixed["adversarial"] = {"form": adversarial.form, "discriminator": to_json(adversarial.discriminator)}
    return fixed


def train_rank(job: Job, worker: Worker) -> State:
    """One rank's part; where the run stands when it ends."""
    from pipelines.lm_validation import Validation
    from training.adversarial_step import trainee_of
    from training.data.token_stream import Batching, TokenStream
    from training.loop import Run, train

    config, training = job.config, job.config.recipe.training
    check_node(job.run, worker, versions.code_hash(ROOT, CODE), training.batch_size)
    progress = Progress(pace(config.loop, training.batch_size, loss="loss"))
    tracker = Tracker(job.run.path if worker.rank == 0 else None, progress)
    try:
        encoders = Encoders.open(job.model.conditions)
        sources, held_out = job.sources(encoders), job.sources(encoders, held_out=True)
        trainee = trainee_of(job.untrained(), encoders, config.recipe, worker.device)
        micro_batch = training.micro_batch(worker.world_size)
        batching = Batching(training.seed, RATE_HZ, training.batch_size, micro_batch, worker.rank, worker.world_size)
        quarantine = Path(job.run.path, f"quarantine-{worker.rank}.jsonl")
        batches = batched(job.first(held_out, config.validation_examples), micro_batch) if config.loop.validation_steps else []
        surroundings = Run(
            training.seed,
            worker,
            job.run.checkpoints(config.checkpoints, config.keep),
            tracker,
            lambda state: TokenStream(
                sources, config.examples, batching, job.model.max_positions, state=state, quarantine=quarantine
            ),
            Validation(trainee, batches) if batches else None,
        )
        state = train(trainee, surroundings, config.loop)
        if state.is_finished(config.loop):
            model = trainee.publish()
            if worker.rank == 0:
                job.run.publish(model, state)
        return state
    finally:
        tracker.close()


def judge(job: Job) -> None:
    """The report on held-out examples, beside what the model must beat."""
    from pipelines.lm_report import Examples, baselines, report
    from pipelines.lm_validation import scores_of

    config, training = job.config, job.config.recipe.training
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoders = Encoders.open(job.model.conditions).to(device)
    held_out = job.first(job.sources(encoders, held_out=True), config.judged_examples)
    if not held_out:
        print("no report: name token datasets of other speakers with --held-out")
        return
    model = UnifiedLM.from_pretrained(f"{job.run.path}/{MODEL}").to(device)
    codec = Codec.from_pretrained(local_folder(config.codec)).eval().to(device) if config.codec else None
    scores = scores_of(model, encoders, batched(held_out, training.micro_batch_size), device).over_ranks()
    others = baselines(Examples(job.first(job.sources(encoders), config.judged_examples), held_out), job.model.tokens, codec)
    about = {"parents": job.run.origin.parents, "model": model_id(Path(job.run.path, MODEL)), "num_examples": len(held_out)}
    report(scores, others, about, open_store(job.run.path))


def main(argv: list[str]) -> int:
    preset, config = chosen(presets(), argv, default=DEFAULT_PRESET, prog="pipelines.train_lm")
    train_lm(config, preset)
    return 0


if __name__ == "__main__":
    from pipelines import train_lm as module  # by its name: what Ray's workers are sent is found there

    run(module.main)
