"""What a training run shows while it runs: a JSON line a step, TensorBoard where it is installed, one line of progress.

    <folder>/metrics.jsonl   {"step": 7, "loss": 3.25, ..., "time": {...}}: floats in full precision, null where not finite
    <folder>/tensorboard/    scalars, audio, pictures, histograms
    <folder>/.lock           held by the process that writes

One process writes (rank 0); the others hold a tracker without a folder, which does nothing.
"""

import contextlib
import fcntl
import json
import logging
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from infra.progress import Progress
from infra.storage import StorageError

logger = logging.getLogger(__name__)

METRICS, TENSORBOARD, LOCK = "metrics.jsonl", "tensorboard", ".lock"
LOCK_WAIT_S = 60.0  # what a killed run has left behind needs some seconds to die
SCALAR_STEPS = 10  # TensorBoard shows no more than a thousand points anyway


class Tracker:
    """The record of one run. ValueError if another process keeps it, StorageError if its place cannot be written."""

    def __init__(self, folder: str | Path | None, progress: Progress | None = None):
        self.folder = None if folder is None else Path(folder).absolute()
        self._progress = progress
        self._file: Any = None
        self._board: Any = None
        if self.folder is not None:
            with self._writing():
                self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self.folder)

    def resume(self, step: int, seconds: float = 0.0) -> None:
        """Go on after this step (0 at the start) and this time: what was recorded of later ones is made again, and dropped."""
        if self.folder is None:
            return
        with self._writing():
            cut(self.folder / METRICS, step or -1)  # what was recorded at step 0 is made again at the start
            self._file = (self.folder / METRICS).open("a")
        self._board = _tensorboard(self.folder / TENSORBOARD, step)
        if self._progress:
            self._progress.start(step, seconds)

    def log(self, step: int, metrics: dict[str, Any]) -> None:
        """The line of a step, once a step. Names with a slash group the curves: `valid/mel_distance`."""
        if self._file is None:
            return
        with self._writing():
            self._file.write(json.dumps({"step": step} | _plain(metrics), allow_nan=False) + "\n")
            self._file.flush()
        values = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
        rare = any(name.startswith("valid/") for name in values)
        if self._board and (rare or step % SCALAR_STEPS == 0):
            for name, value in values.items():
                self._board.add_scalar(name if "/" in name else f"train/{name}", value, step)
        if self._progress:
            self._progress.show(step, values)

    def audio(self, name: str, step: int, wave_T: np.ndarray, sample_rate_hz: int) -> None:
        """Mono float samples, full scale +-1."""
        if self._board:
            self._board.add_audio(name, np.clip(wave_T, -1, 1)[None], step, sample_rate=sample_rate_hz)

    def spectrogram(self, name: str, step: int, level_db_MF: np.ndarray, range_db: float = 80.0) -> None:
        """Levels in dB, lowest band first, as a picture from the loudest down by `range_db`."""
        if self._board:
            shade_MF = 1 + (level_db_MF - level_db_MF.max()) / range_db
            self._board.add_image(name, np.clip(shade_MF, 0, 1)[::-1], step, dataformats="HW")

    def histogram(self, name: str, step: int, counts_C: np.ndarray) -> None:
        """How often each of C things was used, such as the entries of a codebook: the distribution of the shares."""
        if self._board:
            self._board.add_histogram(name, counts_C / max(counts_C.sum(), 1), step)

    def sync(self) -> None:
        """Put the lines on the disk: what a checkpoint builds on must outlive what it outlives."""
        if self._file is not None:
            with self._writing():
                os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._progress:
            self._progress.close()
        if self._board:
            self._board.close()
        if self._file is not None:
            self._file.close()
        if self.folder is not None:
            os.close(self._lock)
        self.folder = self._file = self._board = self._progress = None

    @contextlib.contextmanager
    def _writing(self):
        try:
            yield
        except OSError as error:
            remedy = "free some space, or check that the folder can be written; a rerun goes on from the last checkpoint"
            raise StorageError(error.errno, f"{self.folder}: {error.strerror or error}; {remedy}") from error


def read(folder: str | Path) -> list[dict[str, Any]]:
    """The lines that a run has recorded, whole ones only; none if there is no record."""
    try:
        lines = (Path(folder) / METRICS).read_text().splitlines()
    except FileNotFoundError:
        return []
    return [line for text in lines if (line := _parsed(text)) is not None]


def cut(path: Path, step: int) -> None:
    """Keep the lines of steps up to this one. The file is replaced in one move; a torn last line goes, too."""
    if not path.exists():
        return
    temporary = path.with_suffix(".new")
    with open(path) as old, open(temporary, "w") as new:
        for text in old:
            line = _parsed(text)
            if line is not None and line["step"] <= step:
                new.write(text)
        new.flush()
        os.fsync(new.fileno())
    os.replace(temporary, path)


def _parsed(text: str) -> dict[str, Any] | None:
    """A line, None for one that a killed process or a full disk has left half written."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and isinstance(line.get("step"), int) else None


def _plain(value: Any) -> Any:
    """JSON knows neither NaN nor infinity."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _tensorboard(folder: Path, step: int) -> Any:
    """A writer that hides what an earlier process wrote of later steps; None where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter  # here, because it takes a second to import
    except ImportError:
        logger.warning("TensorBoard is not installed: only %s is written", METRICS)
        return None
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)


def _locked(folder: Path) -> int:
    """A handle that holds the folder's lock; the kernel lets go when the process ends, however it ends."""
    handle = os.open(folder / LOCK, os.O_WRONLY | os.O_CREAT, 0o666)
    end = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            if time.monotonic() > end:
                os.close(handle)
                raise ValueError(f"{folder}: another process is training there; wait for it, or give another --out") from None
            time.sleep(0.2)
