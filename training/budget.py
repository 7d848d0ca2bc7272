"""How long a run is, how often it saves, validates and reports, and where it stands."""

import time
from dataclasses import dataclass
from typing import Any

HEARTBEAT_S = 5.0  # between reports to whatever has started the ranks


@dataclass(frozen=True)
class LoopConfig:
    """How long, and how often what."""

    steps: int = 500_000
    """Optimizer steps in all."""
    minutes: float | None = None
    """End sooner, after so much training time; that of all restarts counts."""
    checkpoint_steps: int = 1000
    """Save after each so many steps."""
    checkpoint_minutes: float = 30.0
    """And whenever so much time has passed since."""
    validation_steps: int = 1000
    """Validate before the first step and after each so many; 0 never does."""
    max_skipped: int = 20
    """Stop after so many steps in a row whose loss or gradient is not finite."""

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("checkpoint_steps", 1), ("validation_steps", 0), ("max_skipped", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name.replace('_', '-')} is {getattr(self, name)}: give {least} or more")
        for name in ("minutes", "checkpoint_minutes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name.replace('_', '-')} is {value}: give more than 0")


@dataclass
class State:
    """Where a run stands; JSON in its checkpoints."""

    step: int = 0  # attempted: a skipped one has used its data
    seconds: float = 0.0  # of training, over all restarts
    skipped: int = 0  # steps in a row
    stream: dict[str, Any] | None = None  # by logical worker of the data

    def is_finished(self, config: LoopConfig) -> bool:
        return self.step >= config.steps or (config.minutes is not None and self.seconds >= 60 * config.minutes)


class Clock:
    """What is due. Clocks of ranks differ: what they say is agreed on before anybody acts."""

    def __init__(self, config: LoopConfig, state: State):
        self.config = config
        self._saved_s = self._beat_s = time.monotonic()
        self._start_s = time.monotonic() - state.seconds

    def seconds(self) -> float:
        return time.monotonic() - self._start_s

    def validation_is_due(self, step: int) -> bool:
        return self.config.validation_steps > 0 and step % self.config.validation_steps == 0

    def due(self, step: int) -> tuple[bool, bool]:
        """Whether to save after this step, and whether to report."""
        now_s = time.monotonic()
        save = step % self.config.checkpoint_steps == 0 or now_s - self._saved_s > 60 * self.config.checkpoint_minutes
        return save, now_s - self._beat_s > HEARTBEAT_S

    def saved(self) -> None:
        self._saved_s = time.monotonic()

    def beaten(self) -> None:
        self._beat_s = time.monotonic()
