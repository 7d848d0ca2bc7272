"""How a language model is trained, besides what it is (LMConfig), on what (TokenData) and how long (LoopConfig)."""

from dataclasses import dataclass, field

from training.adversarial_config import AdversarialConfig
from training.config import EngineConfig, ScheduleConfig, TrainingConfig


@dataclass(frozen=True)
class LMTraining:
    """Defaults as UniSE's, where they are public (arXiv 2510.20441): AdamW, schedule, clipping, label smoothing."""

    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(schedule=ScheduleConfig(warmup_steps=2000, decay=0.99998, floor=0.02))
    )
    engine: EngineConfig = field(default_factory=lambda: EngineConfig(learning_rate=5e-4, betas=(0.9, 0.98)))
    label_smoothing: float = 0.1
    """Share of a label that is spread over all symbols."""
    condition_dropout: float = 0.1
    """How often each condition of an example is left out, for classifier-free guidance (arXiv 2207.12598)."""
    activation_checkpointing: bool = False
    """Recompute layers in the backward pass: less memory, a third more work."""
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    """Fine-tuning against a segment discriminator."""
    peak_tflops: float | None = None
    """Of one device, for the share of it that is used (MFU); if not given, that of GPUs which are known."""

    def __post_init__(self) -> None:
        self.adversarial.check(self.engine)
        for name in ("label_smoothing", "condition_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name.replace('_', '-')} is {getattr(self, name)}: give a number from 0, below 1")
        if self.peak_tflops is not None and not self.peak_tflops > 0:
            raise ValueError(f"peak-tflops is {self.peak_tflops}: give more than 0")
