"""What training a model takes, and how DeepSpeed is told: its JSON is made from these dataclasses and never read back."""

from dataclasses import dataclass, field
from typing import Any, Literal

from codec.discriminators.ensemble import DiscriminatorConfig
from codec.discriminators.segments import SegmentConfig
from codec.losses import LossConfig

BUCKET_ELEMENTS = 50_000_000  # of gradients or weights in one collective: 200 MB; DeepSpeed's default would take 2 GB


@dataclass(frozen=True)
class ScheduleConfig:
    """Learning rate over the steps: a linear warm-up, then a little less with each step. No end is set: runs can go on."""

    warmup_steps: int = 1000
    decay: float = 0.999996
    """What each step after the warm-up multiplies the learning rate by."""
    floor: float = 0.05
    """The least share of the learning rate."""

    def __post_init__(self) -> None:
        _want(self.warmup_steps >= 0, "schedule.warmup-steps", self.warmup_steps, "0 or more")
        _want(0 < self.decay <= 1, "schedule.decay", self.decay, "above 0, at most 1")
        _want(0 <= self.floor <= 1, "schedule.floor", self.floor, "a number from 0 to 1")

    def factor(self, step: int) -> float:
        """Share of the learning rate at an optimizer step; steps count from 1."""
        warm = min(1.0, step / max(1, self.warmup_steps))
        return warm * max(self.floor, self.decay ** max(0, step - self.warmup_steps))


@dataclass(frozen=True)
class EngineConfig:
    """One network's optimizer (AdamW) and how it is spread over the ranks."""

    learning_rate: float = 2e-4
    betas: tuple[float, float] = (0.8, 0.99)
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    clip_norm: float = 5.0
    """Gradients are scaled down to this 2-norm; 0 does not clip."""
    zero_stage: Literal[0, 1, 2, 3] = 1
    """What is partitioned over the ranks: 1 optimizer state, 2 gradients too, 3 weights too (for models above 1 B)."""
    offload_optimiser: bool = False
    """Keep the optimizer's state in the host's memory (GPUs only, stages 1-3)."""
    offload_weights: bool = False
    """Keep partitioned weights in the host's memory (GPUs only, stage 3)."""
    persistence_threshold: int = 100_000
    """Stage 3 does not partition tensors of fewer elements."""

    def __post_init__(self) -> None:
        _want(0 < self.learning_rate < 1, "learning-rate", self.learning_rate, "above 0, below 1")
        _want(all(0 <= beta < 1 for beta in self.betas), "betas", self.betas, "two numbers from 0, below 1")
        _want(self.epsilon > 0, "epsilon", self.epsilon, "above 0")
        _want(self.weight_decay >= 0, "weight-decay", self.weight_decay, "0 or more")
        _want(self.clip_norm >= 0, "clip-norm", self.clip_norm, "0 (no clipping) or more")
        _want(self.zero_stage in (0, 1, 2, 3), "zero-stage", self.zero_stage, "0, 1, 2 or 3")
        _want(self.zero_stage > 0 or not self.offload_optimiser, "offload-optimiser", True, "zero-stage 1, 2 or 3 with it")
        _want(self.zero_stage == 3 or not self.offload_weights, "offload-weights", True, "zero-stage 3 with it")
        _want(self.persistence_threshold >= 0, "persistence-threshold", self.persistence_threshold, "0 or more")


