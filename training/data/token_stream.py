"""Token shards to batches for the language model, as training/data/steps.py deals them out, by length.

Shapes: B clips, K layers, F frames (or groups of frames), C conditions, T samples.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.data.steps import Batching, Form, Steps, StreamState
from training.data.token_config import TokenData
from training.data.token_examples import Cutting, TokenExample, decode
from training.data.token_source import TokenSource


@dataclass(frozen=True)
class TokenBatch:
    """A micro-batch; codes are padded with zeros."""

    keys: tuple[str, ...]
    tasks: tuple[str, ...]
    texts: tuple[str | None, ...]
    references: tuple[Tensor | None, ...]  # (T,) float32 at 16 kHz
    inputs: tuple[Tensor | None, ...]
    acoustic_BKF: Tensor  # int64
    semantic_BKF: Tensor
    num_frames_B: Tensor  # int64
    draws_BC: Tensor  # float32 uniforms in [0, 1), keyed by example and epoch
    reference_features: tuple[Tensor | None, ...] = ()  # (M, D) float16 where they were kept; () if none were
    input_features: tuple[Tensor | None, ...] = ()
    input_codes: tuple[Tensor | None, ...] = ()  # (F, C) int64, likewise


class TokenStream(Steps[TokenExample, TokenBatch]):
    """Endless pairs of this rank's micro-batches and the state after them. Padding is little: see TokenData.bucket_steps.

    The joined batch of a step is the same set of examples for any number of ranks; a rank sorts its own by length.
    """

    def __init__(
        self,
        sources: Sequence[TokenSource],
        data: TokenData,
        batching: Batching,
        max_positions: int,
        *,
        state: StreamState | None = None,
        quarantine: Path | None = None,
    ):
        cutting = Cutting(sources[0].tokens, max_positions, data.crop_s, data.reference_s)
        length = num_positions if data.bucket_steps > 1 else None
        form = Form(functools.partial(decode, cutting), token_batch, length, data.bucket_steps)
        super().__init__(sources, data, batching, form, state=state, quarantine=quarantine)


def num_positions(example: TokenExample) -> int:
    return example.num_positions


def token_batch(examples: Sequence[TokenExample]) -> TokenBatch:
    """Examples side by side."""
    lengths = [example.acoustic_KF.shape[1] for example in examples]
    acoustic, semantic = (
        np.zeros((len(examples), len(getattr(examples[0], name)), max(lengths)), np.int64)
        for name in ("acoustic_KF", "semantic_KF")
    )
    for row, (example, length) in enumerate(zip(examples, lengths)):
        acoustic[row, :, :length], semantic[row, :, :length] = example.acoustic_KF, example.semantic_KF
    return TokenBatch(
        tuple(example.key for example in examples),
        tuple(example.task for example in examples),
        tuple(example.text for example in examples),
        tuple(_samples(example.reference) for example in examples),
        tuple(_samples(example.input) for example in examples),
        torch.from_numpy(acoustic),
        torch.from_numpy(semantic),
        torch.tensor(lengths),
        torch.from_numpy(np.stack([example.draws_C for example in examples])),
        tuple(_tensor(example.reference_features) for example in examples),
        tuple(_tensor(example.input_features) for example in examples),
        tuple(_tensor(example.input_codes) for example in examples),
    )


def _tensor(features: np.ndarray | None) -> Tensor | None:
    return None if features is None else torch.from_numpy(features)


def _samples(wave: np.ndarray | None) -> Tensor | None:
    return None if wave is None else torch.from_numpy(wave * np.float32(2**-15))
