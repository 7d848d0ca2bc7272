"""Where every token goes: the two streams interleaved in time, the delay pattern over the layers, the segments of a row.

Shapes: B clips, K layers, F frames (or groups of frames, where the rate is dynamic), M = 2F positions of interleaved streams,
P slots (positions of the delayed streams), S segments of a row, L positions of a row.

A row is `[T] [C text..] [R reference..] [I input..] [S tokens.. E]`; absent parts are left out. Position 2f of the
interleaved streams is acoustic frame f, 2f + 1 semantic frame f; layer q comes q slots later:

    slot      0   1   2   3   4   5 ...      (a, s: frames of the streams; -: pad; K = 3, one frame: slots 0-3)
    layer 0   a0  s0  E   -
    layer 1   -   a0  s0  -
    layer 2   -   -   a0  s0

Slot p of layer q thus belongs to stream (p - q) mod 2, whatever the clip: even and odd slots have embeddings and heads of
their own.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lm.config import TokenConfig

IGNORED = -100  # label of a slot without loss


@dataclass(frozen=True)
class Slots:
    """The target of a batch as the decoder sees it."""

    inputs_BPK: Tensor  # int64: S, then the symbols of slots 0 to P - 2
    labels_BPK: Tensor  # int64: what slot p holds, IGNORED where nothing is to be learnt
    num_slots_B: Tensor  # slots of each clip


def num_slots(num_frames: int, num_layers: int) -> int:
    """Slots of so many frames: E comes where layer 0 would go on, the other layers still catch up."""
    return 2 * num_frames + max(num_layers - 1, 1)


def stream_of(slot: Tensor, layer: Tensor) -> Tensor:
    """0 acoustic, 1 semantic."""
    return (slot - layer) % 2


def interleave(acoustic_BKF: Tensor, semantic_BKF: Tensor, fill: int) -> Tensor:
    """(B, K, 2F) of two streams, acoustic first; the stream that has fewer layers gets `fill` in the others."""
    num_layers = max(acoustic_BKF.shape[1], semantic_BKF.shape[1])
    streams = [F.pad(codes, (0, 0, 0, num_layers - codes.shape[1]), value=fill) for codes in (acoustic_BKF, semantic_BKF)]
    return torch.stack(streams, dim=-1).flatten(2)


def deinterleave(codes_BKM: Tensor, tokens: TokenConfig) -> tuple[Tensor, Tensor]:
    """The inverse: acoustic and semantic codes, each with its own layers."""
    return codes_BKM[:, : tokens.num_acoustic, 0::2], codes_BKM[:, : tokens.num_semantic, 1::2]


def slots_of(acoustic_BKF: Tensor, semantic_BKF: Tensor, num_frames_B: Tensor, tokens: TokenConfig, free_B: Tensor) -> Slots:
    """The delayed target of padded codes. Every row has E at its end; it is learnt where the length is free (bool)."""
    symbols_BPK = delayed(acoustic_BKF, semantic_BKF, num_frames_B, tokens)
    learnt_BPK = (symbols_BPK != tokens.pad) & ((symbols_BPK != tokens.end) | free_B[:, None, None])
    inputs_BPK = F.pad(symbols_BPK[:, :-1], (0, 0, 1, 0), value=tokens.start)
    labels_BPK = symbols_BPK.masked_fill(~learnt_BPK, IGNORED)
    return Slots(inputs_BPK, labels_BPK, 2 * num_frames_B + max(tokens.num_layers - 1, 1))


def delayed(acoustic_BKF: Tensor, semantic_BKF: Tensor, num_frames_B: Tensor, tokens: TokenConfig) -> Tensor:
    """(B, P, K) symbols of the slots of padded codes: E behind the last frame of layer 0, pads where nothing is."""
    codes_BMK = interleave(acoustic_BKF, semantic_BKF, tokens.pad).transpose(1, 2)
    size, device = num_slots(acoustic_BKF.shape[-1], tokens.num_layers), codes_BMK.device
    slot_P1 = torch.arange(size, device=device)[:, None]
    layer_K = torch.arange(tokens.num_layers, device=device)
    source_PK = slot_P1 - layer_K
    layers_2 = torch.tensor([tokens.num_acoustic, tokens.num_semantic], device=device)
    exists_PK = (source_PK >= 0) & (layer_K < layers_2[stream_of(slot_P1, layer_K)])
    real_BPK = exists_PK & (source_PK < 2 * num_frames_B[:, None, None])
    moved_BPK = codes_BMK.gather(1, source_PK.clamp(0, codes_BMK.shape[1] - 1).expand(len(codes_BMK), -1, -1))
    ends_BPK = (slot_P1 == 2 * num_frames_B[:, None, None]) & (layer_K == 0)
    return moved_BPK.where(real_BPK, tokens.pad).masked_fill(ends_BPK, tokens.end)


def codes_of(symbols_BPK: Tensor, num_frames: int, tokens: TokenConfig) -> tuple[Tensor, Tensor]:
    """Acoustic and semantic codes of delayed symbols; past a clip's end they mean nothing."""
    steps = torch.arange(2 * num_frames, device=symbols_BPK.device)
    layers = [symbols_BPK[:, steps + layer, layer] for layer in range(tokens.num_layers)]
    return deinterleave(torch.stack(layers, dim=1), tokens)


