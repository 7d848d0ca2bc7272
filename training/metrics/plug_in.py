"""Metrics whose weights are not in a package: UTMOS, speaker similarity, word errors, by a local file and its sha256.

`utmos=/models/utmos.onnx@SHA256`: an ONNX network of (batch, samples) at 16 kHz.
`wer=recogniser:open_it@/models/asr.bin@SHA256`: a function of the path, which returns a score as in signals.py.
`mine=package.module:open_it`: the same, called without a file.
"""

import hashlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from training.metrics.signals import at_rate, check, check_sound

Score = Callable[[np.ndarray, np.ndarray, int], float]
RATE_HZ = 16000  # of ONNX networks
FORMS = "NAME=FILE.onnx@SHA256, NAME=MODULE:FUNCTION@FILE@SHA256 or NAME=MODULE:FUNCTION"


@dataclass(frozen=True)
class PlugIn:
    """One such metric."""

    metric: str
    function: str  # "module:function"; "" opens the file as ONNX
    path: str = ""
    sha256: str = ""

    def __call__(self, reference: np.ndarray, estimate: np.ndarray, sample_rate_hz: int) -> float:
        """The score; the file is opened at the first call in each process."""
        return self.opened()(reference, estimate, sample_rate_hz)

    def opened(self) -> Callable:
        """What `open` gives, opened once in each process."""
        return _open(self)

    def open(self) -> Score:
        """Load it. ValueError, naming the remedy, where file, hash, module or function are not what was said."""
        if self.path:
            _check_file(self)
        if not self.function:
            return OnnxScore(self.path)
        module, _, name = self.function.partition(":")
        try:
            function = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ValueError(
                f"plug-in {self.metric}: {self.function}: {error}; give MODULE:FUNCTION of the Python path"
            ) from error
        return function(self.path) if self.path else function()


def parse(text: str) -> PlugIn:
    """A PlugIn of one of FORMS. ValueError for anything else."""
    metric, _, source = text.partition("=")
    parts = source.split("@")
    if metric and len(parts) == 1 and ":" in source:
        return PlugIn(metric, source)
    if metric and len(parts) == 2 and parts[0].endswith(".onnx") and parts[1]:
        return PlugIn(metric, "", *parts)
    if metric and len(parts) == 3 and ":" in parts[0] and all(parts):
        return PlugIn(metric, *parts)
    raise ValueError(f"plug-in {text!r}: give {FORMS}")


@lru_cache(8)
def _open(plug_in: PlugIn) -> Score:
    return plug_in.open()


def _check_file(plug_in: PlugIn) -> None:
    path = Path(plug_in.path)
    if not path.is_file():
        raise ValueError(f"plug-in {plug_in.metric}: {path}: no such file")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != plug_in.sha256.lower():
        raise ValueError(
            f"plug-in {plug_in.metric}: {path} has the sha256 {found}, not {plug_in.sha256}: not the file you meant"
        )


class OnnxScore:
    """A network of one wave: one number is an opinion of the estimate, several are an embedding (cosine)."""

    def __init__(self, path: str):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            names = ", ".join(entry.name for entry in inputs)
            raise ValueError(f"{path}: takes {names}; a network of one wave (batch, samples) is wanted, or a function of yours")
        self._input = inputs[0].name

    def __call__(self, reference: np.ndarray, estimate: np.ndarray, sample_rate_hz: int) -> float:
        reference, estimate = check(reference, estimate, sample_rate_hz)
        check_sound(estimate=estimate)
        heard = self._run(estimate, sample_rate_hz)
        if heard.size == 1:
            return float(heard[0])
        check_sound(reference=reference)
        wanted = self._run(reference, sample_rate_hz)
        return float(heard @ wanted / (np.linalg.norm(heard) * np.linalg.norm(wanted)))

    def _run(self, signal: np.ndarray, sample_rate_hz: int) -> np.ndarray:
        wave = at_rate(signal, sample_rate_hz, RATE_HZ).astype(np.float32)
        return np.asarray(self._session.run(None, {self._input: wave[None]})[0], np.float64).ravel()
