"""A segment discriminator that knows what the language model knows: the task, its conditions, the tokens before the window.

Shapes: B clips, C codebooks, F frames (of the context and the window), V codes, E embedding width, M features.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lm import window as windows
from lm.conditions import Adapter, Conditions
from lm.config import LMConfig
from lm.features import Features
from lm.model import Batch
from lm.segment_discriminator import SegmentDiscriminator, SegmentDiscriminatorConfig


@dataclass(frozen=True)
class View:
    """What is judged of a batch, beside the tokens."""

    task_B: Tensor
    conditions: Conditions
    time_BF: Tensor  # int64: frames since the signal began
    context_B: Tensor  # int64: frames before the window
    num_frames_B: Tensor  # int64: of context and window


@dataclass(frozen=True)
class Judged:
    """The windows of a batch, with context: true tokens, and how to put written ones in the place of a window's."""

    real_BCFV: Tensor
    view: View
    _window: windows.Window

    @classmethod
    def of(cls, batch: Batch, window: windows.Window, context_frames: int, vocab_size: int) -> "Judged":
        context_B = window.first_B.clamp(max=context_frames)
        begin_B = window.first_B - context_B
        num_frames = int((context_B + window.num_frames_B).max())
        codes_BCF = windows.stretch_of(batch, begin_B, num_frames)
        real_BCFV = functional.one_hot(codes_BCF.clamp(0, vocab_size - 1), vocab_size).float()
        times_BF = begin_B[:, None] + torch.arange(num_frames, device=begin_B.device)
        period_B = (batch.num_frames_B // batch.num_targets_B).clamp(min=1)
        view = View(batch.task_B, batch.conditions, times_BF % period_B[:, None], context_B, context_B + window.num_frames_B)
        return cls(real_BCFV, view, window)

    def with_written(self, window_BCFV: Tensor) -> Tensor:
        """(B, C, F, V) the true context, then these tokens."""
        places_BF = torch.arange(self.real_BCFV.shape[2], device=window_BCFV.device) - self.view.context_B[:, None]
        index_B1F1 = places_BF.clamp(0, window_BCFV.shape[2] - 1)[:, None, :, None]
        return window_BCFV.take_along_dim(index_B1F1, 2).where((places_BF >= 0)[:, None, :, None], self.real_BCFV)


class WindowDiscriminator(nn.Module):
    """Two sets of tokens (2B, C, F, V) that answer the same conditions, to the opinions on both."""

    def __init__(self, config: SegmentDiscriminatorConfig, lm: LMConfig, averages_features: bool = False):
        super().__init__()
        width, given = config.embedding_width, lm.conditions
        num_codebooks = lm.tokens.num_acoustic + lm.tokens.num_semantic
        self.frames_per_s, self.features_per_s = lm.tokens.frame_rate_hz, given.audio_rate_hz
        self.judge = SegmentDiscriminator(config, num_codebooks, lm.tokens.vocab_size, averages_features)
        self.tasks = nn.Embedding(len(lm.tasks), width)
        self.text = Adapter("linear", given.text_width, width)
        self.reference = Adapter("linear", given.audio_width, width)
        self.input = Adapter("linear", given.audio_width, width)

    def forward(self, tokens_NCFV: Tensor, view: View) -> tuple[Tensor, Tensor]:
        condition_BFE = self._condition(view)
        return self.judge(
            tokens_NCFV, view.num_frames_B.repeat(2), condition_BFE.repeat(2, 1, 1), context_B=view.context_B.repeat(2)
        )

    def _condition(self, view: View) -> Tensor:
        given = view.conditions
        whole_BE = self.tasks(view.task_B) + _mean(self.text, given.text) + _mean(self.reference, given.reference)
        return whole_BE[:, None] + self._at_its_time(view.time_BF, given.input)

    def _at_its_time(self, time_BF: Tensor, features: Features | None) -> Tensor:
        """The input's feature in the middle of each frame; 0 where there is none."""
        if features is None:
            return 0.0
        index_BF = ((time_BF + 0.5) * (self.features_per_s / self.frames_per_s)).long()
        inside_BF1 = (index_BF < features.lengths_B[:, None])[..., None]
        index_BF = index_BF.clamp(max=features.values_BMD.shape[1] - 1)
        found_BFD = features.values_BMD.take_along_dim(index_BF[..., None], 1)
        return self.input(found_BFD.masked_fill(~inside_BF1, 0)) * inside_BF1


def _mean(adapter: Adapter, features: Features | None) -> Tensor | float:
    if features is None:
        return 0.0
    positions_M = torch.arange(features.values_BMD.shape[1], device=features.lengths_B.device)
    inside_BM1 = (positions_M < features.lengths_B[:, None])[..., None]
    sum_BD = features.values_BMD.masked_fill(~inside_BM1, 0).sum(1)
    mean_BD = sum_BD / features.lengths_B.clamp(min=1)[:, None]
    return adapter(mean_BD) * (features.lengths_B > 0)[:, None]
