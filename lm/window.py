"""A window of the target that the model writes itself, after the true tokens before it: what a discriminator judges.

`free_run` writes it slot by slot from a cache, without gradient; `window_logits` sees it all at once, as teacher forcing does,
and has the gradient. So a gradient reaches the weights through each token's own logits, not through what was written after it.

Shapes: B clips, K layers, C codebooks (acoustic, then semantic), F frames, P slots of the target, W of the window, V codes.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from lm import layout
from lm.cached import Cache, Stepper, prefill, turns
from lm.model import NEVER, Batch, Segment, UnifiedLM


@dataclass(frozen=True)
class Window:
    """Which frames of each clip are written, and the noise that chooses their tokens."""

    first_B: Tensor  # int64
    num_frames_B: Tensor  # int64: 1 or more, within the clip
    noise_BWKV: Tensor  # of Gumbel's distribution: the symbol of the largest logit plus noise is a sample

    @property
    def num_frames(self) -> int:
        return (self.noise_BWKV.shape[1] - max(self.noise_BWKV.shape[2] - 1, 1)) // 2


class Rows:
    """The rows of a batch around its windows."""

    def __init__(self, model: UnifiedLM, batch: Batch, window: Window):
        self.model, self.batch, self.window = model, batch, window
        tokens, self.size = model.config.tokens, window.noise_BWKV.shape[1]
        streams = [F.pad(codes, (0, 1)) for codes in (batch.acoustic_BKF, batch.semantic_BKF)]  # the last slot is an input, too
        slots = layout.slots_of(*streams, batch.num_frames_B, tokens, batch.free_B)
        self.inputs_BPK = F.pad(slots.inputs_BPK, (0, 0, 0, self.size), value=tokens.pad)
        self.first_slot_B = 2 * window.first_B
        period_B = (batch.num_frames_B // batch.num_targets_B).where(batch.num_targets_B > 1, NEVER)
        ones_BF = torch.ones_like(batch.acoustic_BKF[:, 0])
        self.offers_BPK = model.offers(batch.conditions, self.inputs_BPK.shape[1], batch.num_targets_B)
        self.clock_BP = layout.target_clock(ones_BF, self.inputs_BPK.shape[1], period_B)

    @cached_property
    def places_BW(self) -> Tensor:
        """Of the window's slots as inputs: S, the first input, is that of slot 0."""
        return self.first_slot_B[:, None] + torch.arange(1, self.size + 1, device=self.first_slot_B.device)

    @cached_property
    def offers_BWK(self) -> Tensor | None:
        """What the input offers for the window's slots."""
        if self.offers_BPK is None:
            return None
        places_BW = (self.places_BW - 1).clamp(max=self.offers_BPK.shape[1] - 1)
        return self.offers_BPK.take_along_dim(places_BW[..., None], 1)

    @property
    def truth_BWK(self) -> Tensor:
        """What the window's slots hold in the target; pads past its end."""
        return self.inputs_BPK.take_along_dim(self.places_BW[..., None], 1)

    @property
    def free_BWK(self) -> Tensor:
        """Where the model writes: not what belongs to frames before the window, nor past the clip's end."""
        tokens, device = self.model.config.tokens, self.first_slot_B.device
        layer_K = torch.arange(tokens.num_layers, device=device)
        source_WK = torch.arange(self.size, device=device)[:, None] - layer_K
        layers_2 = torch.tensor([tokens.num_acoustic, tokens.num_semantic], device=device)
        exists_WK = (source_WK >= 0) & (layer_K < layers_2[source_WK % 2])
        return exists_WK & (self.first_slot_B[:, None, None] + source_WK < 2 * self.batch.num_frames_B[:, None, None])

    def packed(self, inputs_BPK: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows with so many inputs of the target: embedded, their clocks, lengths."""
        model, size = self.model, int(lengths_B.max())
        prefix, clocks = model.prefix(self.batch.task_B, self.batch.conditions)
        offers_BPK = None if self.offers_BPK is None else self.offers_BPK[:, :size]
        target = Segment(model.embed_slots(inputs_BPK[:, :size], -1, offers_BPK), lengths_B)
        return model.pack([*prefix, target], [*clocks, self.clock_BP[:, :size]])


@torch.no_grad()
def free_run(model: UnifiedLM, batch: Batch, window: Window) -> Tensor:
    """(B, W, K) symbols of the windows' slots, drawn from the model's own distribution; E is never drawn.

    In the weights' own precision, whatever training computes in.
    """
    with torch.autocast(batch.task_B.device.type, enabled=False):
        rows = Rows(model, batch, window)
        truth_BWK, free_BWK = rows.truth_BWK, rows.free_BWK
        x_BLD, clock_BL, lengths_B = rows.packed(rows.inputs_BPK, rows.first_slot_B + 1)
        cache = Cache(model.config.decoder, len(x_BLD), x_BLD.shape[1] + rows.size, x_BLD)
        hidden_BD = prefill(model.decoder, x_BLD, clock_BL, lengths_B, cache)
        step, rotation = Stepper(model.decoder), _turns(rows, lengths_B, hidden_BD)
        found, offers = [], [None] * rows.size if rows.offers_BWK is None else rows.offers_BWK.split(1, dim=1)
        for slot in range(rows.size):
            logits_B1KV = model.logits(hidden_BD[:, None], slot % 2, offers[slot])  # windows start at even slots
            logits_BKV = logits_B1KV[:, 0, :, : model.config.tokens.vocab_size]
            drawn_BK = (logits_BKV.float() + window.noise_BWKV[:, slot]).argmax(-1)
            found.append(drawn_BK.where(free_BWK[:, slot], truth_BWK[:, slot]))
            if slot < rows.size - 1:
                x_BD = model.embed_slots(found[-1][:, None], slot, offers[slot + 1])[:, 0]
                hidden_BD = step(x_BD, rotation[:, :, :, slot : slot + 1], cache)
    return torch.stack(found, dim=1)


def _turns(rows: Rows, lengths_B: Tensor, like: Tensor) -> Tensor:
    """Rotations of the window's slots, as inputs."""
    clock_BW = rows.clock_BP.take_along_dim(rows.places_BW, 1)
    if rows.model.config.clock == "running":
        clock_BW = lengths_B[:, None] + torch.arange(rows.size, device=lengths_B.device)
    return turns(clock_BW, rows.model.config.decoder, like.dtype)


def window_logits(model: UnifiedLM, batch: Batch, window: Window, symbols_BWK: Tensor) -> Tensor:
    """(B, W, K, V) logits of the windows' slots, after these symbols, without E; past a window's end they mean nothing."""
    return slot_logits(model, batch, window, symbols_BWK)[..., : model.config.tokens.vocab_size].float()


def slot_logits(model: UnifiedLM, batch: Batch, window: Window, symbols_BWK: Tensor) -> Tensor:
    """The same with E, (B, W, K, V + 1)."""
    rows = Rows(model, batch, window)
    places_BWK = rows.places_BW[..., None].expand(-1, -1, symbols_BWK.shape[2])
    inputs_BPK = rows.inputs_BPK.scatter(1, places_BWK, symbols_BWK)
    wanted_B = rows.first_slot_B + 2 * window.num_frames_B + max(symbols_BWK.shape[2] - 1, 1)
    x_BLD, clock_BL, lengths_B = rows.packed(inputs_BPK, wanted_B)
    hidden_BLD = model.decoder(x_BLD, clock_BL, lengths_B)
    starts_B1 = (lengths_B - wanted_B + rows.first_slot_B)[:, None]
    index_BW = (starts_B1 + torch.arange(rows.size, device=x_BLD.device)).clamp(max=x_BLD.shape[1] - 1)
    hidden_BWD = hidden_BLD.take_along_dim(index_BW[..., None], 1)
    offers = [None if rows.offers_BWK is None else rows.offers_BWK[:, parity::2] for parity in (0, 1)]
    parts = [model.logits(hidden_BWD[:, parity::2], parity, offers[parity]) for parity in (0, 1)]
    logits_BWKV = hidden_BWD.new_zeros(*hidden_BWD.shape[:2], *parts[0].shape[2:], dtype=parts[0].dtype)
    logits_BWKV[:, 0::2], logits_BWKV[:, 1::2] = parts
    return logits_BWKV


def written(slots_BWKx: Tensor, window: Window, model: UnifiedLM) -> Tensor:
    """What belongs to each frame of the window, (B, C, F, ...): the delay is undone, for symbols or anything else of a slot."""
    streams = layout.codes_of(slots_BWKx, window.num_frames, model.config.tokens)
    return torch.cat(streams, dim=1)


def stretch_of(batch: Batch, first_B: Tensor, num_frames: int) -> Tensor:
    """(B, C, F) true codes of the frames from `first_B`; past a clip's end they mean nothing."""
    codes_BCF = torch.cat([batch.acoustic_BKF, batch.semantic_BKF], dim=1)
    index_BF = first_B[:, None] + torch.arange(num_frames, device=first_B.device)
    return codes_BCF.take_along_dim(index_BF.clamp(max=codes_BCF.shape[-1] - 1)[:, None], 2)
