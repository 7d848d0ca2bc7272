"""What a task makes: audio by role, labels requested and measured, and the texts that go with it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import numpy as np


class Clip(msgspec.Struct, frozen=True, omit_defaults=True):
    """A stretch of one corpus file, as a scene stores it: enough to read it, to prove that it is the same, to credit it."""

    id: str
    path: str  # relative to the corpus
    role: str
    sample_rate_hz: int  # of the file
    start_frame: int
    num_frames: int
    licence: str
    sha256: str
    speaker: str = ""
    text: str = ""
    caption: str = ""
    label: str = ""

    def num_samples(self, sample_rate_hz: int) -> int:
        """Length after resampling to `sample_rate_hz`."""
        return -(-self.num_frames * sample_rate_hz // self.sample_rate_hz)


Load = Callable[[Clip], np.ndarray]
"""Reads a clip at the task's rate: float32 `(1, clip.num_samples(rate))`. Raises SourceError."""


@dataclass(frozen=True)
class Example:
    """One rendered example. All signals are int16 `(channels, samples)`: what is measured is what is stored."""

    signals: dict[str, np.ndarray]  # role -> audio: input, target, reference, source1 ...
    stems: dict[str, np.ndarray] = field(default_factory=dict)  # parts whose sum is the mixture: speech, noise ...
    requested: dict[str, float] = field(default_factory=dict)  # label -> value that was drawn
    measured: dict[str, float] = field(default_factory=dict)  # label -> value found in the int16 audio
    mixture_parts: tuple[str, ...] = ()  # roles whose sum is `input` to the last bit; none where the channel damaged it
    texts: dict[str, str] = field(default_factory=dict)  # caption, instruction, transcript ...


class SourceError(Exception):
    """A corpus file that cannot serve: its id, a reason code of REASONS, and what was found."""

    def __init__(self, source_id: str, path: str, reason: str, detail: str):
        super().__init__(source_id, path, reason, detail)
        self.source_id, self.path, self.reason, self.detail = source_id, path, reason, detail

    def __str__(self) -> str:
        return f"{self.path} ({self.source_id}): {self.reason}: {self.detail}"


REASONS = {
    "missing": "no file at this path",
    "undecodable": "the decoder refuses it",
    "truncated": "it holds fewer frames than its manifest row or its own header says",
    "wrong_rate": "its sample rate is not the manifest's",
    "not_finite": "NaN, infinity or values far beyond full scale",
    "empty": "no samples",
    "silent": "nothing above -90 dBFS",
    "clipped": "too many samples stuck at full scale",
    "too_short": "shorter than the task can use",
    "unvoiced": "less voiced speech in it than the task needs",
    "not_followed": "its pitch, formants or timing could not be followed: what was made of it is not what was asked for",
    "changed": "its bytes are not those of the manifest's sha256",
    "crash": "rendering it killed the process",
}
