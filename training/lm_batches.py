"""From token batches to what the language model takes: frozen encoders, all conditions there, some dropped by key.

Shapes: B clips, M features, C conditions (text, reference, input).
"""

import dataclasses

import torch
from torch import Tensor

from lm.conditions import Conditions, Encoders, Waves
from lm.config import ConditionConfig, LMConfig
from lm.features import Features
from lm.model import Batch
from training.data.token_stream import TokenBatch


@torch.no_grad()
def encoded(config: LMConfig, encoders: Encoders, batch: TokenBatch, *, device: torch.device, dropout: float = 0.0) -> Batch:
    """A checked batch on the device, where the encoders are. ValueError for what the model or its tasks do not take."""
    waves = [[None if wave is None else wave.to(device) for wave in part] for part in (batch.references, batch.inputs)]
    kept = [
        [None if one is None else one.to(device) for one in part] for part in (batch.reference_features, batch.input_features)
    ]
    given = Waves(waves[0], kept[0]), Waves(waves[1], kept[1])
    conditions = encoders(batch.tasks, texts=batch.texts, references=given[0], inputs=given[1])
    if config.copies:
        conditions = dataclasses.replace(conditions, input_codes=_input_codes(batch, config, device))
    codes = tuple(part.to(device) for part in (batch.acoustic_BKF, batch.semantic_BKF, batch.num_frames_B))
    made = Batch.of(config, batch.tasks, conditions, codes)
    left = conditions.dropped(batch.draws_BC.to(device), dropout) if dropout else conditions
    return dataclasses.replace(made, conditions=completed(left, config.conditions, len(batch.tasks), device))


def _input_codes(batch: TokenBatch, config: LMConfig, device: torch.device) -> Features:
    """ValueError for an input without its tokens."""
    given = batch.input_codes or (None,) * len(batch.tasks)
    for key, wave, codes in zip(batch.keys, batch.inputs, given):
        if wave is not None and codes is None:
            raise ValueError(
                f"{key}: its input has no tokens, and the model copies them: `make encode` with ARGS=--input-codes"
            )
    nothing = torch.zeros(0, config.tokens.num_acoustic + config.tokens.num_semantic, dtype=torch.int64)
    return Features.of([nothing if codes is None else codes for codes in given]).to(device)


def completed(conditions: Conditions, config: ConditionConfig, num_clips: int, device: torch.device) -> Conditions:
    """The same, with no features of a condition where it is None.

    ZeRO sums gradients in the order in which backward reaches the weights, so that every micro-batch of every rank must use the
    same weights in the same order.
    """
    zeros_B = torch.zeros(num_clips, dtype=torch.int64, device=device)
    audio = Features(torch.zeros(num_clips, 1, config.audio_width, device=device), zeros_B)
    text = Features(torch.zeros(num_clips, 1, config.text_width, device=device), zeros_B)
    letters = Features(zeros_B[:, None, None], zeros_B)
    empty = Conditions(text, letters, audio, audio)
    return Conditions(**{name: getattr(empty, name) if part is None else part for name, part in vars(conditions).items()})


def row_lengths(batch: Batch, num_layers: int) -> Tensor:
    """(B,) positions of each clip's row: the task, its conditions, each with a mark, and the slots of its target."""
    given = batch.conditions
    slots_B = 2 * batch.num_frames_B + max(num_layers - 1, 1)
    marked_B = sum((part.lengths_B > 0) + part.lengths_B for part in (given.text, given.reference, given.input))
    return 1 + marked_B + given.spelling.lengths_B + slots_B
