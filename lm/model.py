"""The language model: conditions and codec tokens of any task in one row, K embeddings in, K heads out.

Shapes: B clips, K layers, F frames, P slots, L positions of a row, M positions of a segment, D width, V symbols.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lm import layout
from lm.conditions import Adapter, Conditions
from lm.config import LMConfig
from lm.decoder import Decoder
from lm.features import Features
from lm.loss import HeadLosses, Raised, head_losses
from lm.offers import Offered, Trust, known, offers, trusted
from lm.tasks import task
from lm.weights import load, save

SEGMENTS = ("task", "text", "reference", "input", "target")
NEVER = 2**30  # frames: no period
MIN_PADDING_SHARE = 0.125  # below, a GPU is faster with the padding than with a call of attention for each row


@dataclass(frozen=True)
class Batch:
    """What the model learns from."""

    task_B: Tensor  # int64: rows of the task embedding
    conditions: Conditions
    acoustic_BKF: Tensor  # int64 codes; past a clip's end they mean nothing
    semantic_BKF: Tensor
    num_frames_B: Tensor  # int64: frames, or groups of frames, of each clip
    free_B: Tensor  # bool: the length is free, E is learnt
    num_targets_B: Tensor  # signals one after the other

    @classmethod
    def of(
        cls, config: LMConfig, tasks: Sequence[str], conditions: Conditions, codes: tuple[Tensor, Tensor, Tensor]
    ) -> "Batch":
        """A checked batch of one clip for each task; `codes` are acoustic, semantic and lengths.

        ValueError for codes of another codec and for missing conditions: give them all, and leave some out afterwards.
        """
        acoustic_BKF, semantic_BKF, num_frames_B = codes
        layout.check_codes(acoustic_BKF, semantic_BKF, num_frames_B, config.tokens)
        conditions.check(tasks)
        _check_signals(tasks, layout.num_frames_of(acoustic_BKF, num_frames_B, config.tokens))
        device = acoustic_BKF.device
        indices = torch.tensor([config.task_index(name) for name in tasks], device=device)
        free_B = torch.tensor([task(name).length == "free" for name in tasks], device=device)
        num_targets_B = torch.tensor([task(name).num_targets for name in tasks], device=device)
        return cls(indices, conditions, acoustic_BKF, semantic_BKF, num_frames_B, free_B, num_targets_B)

    def to(self, device: torch.device | str) -> "Batch":
        return Batch(*(part.to(device) for part in vars(self).values()))


class Losses(NamedTuple):
    """Of a batch. The sums are for each clip, stream (0 acoustic, 1 semantic) and layer, without gradient.

    A tuple: ZeRO-3 sees no tensors in other classes.
    """

    total: Tensor  # scalar to train on: the sum over all targets, smoothed
    nll_BSK: Tensor
    correct_BSK: Tensor
    num_targets_BSK: Tensor
    num_positions: int  # of the rows, padding included
    num_padding: int

    @property
    def mean(self) -> Tensor:
        return self.total / self.num_targets_BSK.sum().clamp(min=1)


@dataclass(frozen=True)
class Segment:
    """A part of the rows before they are packed."""

    x_BMD: Tensor
    lengths_B: Tensor


class SlotEmbedding(nn.Module):
    """The sum of a slot's K symbols, each from the table of its layer and stream."""

    def __init__(self, config: LMConfig):
        super().__init__()
        self.num_layers, self.num_symbols = config.tokens.num_layers, config.tokens.start + 1
        self.tables = nn.EmbeddingBag(2 * self.num_layers * self.num_symbols, config.decoder.width, mode="sum")

    def forward(self, symbols_BPK: Tensor, first_slot: int) -> Tensor:
        """Embeddings of successive slots (-1: S)."""
        return self.tables(self.rows(symbols_BPK, first_slot).flatten(0, -2)).unflatten(0, symbols_BPK.shape[:-1])

    def rows(self, symbols: Tensor, first_slot: int) -> Tensor:
        """Of the tables: those of symbols (.., P, K)."""
        slots_P1 = torch.arange(first_slot, first_slot + symbols.shape[-2], device=symbols.device)[:, None]
        layers_K = torch.arange(self.num_layers, device=symbols.device)
        table_PK = layout.stream_of(slots_P1, layers_K) * self.num_layers + layers_K
        return symbols + table_PK * self.num_symbols


class Heads(nn.Module):
    """K heads for even slots and K for odd ones: which streams the layers of a slot belong to depends on its parity."""

    def __init__(self, config: LMConfig):
        super().__init__()
        shape = (config.tokens.num_layers, config.tokens.end + 1, config.decoder.width)
        self.even, self.odd = nn.Parameter(torch.empty(shape)), nn.Parameter(torch.empty(shape))

    def forward(
        self,
        x_ND: Tensor,
        parity: int,
        labels_NK: Tensor | None = None,
        label_smoothing: float = 0.0,
        raised: Raised | None = None,
    ) -> Tensor | HeadLosses:
        """Logits (N, K, V) of slots of one parity; with labels, their losses."""
        weight_KVD = self.odd if parity else self.even
        if labels_NK is not None:
            return head_losses(x_ND, weight_KVD, labels_NK, label_smoothing, raised)
        return nn.functional.linear(x_ND, weight_KVD.flatten(0, 1)).unflatten(-1, weight_KVD.shape[:2])


