"""How a language model is fine-tuned against a segment discriminator, besides its likelihood."""

from dataclasses import dataclass, field
from typing import Literal

from lm.model import UnifiedLM
from lm.segment_discriminator import SegmentDiscriminatorConfig
from training.config import EngineConfig


@dataclass(frozen=True)
class AdversarialConfig:
    """Off unless a form is given. tests/bench/RESULTS.md has what it did to real tokens."""

    form: Literal["off", "relgan", "seqgan", "leakgan"] = "off"
    """The losses (training/adversarial.py); a trained model is fine-tuned: give --init."""
    weight: float = 0.05
    """Of the adversarial loss beside the cross-entropy, a mean over target tokens."""
    window_frames: int = 48
    """Frames of each clip that the model writes itself, after the true ones before them."""
    context_frames: int = 8
    """True frames before the window that the discriminator sees."""
    temperature: float = 1.0
    """Of the softmax whose gradient stands for that of a drawn token."""
    head_start: int = 100
    """First steps, in which the discriminator alone learns from the windows."""
    discriminator: SegmentDiscriminatorConfig = field(default_factory=SegmentDiscriminatorConfig)
    engine: EngineConfig = field(default_factory=lambda: EngineConfig(learning_rate=1e-4, zero_stage=0))
    """The discriminator's optimizer."""

    def __post_init__(self) -> None:
        for name, least in (("weight", 0), ("context_frames", 0), ("head_start", 0), ("window_frames", 1)):
            if not getattr(self, name) >= least:
                raise ValueError(f"adversarial.{name.replace('_', '-')} is {getattr(self, name)}: give {least} or more")
        if not self.temperature > 0:
            raise ValueError(f"adversarial.temperature is {self.temperature}: give more than 0")
        longest = max(self.discriminator.kernels) * self.discriminator.segments
        if self.is_on and self.window_frames < longest:
            raise ValueError(
                f"adversarial.window-frames is {self.window_frames}: give {longest} or more, fewer segments or smaller kernels"
            )

    @property
    def is_on(self) -> bool:
        return self.form != "off"

    def check(self, engine: EngineConfig) -> None:
        """ValueError for an engine of the language model that cannot write windows."""
        for name, one in (("engine", engine), ("adversarial.engine", self.engine)):
            if self.is_on and one.zero_stage == 3:
                raise ValueError(f"{name}.zero-stage is 3, whose partitioned weights cannot write windows: give 0, 1 or 2")


def check_tokens(lm: UnifiedLM, config: AdversarialConfig) -> None:
    """ValueError for a model whose tokens carry durations: those of a frame would have to agree."""
    most = lm.config.tokens.max_duration_frames
    if config.is_on and most > 1:
        raise ValueError(
            f"--adversarial.form {config.form} takes codecs of a fixed frame rate; tokens of this one last up to {most} frames"
        )
