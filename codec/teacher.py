"""Semantic teachers: what the semantic stream has to tell, at 50 frames/s, as H-Codec's report wants it (arXiv 2512.20151).

A wave of 16 kHz gets 160 zeros on both sides, so that there are samples / 320 frames; a feature x becomes sign(x) |x|^0.3.

Shapes: B clips, T samples, F frames, D width.
"""

from typing import Protocol

from torch import Tensor
from torch.nn import functional

from codec.config import TEACHER_FRAME_RATE_HZ, TEACHER_RATE_HZ, TeacherConfig
from codec.masked import silenced

HOP_SAMPLES = TEACHER_RATE_HZ // TEACHER_FRAME_RATE_HZ
PADDING_SAMPLES = HOP_SAMPLES // 2


class Teacher(Protocol):
    """Gives the feature (B, width, ceil(T / 320)) of waves at 16 kHz, without gradients, in float32.

    Clips of `num_samples_B` samples (T, if None) in a padded batch have the features that they have alone, then zeros.
    """

    width: int

    def __call__(self, wave_BT: Tensor, num_samples_B: Tensor | None = None) -> Tensor: ...


def open_teacher(config: TeacherConfig) -> Teacher:
    """The teacher of a codec. ValueError where its network cannot be had, or is not what the codec wants."""
    if config.kind == "log-mel":
        from codec.log_mel_teacher import LogMelTeacher

        return LogMelTeacher(config.width)
    from codec.transformers_teacher import TransformersTeacher

    return TransformersTeacher(config)


def compressed(x: Tensor) -> Tensor:
    """sign(x) |x|^0.3"""
    return x.sign() * x.abs() ** 0.3


def whole_frames(wave_BT: Tensor, num_samples_B: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Waves padded to whole frames, 0 past each clip's end, and the frames of each clip (B,); None: all are full."""
    padding = (0, -wave_BT.shape[1] % HOP_SAMPLES)
    if num_samples_B is None:
        return functional.pad(wave_BT.float(), padding), None
    num_samples_B = num_samples_B.to(wave_BT.device)
    wave_BT = silenced(wave_BT.float()[:, None], num_samples_B)[:, 0]
    return functional.pad(wave_BT, padding), (num_samples_B + HOP_SAMPLES - 1) // HOP_SAMPLES
