"""What a slot may hold while a target is generated: forced pads and ends, frames that are left, durations that agree.

Shapes: B clips, K layers, V symbols, G groups of frames.
"""

import torch
from torch import Tensor

from lm.config import TokenConfig
from lm.layout import num_slots
from lm.sampling import NEVER as IMPOSSIBLE

UNKNOWN = 2**30  # slot of an end that has not come yet


def slot_rules(tokens: TokenConfig, limits_B: Tensor, free_B: Tensor) -> "SlotRules":
    """Those of a codec; for a constant rate with little work in a slot."""
    return (ConstantRules if tokens.max_duration_frames == 1 else SlotRules)(tokens, limits_B, free_B)


class SlotRules:
    """The state of targets that grow slot by slot: `restrict` the logits of a slot, choose, then `settle` the symbols.

    A target ends when its frames are `limits_B`; one of free length also where the model says E, after one frame at least.
    """

    def __init__(self, tokens: TokenConfig, limits_B: Tensor, free_B: Tensor):
        self.tokens, self.limits_B, self.free_B = tokens, limits_B, free_B
        num_clips, num_groups = len(limits_B), int(limits_B.max())
        self.starts_B = torch.zeros_like(limits_B)  # frames before the current group
        self.durations_BG = limits_B.new_ones(num_clips, num_groups + 1 + tokens.num_layers)
        self.ends_B = torch.full_like(limits_B, UNKNOWN)  # slot of E in layer 0
        self.chosen_B = torch.zeros_like(free_B)  # E came from the model, not from the limit
        self.num_slots = num_slots(num_groups, tokens.num_layers)  # at most
        self.any_free = bool(free_B.any())
        self.symbols = torch.arange(tokens.end + 1, device=limits_B.device)
        self.layers = (tokens.num_acoustic, tokens.num_semantic)

    def restrict(self, logits_BKV: Tensor, slot: int) -> Tensor:
        """The logits of a slot, those of symbols that may not be there made impossible."""
        tokens = self.tokens
        may_end = slot % 2 == 0 and slot > 0 and self.any_free
        allowed_BKV = (self.symbols < tokens.end).expand_as(logits_BKV).clone()
        if may_end:
            allowed_BKV[:, 0, tokens.end] = self.free_B
        durations_V = self.symbols // tokens.codebook_size + 1
        for layer in range(min(slot + 1, tokens.num_layers)):
            if layer == 0 and slot % 2 == 0:
                fits_BV = durations_V <= (self.limits_B - self.starts_B).clamp(min=1)[:, None]
            else:
                fits_BV = durations_V == self.durations_BG[:, (slot - layer) // 2, None]
            allowed_BKV[:, layer, : tokens.end] &= fits_BV[:, : tokens.end]
        return logits_BKV.masked_fill(~allowed_BKV, IMPOSSIBLE)

    def settle(self, chosen_BK: Tensor, slot: int) -> Tensor:
        """The symbols that the slot holds, forced ones included; advances the state."""
        tokens = self.tokens
        if slot % 2 == 0:
            self._begin_group(chosen_BK[:, 0], slot)
        symbols = []
        for layer in range(tokens.num_layers):
            source = slot - layer
            if source < 0 or layer >= self.layers[source % 2]:
                symbols.append(torch.full_like(self.ends_B, tokens.pad))
            else:
                symbols.append(chosen_BK[:, layer].where(source < self.ends_B, tokens.pad))
        symbols[0] = symbols[0].masked_fill(self.ends_B == slot, tokens.end)
        return torch.stack(symbols, dim=1)

    def _begin_group(self, first_B: Tensor, slot: int) -> None:
        running_B = self.ends_B == UNKNOWN
        full_B = self.starts_B >= self.limits_B
        ends_now_B = running_B & (full_B | (first_B == self.tokens.end))
        self.chosen_B |= ends_now_B & ~full_B
        self.ends_B = self.ends_B.masked_fill(ends_now_B, slot)
        going_B = running_B & ~ends_now_B
        self.durations_BG[:, slot // 2] = (first_B // self.tokens.codebook_size + 1).where(going_B, 1)

    def clock(self, slot: int, period_B: Tensor) -> Tensor:
        """Time of the slot, as `layout.target_clock`; call after `settle`."""
        clock_B = 2 * (self.starts_B % period_B) + slot % 2
        if slot % 2:
            self.starts_B = self.starts_B + self.durations_BG[:, slot // 2]
        return clock_B

    def is_done(self, slot: int) -> bool:
        """Every clip has all layers of its last frame."""
        return bool((self.ends_B + max(self.tokens.num_layers - 1, 1) - 1 <= slot).all())

    @property
    def num_groups_B(self) -> Tensor:
        """Frames, or groups of frames, of targets that have ended."""
        return self.ends_B // 2


class ConstantRules(SlotRules):
    """Every frame is one: where a target ends at the latest is known from the start, and most slots need no work."""

    def __init__(self, tokens: TokenConfig, limits_B: Tensor, free_B: Tensor):
        super().__init__(tokens, limits_B, free_B)
        self.latest_B = 2 * limits_B
        self.ends_B = self.latest_B.clone()
        self.first_end = 2 if self.any_free else 2 * int(limits_B.min())
        self.layers_K = torch.arange(tokens.num_layers, device=limits_B.device)
        layers_2 = torch.tensor(self.layers, device=limits_B.device)
        self.exists_2K = torch.stack([self.layers_K < layers_2[(parity - self.layers_K) % 2] for parity in (0, 1)])
        self.never_BKV = (self.symbols == tokens.end).repeat(len(limits_B), tokens.num_layers, 1)
        self.never_BKV[:, 0] &= ~free_B[:, None]

    def restrict(self, logits_BKV: Tensor, slot: int) -> Tensor:
        if slot % 2 == 0 and slot > 0 and self.any_free:
            return logits_BKV.masked_fill(self.never_BKV, IMPOSSIBLE)
        return logits_BKV[..., : self.tokens.end]

    def settle(self, chosen_BK: Tensor, slot: int) -> Tensor:
        tokens, num_layers = self.tokens, self.tokens.num_layers
        if slot % 2 == 0 and slot > 0 and self.any_free:
            self.ends_B = self.ends_B.masked_fill((chosen_BK[:, 0] == tokens.end) & (slot < self.ends_B), slot)
            self.chosen_B = self.ends_B < self.latest_B
        if num_layers - 1 <= slot < self.first_end and self.layers[0] == self.layers[1]:
            return chosen_BK
        sources_K = slot - self.layers_K
        real_BK = self.exists_2K[slot % 2] & (sources_K >= 0) & (sources_K < self.ends_B[:, None])
        symbols_BK = chosen_BK.where(real_BK, tokens.pad)
        symbols_BK[:, 0].masked_fill_(self.ends_B == slot, tokens.end)
        return symbols_BK

    def clock(self, slot: int, period_B: Tensor) -> Tensor:
        return 2 * ((slot // 2) % period_B) + slot % 2

    def is_done(self, slot: int) -> bool:
        return slot >= self.first_end + max(self.tokens.num_layers - 1, 1) - 1 and super().is_done(slot)
