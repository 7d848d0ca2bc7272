"""What tokens a language model is trained on, and how they are drawn and cut."""

import dataclasses
from dataclasses import dataclass, field
from typing import ClassVar

from training.data.config import ReadingConfig


@dataclass(frozen=True)
class TaskWeights:
    """How often an example is of each task, relative to the others; 0 leaves the task out."""

    sr: float = 1.0
    tse: float = 1.0
    rtse: float = 1.0
    ss: float = 1.0
    vc: float = 1.0
    aec: float = 1.0
    lass: float = 1.0
    speech_edit: float = 1.0
    event_edit: float = 1.0
    tta: float = 1.0

    def __post_init__(self) -> None:
        weights = dataclasses.asdict(self)
        if min(weights.values()) < 0 or not sum(weights.values()):
            raise ValueError(f"task weights {weights}: give 0 or more, and at least one above 0")


@dataclass(frozen=True)
class TokenData(ReadingConfig):
    """Where tokens come from and what is made of them."""

    PREFIX: ClassVar[str] = "--examples"

    datasets: tuple[str, ...] = ()
    """Token datasets of `make encode`, or folders or s3:// prefixes of them."""
    weights: TaskWeights = field(default_factory=TaskWeights)
    crop_s: float = 10.0
    """The longest stretch of an example whose target is as long as its input: both are cut together, at a frame. Longer
    examples of the other tasks are left out where the model has too few positions."""
    reference_s: float = 5.0
    """The longest stretch of a reference."""
    bucket_steps: int = 8
    """Examples of so many steps are sorted by length, so that those of a step are about equally long; 1 does not sort."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("crop_s", "reference_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{self.option(name)} is {getattr(self, name)}: give more than 0")
        if self.bucket_steps < 1:
            raise ValueError(f"{self.option('bucket_steps')} is {self.bucket_steps}: give 1 or more")
