"""A minuscule language model in training, for tests: what real ranks do with it.

Shapes: B clips, T samples.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lm.audio_encoder import LogMel
from lm.conditions import Encoders
from lm.config import ConditionConfig, DecoderConfig, LMConfig, TokenConfig
from lm.features import Features
from lm.model import UnifiedLM
from lm.tasks import task
from training.collective import rank, world_size
from training.config import EngineConfig, ScheduleConfig, TrainingConfig
from training.data.token_stream import TokenBatch
from training.lm_config import LMTraining
from training.lm_step import LMTrainee

TASKS = ("sr", "lass", "tta", "tse", "ss", "event_edit", "sr", "aec")  # of a step's clips
SMALL = LMConfig(
    tokens=TokenConfig(num_acoustic=3, num_semantic=2, codebook_size=12),
    decoder=DecoderConfig(width=16, num_layers=2, num_heads=2, feed_forward_width=24),
    conditions=ConditionConfig(text_width=5),
    copies=True,
)


class LetterEncoder:
    """Text features that need no network: a few numbers for each letter."""

    width = 5

    def to(self, device: torch.device | str) -> "LetterEncoder":
        return self

    def __call__(self, texts: list[str]) -> Features:
        letters = [torch.tensor(list(text.encode()), dtype=torch.float32)[:, None] for text in texts]
        return Features.of([torch.sin(letter * torch.arange(1, self.width + 1) / 7) for letter in letters])


def encoders() -> Encoders:
    return Encoders(LogMel(), LetterEncoder())


def batches(step: int, *, num_ranks: int = 1, of_rank: int = 0, micro_batch_size: int = 2) -> list[TokenBatch]:
    """A rank's micro-batches of a step, of unequal lengths. Joined, they are the same for any number of ranks."""
    share = len(TASKS) // num_ranks
    starts = range(of_rank * share, (of_rank + 1) * share, micro_batch_size)
    return [made(TASKS[start : start + micro_batch_size], 100 * step + start) for start in starts]


def made(tasks: tuple[str, ...], seed: int) -> TokenBatch:
    """Random examples; each depends on its own seed, which is its place in the step."""
    clips = [_clip(name, seed + row) for row, name in enumerate(tasks)]
    lengths = [clip["acoustic"].shape[1] for clip in clips]
    padded = [
        torch.stack([torch.nn.functional.pad(clip[name], (0, max(lengths) - length)) for clip, length in zip(clips, lengths)])
        for name in ("acoustic", "semantic")
    ]
    columns = [tuple(clip[name] for clip in clips) for name in ("text", "reference", "input")]
    keys = tuple(f"{name}-{seed + row}" for row, name in enumerate(tasks))
    draws, heard = torch.stack([clip["draws"] for clip in clips]), tuple(clip["heard"] for clip in clips)
    return TokenBatch(keys, tuple(tasks), *columns, *padded, torch.tensor(lengths), draws, input_codes=heard)


def _clip(name: str, seed: int) -> dict[str, Tensor | str | None]:
    generator = torch.Generator().manual_seed(seed)
    of_task, num_frames = task(name), 4 + seed % 5
    wave = lambda: 0.1 * torch.randn(640 * num_frames, generator=generator)  # noqa: E731
    given = {part: wave() if part in of_task.needs else None for part in ("reference", "input")}
    shape = num_frames * of_task.num_targets
    codes = {
        stream: torch.randint(12, (layers, shape), generator=generator) for stream, layers in (("acoustic", 3), ("semantic", 2))
    }
    text, draws = f"Remove number {seed}." if "text" in of_task.needs else None, torch.rand(3, generator=generator)
    heard = torch.randint(12, (num_frames, 5), generator=generator) if "input" in of_task.needs else None
    return given | codes | {"text": text, "draws": draws, "heard": heard}


def training(stage: int = 0, micro_batch_size: int = 2, **changes) -> LMTraining:
    engine = EngineConfig(learning_rate=3e-4, zero_stage=stage, persistence_threshold=50, clip_norm=0.5)
    general = TrainingConfig(
        batch_size=len(TASKS),
        micro_batch_size=micro_batch_size,
        ema_decay=0.5,
        schedule=ScheduleConfig(warmup_steps=2, decay=0.9),
    )
    return replace(LMTraining(general, engine, condition_dropout=0.3), **changes)


def trainee(settings: LMTraining, config: LMConfig = SMALL) -> LMTrainee:
    """With other weights on each rank, which the start must make those of rank 0."""
    torch.manual_seed(rank())
    return LMTrainee(UnifiedLM(config), encoders(), settings)


def run(trained: LMTrainee, steps: range) -> list[dict[str, float]]:
    size = trained.config.training.micro_batch(world_size())
    options = {"num_ranks": world_size(), "of_rank": rank(), "micro_batch_size": size}
    return [trained.step(batches(step, **options), step) for step in steps]


@dataclass
class Trained:
    """What one rank has in the end."""

    results: list[dict[str, float]]
    files: dict[str, dict[str, Tensor]]  # on rank 0
    published: dict[str, Tensor]


def finished(trained: LMTrainee, results: list[dict[str, float]]) -> Trained:
    return Trained(results, dict(trained.state()), trained.publish().state_dict())


def train(settings: LMTraining, steps: int = 3) -> Trained:
    trained = trainee(settings)
    return finished(trained, run(trained, range(1, steps + 1)))


def every(variants: list[LMTraining]) -> list[Trained]:
    """`train` with each of several settings, in one process."""
    return [train(settings) for settings in variants]


def resumed(settings: LMTraining, files: dict[str, dict[str, Tensor]], steps: list[int]) -> Trained:
    """Goes on from a state at these steps."""
    trained = trainee(settings)
    trained.load(files)
    return finished(trained, run(trained, steps))