class UnifiedLM(nn.Module):
    """One model for all tasks. The encoders are frozen and not part of it: it takes their features."""

    def __init__(self, config: LMConfig):
        super().__init__()
        self.config = config
        width, conditions = config.decoder.width, config.conditions
        self.tasks = nn.Embedding(len(config.tasks), width)
        self.segments = nn.Embedding(len(SEGMENTS), width)  # added in a segment; alone, the mark at its start
        self.audio_adapter = Adapter(conditions.adapter, conditions.audio_width, width)
        self.text_adapter = Adapter(conditions.adapter, conditions.text_width, width)
        self.letters = nn.Embedding(256, width)  # bytes of the text: exact words, of any language
        self.slots = SlotEmbedding(config)
        self.decoder = Decoder(config.decoder)
        self.heads = Heads(config)
        if config.copies:
            self.offered, self.trust = Offered(config), Trust(config)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Normal with deviation 0.02, smaller for what adds to the residual stream (GPT-2, section 2.3). Seed torch before."""
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                adds = name.endswith(("attention.out.weight", "feed_forward.down.weight"))
                parameter.normal_(0, 0.02 / math.sqrt(2 * self.config.decoder.num_layers) if adds else 0.02)
            elif name.endswith("bias"):
                parameter.zero_()

    def forward(self, batch: Batch, label_smoothing: float = 0.0) -> Losses:
        """Teacher forcing. ValueError for rows longer than the model's `max_positions`."""
        tokens = self.config.tokens
        slots = layout.slots_of(batch.acoustic_BKF, batch.semantic_BKF, batch.num_frames_B, tokens, batch.free_B)
        durations_BF = layout.durations_of(batch.acoustic_BKF, batch.num_frames_B, tokens)
        frames_B = layout.num_frames_of(batch.acoustic_BKF, batch.num_frames_B, tokens)
        period_B = (frames_B // batch.num_targets_B).where(batch.num_targets_B > 1, NEVER)
        prefix, clocks = self.prefix(batch.task_B, batch.conditions)
        offers_BPK = self.offers(batch.conditions, slots.inputs_BPK.shape[1], batch.num_targets_B)
        target = Segment(self.embed_slots(slots.inputs_BPK, -1, offers_BPK), slots.num_slots_B)
        clock_BP = layout.target_clock(durations_BF, slots.inputs_BPK.shape[1], period_B)
        x_BLD, clock_BL, lengths_B = self.pack([*prefix, target], [*clocks, clock_BP])
        num_padding = clock_BL.numel() - int(lengths_B.sum())
        without_padding = num_padding > (MIN_PADDING_SHARE if x_BLD.is_cuda else 0) * clock_BL.numel()
        hidden_BLD = self.decoder(x_BLD, clock_BL, lengths_B if without_padding else None)
        places_BP = (lengths_B - slots.num_slots_B)[:, None] + torch.arange(slots.labels_BPK.shape[1], device=x_BLD.device)
        places_BP = places_BP.clamp(max=x_BLD.shape[1] - 1)  # past a shorter clip's end there are no labels
        hidden_BPD = hidden_BLD.take_along_dim(places_BP[:, :, None], 1)
        total, *sums = self._head_losses(hidden_BPD, slots.labels_BPK, label_smoothing, offers_BPK)
        return Losses(total, *sums, num_positions=clock_BL.numel(), num_padding=num_padding)

    def _head_losses(
        self, hidden_BPD: Tensor, labels_BPK: Tensor, label_smoothing: float, offers_BPK: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        num_clips, _, num_layers = labels_BPK.shape
        sums = hidden_BPD.new_zeros(3, num_clips, 2, num_layers, dtype=torch.float32)  # nll, correct, targets
        total = 0.0
        layers_K = torch.arange(num_layers, device=labels_BPK.device)
        for parity in (0, 1):
            labels = labels_BPK[:, parity::2]
            clip_N, place_N = (labels != layout.IGNORED).any(-1).nonzero(as_tuple=True)
            labels_NK = labels[clip_N, place_N]
            hidden_ND, raised = hidden_BPD[:, parity::2][clip_N, place_N], None
            if offers_BPK is not None:
                symbols_NK, is_there_NK = known(offers_BPK[:, parity::2][clip_N, place_N], self.config.tokens.end + 1)
                raised = Raised(symbols_NK, self.trust(hidden_ND, parity) * is_there_NK)
            losses = self.heads(hidden_ND, parity, labels_NK, label_smoothing, raised)
            total = total + losses.total
            found = torch.stack([losses.nll_NK.float(), losses.correct_NK.float(), (labels_NK != layout.IGNORED).float()])
            by_clip = found.new_zeros(3, num_clips, num_layers).index_add_(1, clip_N, found)
            sums[:, :, (parity - layers_K) % 2, layers_K] += by_clip
        return total, *sums

    def prefix(self, task_B: Tensor, conditions: Conditions) -> tuple[list[Segment], list[Tensor]]:
        """Segments before the target, and their clocks: the input starts at -1, what comes before it counts up to -2."""
        zero_B = torch.zeros_like(task_B)
        parts = [Segment(self.tasks(task_B)[:, None] + self.segments.weight[0], zero_B + 1)]
        audio = lambda features: self.audio_adapter(features.values_BMD)  # noqa: E731
        if conditions.text is not None:
            letters = conditions.spelling or Features(zero_B[:, None, None], zero_B)
            text = Segment(self.text_adapter(conditions.text.values_BMD), conditions.text.lengths_B)
            parts += self.segment("text", text, Segment(self.letters(letters.values_BMD[..., 0]), letters.lengths_B))
        if conditions.reference is not None:
            parts += self.segment("reference", Segment(audio(conditions.reference), conditions.reference.lengths_B))
        ends_B = torch.stack([part.lengths_B for part in parts]).sum(0)
        clocks, start_B = [], -1 - ends_B
        for part in parts:
            clocks.append(start_B[:, None] + torch.arange(part.x_BMD.shape[1], device=task_B.device))
            start_B = start_B + part.lengths_B
        if conditions.input is not None:
            parts += self.segment("input", Segment(audio(conditions.input), conditions.input.lengths_B))
            rate = 2 * self.config.tokens.frame_rate_hz / self.config.conditions.audio_rate_hz
            times_M = torch.arange(parts[-1].x_BMD.shape[1], device=task_B.device) * rate
            clocks += [zero_B[:, None] - 1, times_M.expand(len(task_B), -1)]
        return parts, clocks

    def segment(self, name: str, *parts: Segment) -> list[Segment]:
        """A mark, then the parts, in the rows that have any."""
        kind_D = self.segments.weight[SEGMENTS.index(name)]
        mark = Segment(kind_D.expand(len(parts[0].lengths_B), 1, -1), (parts[0].lengths_B > 0).long())
        return [mark, *(Segment(part.x_BMD + kind_D, part.lengths_B) for part in parts)]

    def embed_slots(self, symbols_BPK: Tensor, first_slot: int, offers_BPK: Tensor | None = None) -> Tensor:
        """Inputs of successive slots of the target (-1: S), with what is offered for the slots after them."""
        x_BPD = self.slots(symbols_BPK, first_slot) + self.target_segment
        return x_BPD if offers_BPK is None else x_BPD + self.offered(self.slots(offers_BPK, first_slot + 1))

    def logits(self, hidden: Tensor, parity: int, offers: Tensor | None = None) -> Tensor:
        """(.., K, V + 1) of slots of one parity, of hidden states (.., D) and what is offered there (.., K)."""
        logits = self.heads(hidden, parity)
        return logits if offers is None else trusted(logits, offers, self.trust(hidden, parity))

    def offers(self, conditions: Conditions, size: int, num_targets_B: Tensor) -> Tensor | None:
        """(B, P, K) symbols of the first slots that the input offers, None for a model that does not copy."""
        return offers(conditions.input_codes, self.config.tokens, size, num_targets_B) if self.config.copies else None

    @property
    def target_segment(self) -> Tensor:
        return self.segments.weight[SEGMENTS.index("target")]

    def pack(self, segments: list[Segment], clocks: Iterable[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Dense rows (B, L, D), their clocks (B, L) and lengths (B,). ValueError if the longest is too long."""
        lengths_BS = torch.stack([segment.lengths_B for segment in segments], dim=1)
        index_BL, lengths_B = layout.packed(lengths_BS, [segment.x_BMD.shape[1] for segment in segments])
        if index_BL.shape[1] > self.config.max_positions:
            raise ValueError(
                f"a row of {index_BL.shape[1]} positions; the model takes {self.config.max_positions}: cut audio into chunks"
            )
        x_BLD = torch.cat([segment.x_BMD for segment in segments], dim=1).take_along_dim(index_BL[:, :, None], 1)
        if self.config.clock == "running":
            return x_BLD, torch.arange(index_BL.shape[1], device=x_BLD.device).expand_as(index_BL), lengths_B
        clock_BL = torch.cat([clock.float() for clock in clocks], dim=1).take_along_dim(index_BL, 1)
        return x_BLD, clock_BL, lengths_B

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors`."""
        save(self, self.config, folder)

    @classmethod
    def from_pretrained(cls, source: str | Path) -> "UnifiedLM":
        """The model of a folder or a hub id, in eval mode. ValueError names what is missing or does not fit."""
        return load(cls, LMConfig, source).eval()


def _check_signals(tasks: Sequence[str], frames_B: Tensor) -> None:
    for row, (name, num_frames) in enumerate(zip(tasks, frames_B.tolist())):
        if num_frames % task(name).num_targets:
            raise ValueError(
                f"clip {row}: task {name}: {num_frames} frames for {task(name).num_targets} signals of equal length"
            )