@dataclass(frozen=True)
class TrainingConfig:
    """What training any model takes."""

    seed: int = 0
    batch_size: int = 32
    """Clips of an optimizer step, over all ranks and micro-batches."""
    micro_batch_size: int = 32
    """The most clips that a rank takes through the network at once; more are accumulated."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: matrix products and convolutions (torch.autocast); weights, optimizer state, codebooks and losses stay fp32."""
    ema_decay: float = 0.999
    """Of the moving average of the weights, which is what gets published."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)

    def __post_init__(self) -> None:
        for name in ("batch_size", "micro_batch_size"):
            _want(getattr(self, name) >= 1, name.replace("_", "-"), getattr(self, name), "1 or more")
        _want(self.precision in ("fp32", "bf16"), "precision", self.precision, "fp32 or bf16")
        _want(0 <= self.ema_decay < 1, "ema-decay", self.ema_decay, "from 0, below 1")
        _want(self.seed >= 0, "seed", self.seed, "0 or more")

    def micro_batch(self, world_size: int) -> int:
        """Clips of each micro-batch, on that many ranks. ValueError where batch, ranks and micro-batches do not go together."""
        clips, rest = divmod(self.batch_size, world_size)
        if rest:
            raise ValueError(f"batch-size is {self.batch_size}: give a multiple of the {world_size} ranks")
        if clips > self.micro_batch_size and clips % self.micro_batch_size:
            raise ValueError(
                f"micro-batch-size is {self.micro_batch_size}: each of {world_size} ranks has {clips} clips of the batch of"
                f" {self.batch_size}; give a divisor of {clips}, or more"
            )
        return min(clips, self.micro_batch_size)

    def num_micro_batches(self, world_size: int) -> int:
        """Micro-batches of an optimizer step on each of that many ranks."""
        return self.batch_size // world_size // self.micro_batch(world_size)


@dataclass(frozen=True)
class CodecTraining:
    """How a codec is trained, besides what it is (CodecConfig), on what (DataConfig) and how long (LoopConfig)."""

    training: TrainingConfig = field(default_factory=TrainingConfig)
    generator: EngineConfig = field(default_factory=EngineConfig)
    discriminator: EngineConfig = field(default_factory=EngineConfig)
    discriminators: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    segments: SegmentConfig = field(default_factory=SegmentConfig)
    """Parts of a crop that the discriminators judge beside the whole."""
    losses: LossConfig = field(default_factory=LossConfig)
    adversarial_start: int = 0
    """The first step at which the discriminators train. The generator starts to hear them one step later."""
    adversarial_ramp: int = 1000
    """Steps over which the adversarial and feature losses then grow to their full weight."""

    def __post_init__(self) -> None:
        _want(self.adversarial_start >= 0, "adversarial-start", self.adversarial_start, "0 or more")
        _want(self.adversarial_ramp >= 0, "adversarial-ramp", self.adversarial_ramp, "0 or more")

    def discriminates(self, step: int) -> bool:
        """Whether the discriminators take part in a step."""
        return step >= self.adversarial_start

    def adversarial_share(self, step: int) -> float:
        """Share of their full weight that the adversarial and feature losses have at a step."""
        return min(1.0, max(0, step - self.adversarial_start) / max(1, self.adversarial_ramp))


def deepspeed_config(engine: EngineConfig, micro_batch_size: int, num_micro_batches: int) -> dict[str, Any]:
    """DeepSpeed's JSON for one engine. Mixed precision is not in it: the weights are fp32, and autocast is the engine's own."""
    zero: dict[str, Any] = {"stage": engine.zero_stage}
    if engine.zero_stage:
        zero |= {"reduce_bucket_size": BUCKET_ELEMENTS, "allgather_bucket_size": BUCKET_ELEMENTS}
    if engine.zero_stage == 3:
        zero |= {
            "stage3_param_persistence_threshold": engine.persistence_threshold,
            "stage3_prefetch_bucket_size": BUCKET_ELEMENTS,
        }
    if engine.offload_optimiser:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    if engine.offload_weights:
        zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    return {
        "train_micro_batch_size_per_gpu": micro_batch_size,
        "gradient_accumulation_steps": num_micro_batches,
        "gradient_clipping": engine.clip_norm,  # DeepSpeed's default is 1, not none
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,  # our subclass of torch.optim.AdamW
        "zero_force_ds_cpu_optimizer": False,  # DeepSpeed's own compiles for minutes
        "steps_per_print": None,
    }


def _want(holds: bool, name: str, value: Any, wanted: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value}: give {wanted}")
