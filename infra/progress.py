"""One line that says how far a run is: redrawn in place on a terminal, a line now and then anywhere else."""

import collections
import datetime
import math
import resource
import sys
import time
from dataclasses import dataclass
from typing import TextIO

REDRAW_S, LINE_S = 0.2, 30.0
WINDOW_STEPS = 50  # that the speed is measured over


@dataclass(frozen=True)
class Pace:
    """What a run is measured by."""

    steps: int
    """To take in all."""
    limit_s: float | None = None
    """Of training time, where that may end the run sooner."""
    clips_per_step: int = 0
    audio_s_per_step: float = 0.0
    loss: str = "loss"
    """The metric that is shown."""


class Progress:
    """Step, loss, speed, memory and time left, on stderr unless told otherwise."""

    def __init__(self, pace: Pace, out: TextIO | None = None):
        self.pace, self.out = pace, out or sys.stderr
        self._recent: collections.deque[tuple[float, int]] = collections.deque(maxlen=WINDOW_STEPS + 1)
        self._shown_s, self._drawn = 0.0, 0  # when, and how many letters stand on the terminal's line
        self._unseen: tuple[int, dict[str, float]] | None = None  # the newest step, if its line is not shown

    def start(self, step: int, seconds: float = 0.0) -> None:
        """Go on after this step and so much training time."""
        self._shown_s = time.monotonic()
        self._started_s = self._shown_s - seconds
        self._recent.append((self._shown_s, step))

    def show(self, step: int, metrics: dict[str, float]) -> None:
        now_s = time.monotonic()
        self._recent.append((now_s, step))
        self._unseen = step, metrics
        if now_s - self._shown_s >= (REDRAW_S if self.out.isatty() else LINE_S) or step >= self.pace.steps:
            self._shown_s = now_s
            self._show_unseen()

    def line(self, step: int, metrics: dict[str, float]) -> str:
        (from_s, from_step), (to_s, to_step) = self._recent[0], self._recent[-1]
        steps_per_s = (to_step - from_step) / max(to_s - from_s, 1e-9)
        used_s, limit_s = to_s - self._started_s, self.pace.limit_s or math.inf
        parts = [f"step {step}/{self.pace.steps} {min(1.0, max(step / self.pace.steps, used_s / limit_s)):.0%}"]
        if self.pace.loss in metrics:
            parts.append(f"loss {metrics[self.pace.loss]:.4f}")
        if self.pace.audio_s_per_step:
            parts.append(f"{steps_per_s * self.pace.audio_s_per_step:.3g} x real time")
        if self.pace.clips_per_step:
            parts.append(f"{steps_per_s * self.pace.clips_per_step:.3g} samples/s")
        parts.append(_memory())
        left_s = min((self.pace.steps - step) / max(steps_per_s, 1e-9), max(0.0, limit_s - used_s))
        return ", ".join([*parts, f"ETA {_clock(left_s)}"])

    def close(self) -> None:
        """The newest step is seen, however the run ends."""
        self._show_unseen()
        if self._drawn:
            self.out.write("\n")
            self.out.flush()
            self._drawn = 0

    def _show_unseen(self) -> None:
        if self._unseen is not None:
            self._write(self.line(*self._unseen))
            self._unseen = None

    def _write(self, line: str) -> None:
        if self.out.isatty():
            self.out.write("\r" + line.ljust(self._drawn))
            self._drawn = len(line)
        else:
            self.out.write(line + "\n")
        self.out.flush()


def _clock(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(min(seconds, 1e8))))


def _memory() -> str:
    """The most that this process has held, of the accelerator's memory too if one is in use."""
    held = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9:.1f} GB"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        held += f" + {torch.cuda.max_memory_allocated() / 1e9:.1f} GB on the GPU"
    return held
