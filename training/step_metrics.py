"""What of a training step goes to Prometheus: rank 0 says it for all, under the name of the run's folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra import metrics

OWN = {"tokens_per_s": "quarkline_train_tokens_per_second", "mfu": "quarkline_train_mfu"}
NO_LOSS = {"skipped", "learning_rate_share", "padding_share", *OWN}


@contextmanager
def running(folder: Path | None) -> Iterator[None]:
    """Say that training runs, and in the end, however it ends, that it does not: the other metrics stay as they were."""
    if folder is not None:
        metrics.put("quarkline_train_running", 1.0, run=folder.name)
    try:
        yield
    finally:
        if folder is not None:
            metrics.put("quarkline_train_running", 0.0, run=folder.name)


def export_step(folder: Path | None, step: int, found: dict[str, float], times: dict[str, float]) -> None:
    """`found` is what the step has measured, `times` has step_s and wait_s. Without a folder (other ranks) nothing."""
    if folder is None:
        return
    run = folder.name
    metrics.put("quarkline_train_step", step, run=run)
    metrics.observe("quarkline_train_step_seconds", times["step_s"], run=run)
    metrics.count("quarkline_train_wait_seconds_total", times["wait_s"], run=run)
    metrics.count("quarkline_train_skipped_steps_total", found.get("skipped", 0.0), run=run)
    for name, value in found.items():
        if name in OWN:
            metrics.put(OWN[name], value, run=run)
        elif name not in NO_LOSS and isinstance(value, int | float):
            metrics.put("quarkline_train_loss", value, run=run, name=name)


def export_save(folder: Path | None, seconds: float, saved: bool) -> None:
    """How long a checkpoint took."""
    if folder is not None:
        metrics.observe("quarkline_checkpoint_seconds", seconds, run=folder.name, outcome="saved" if saved else "failed")