def durations_of(acoustic_BKF: Tensor, num_frames_B: Tensor, tokens: TokenConfig) -> Tensor:
    """(B, F) frames that each group stands for; 1 past the end."""
    inside_BF = torch.arange(acoustic_BKF.shape[-1], device=acoustic_BKF.device) < num_frames_B[:, None]
    return (acoustic_BKF[:, 0] // tokens.codebook_size + 1).where(inside_BF, 1)


def num_frames_of(acoustic_BKF: Tensor, num_groups_B: Tensor, tokens: TokenConfig) -> Tensor:
    """(B,) frames that all groups of a clip stand for together."""
    durations_BF = durations_of(acoustic_BKF, num_groups_B, tokens)
    return durations_BF.sum(1) - (acoustic_BKF.shape[-1] - num_groups_B)  # padding counts 1


def target_clock(durations_BF: Tensor, size: int, period_B: Tensor) -> Tensor:
    """(B, size) times of S (-1) and of the slots before the last, in halves of a frame.

    A slot's time is that of its frame, plus one for the semantic stream. Targets of several signals start anew every `period_B`
    frames.
    """
    starts_BF = F.pad(durations_BF, (1, size), value=1).cumsum(1) - 1  # exclusive, goes on by 1 past the end
    slots = torch.arange(size - 1, device=durations_BF.device)
    return F.pad(2 * (starts_BF[:, slots // 2] % period_B[:, None]) + slots % 2, (1, 0), value=-1)


def packed(lengths_BS: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor]:
    """Where each position of the rows is, once segments padded to `sizes` are concatenated: (B, L) indices, (B,) lengths.

    Rows are dense from their start and padded at their end, so that causal attention never sees the padding.
    """
    inside = [torch.arange(size, device=lengths_BS.device) < lengths_BS[:, [s]] for s, size in enumerate(sizes)]
    lengths_B = lengths_BS.sum(1)
    first_inside_BL = torch.cat(inside, dim=1).logical_not().int().argsort(dim=1, stable=True)
    return first_inside_BL[:, : int(lengths_B.max())], lengths_B


def check_codes(acoustic_BKF: Tensor, semantic_BKF: Tensor, num_frames_B: Tensor, tokens: TokenConfig) -> None:
    """ValueError unless these are codes that a model of these tokens can learn: shapes, lengths, ranges, durations."""
    shapes = f"acoustic {tuple(acoustic_BKF.shape)}, semantic {tuple(semantic_BKF.shape)}, lengths {tuple(num_frames_B.shape)}"
    num_clips, num_frames = acoustic_BKF.shape[0], acoustic_BKF.shape[-1]
    wanted = ((num_clips, tokens.num_acoustic, num_frames), (num_clips, tokens.num_semantic, num_frames), (num_clips,))
    if (acoustic_BKF.shape, semantic_BKF.shape, num_frames_B.shape) != wanted:
        layers = f"{tokens.num_acoustic} and {tokens.num_semantic}"
        raise ValueError(f"codes of shapes {shapes}: the model takes {layers} layers of equally many clips and frames")
    if bool((num_frames_B < 1).any()) or bool((num_frames_B > num_frames).any()):
        raise ValueError(
            f"lengths from {int(num_frames_B.min())} to {int(num_frames_B.max())} frames: allowed are 1 to {num_frames}"
        )
    inside_BMK = torch.arange(2 * num_frames, device=num_frames_B.device)[:, None] < 2 * num_frames_B[:, None, None]
    for name, codes in (("acoustic", acoustic_BKF), ("semantic", semantic_BKF)):
        real = codes[inside_BMK[:, ::2].transpose(1, 2).expand_as(codes)]
        if int(real.min()) < 0 or int(real.max()) >= tokens.vocab_size:
            raise ValueError(
                f"{name} codes from {int(real.min())} to {int(real.max())}: the model takes 0 to {tokens.vocab_size - 1}"
            )
        durations = codes // tokens.codebook_size
        if bool(((durations != acoustic_BKF[:, :1] // tokens.codebook_size) & inside_BMK[:, ::2].transpose(1, 2)).any()):
            raise ValueError(
                f"{name} codes whose durations differ from those of the first acoustic layer: the codes are damaged"
            )
