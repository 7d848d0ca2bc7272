import pytest
import torch

from lm import layout
from lm.config import TokenConfig
from lm.sampling import NEVER
from lm.slot_rules import ConstantRules, SlotRules, slot_rules

TOKENS = TokenConfig(2, 2, codebook_size=3)
DYNAMIC = TokenConfig(2, 2, codebook_size=3, max_duration_frames=3)


def rules_of(tokens: TokenConfig, limit: int, free: bool = False) -> SlotRules:
    return slot_rules(tokens, torch.tensor([limit]), torch.tensor([free]))


def possible(rules: SlotRules, slot: int) -> list[list[int]]:
    """Symbols that each layer may hold."""
    logits = rules.restrict(torch.zeros(1, rules.tokens.num_layers, rules.tokens.end + 1), slot)
    return [row.ne(NEVER).nonzero()[:, 0].tolist() for row in logits[0]]


def run(rules: SlotRules, chosen: list[list[int]]) -> list[list[int]]:
    slots = []
    for slot, symbols in enumerate(chosen):
        slots.append(rules.settle(torch.tensor([symbols]), slot)[0].tolist())
        rules.clock(slot, torch.tensor([100]))
    return slots


def test_the_slots_that_come_out_are_those_of_the_layout():
    rules, frames = rules_of(TOKENS, 2), 2
    slots = run(rules, [[1, 2]] * rules.num_slots)
    codes = torch.tensor([[[1, 1], [2, 2]]])
    target = layout.slots_of(codes, codes, torch.tensor([frames]), TOKENS, torch.tensor([True]))
    assert slots[:-1] == target.inputs_BPK[0, 1:].tolist() and slots[-1][1] == 2
    assert rules.is_done(len(slots) - 1) and not rules.is_done(len(slots) - 2)
    assert rules.num_groups_B.tolist() == [2]


def test_the_end_is_possible_only_where_a_frame_of_a_free_target_would_begin():
    for free in (False, True):
        rules = rules_of(TOKENS, 9, free)
        for slot in range(8):
            may_end = free and slot > 0 and slot % 2 == 0
            assert possible(rules, slot) == [[0, 1, 2] + [TOKENS.end] * may_end, [0, 1, 2]]
            run_slot = rules.settle(torch.tensor([[0, 0]]), slot)
            assert TOKENS.end not in run_slot


def test_a_chosen_end_is_told_from_a_forced_one():
    chosen, forced = rules_of(TOKENS, 2, free=True), rules_of(TOKENS, 2, free=True)
    run(chosen, [[1, 1], [1, 1], [TOKENS.end, 1], [0, 0]])
    run(forced, [[1, 1]] * 6)
    assert chosen.chosen_B.tolist() == [True] and chosen.num_groups_B.tolist() == [1]
    assert forced.chosen_B.tolist() == [False] and forced.num_groups_B.tolist() == [2]


def test_a_duration_fits_what_is_left_and_all_layers_of_a_group_agree():
    rules = rules_of(DYNAMIC, 4)
    assert possible(rules, 0)[0] == list(range(9))  # up to 3 of 4 frames
    run(rules, [[6, 0]])  # 3 frames
    assert possible(rules, 1) == [[6, 7, 8], [6, 7, 8]]
    rules.settle(torch.tensor([[7, 8]]), 1)
    rules.clock(1, torch.tensor([100]))
    assert possible(rules, 2) == [[0, 1, 2], [6, 7, 8]]  # 1 frame is left; layer 1 is still in the first group


def test_the_clock_is_the_one_of_training():
    rules = rules_of(DYNAMIC, 6)
    times = []
    for slot, first in enumerate([6, 6, 1, 0, 4, 4, 0, 0]):
        rules.settle(torch.tensor([[first, first]]), slot)
        times.append(rules.clock(slot, torch.tensor([100])).item())
    acoustic = torch.tensor([[[6, 1, 4], [6, 1, 4]]])
    durations = layout.durations_of(acoustic, torch.tensor([3]), DYNAMIC)
    assert times == layout.target_clock(durations, 9, torch.tensor([100]))[0, 1:].tolist()


@pytest.mark.parametrize("tokens", [TOKENS, TokenConfig(3, 1, codebook_size=3), TokenConfig(1, 1, codebook_size=3)])
def test_those_of_a_constant_rate_are_the_general_ones(tokens):
    limits, free, period = torch.tensor([4, 2, 5]), torch.tensor([True, False, True]), torch.tensor([100, 1, 3])
    for seed in range(20):
        short, general = ConstantRules(tokens, limits, free), SlotRules(tokens, limits, free)
        generator = torch.Generator().manual_seed(seed)
        for slot in range(general.num_slots):
            logits = torch.randn(3, tokens.num_layers, tokens.end + 1, generator=generator)
            restricted = [rules.restrict(logits, slot).softmax(-1) for rules in (short, general)]
            width = restricted[0].shape[-1]
            assert torch.equal(restricted[0], restricted[1][..., :width]) and not restricted[1][..., width:].any()
            chosen = restricted[0].argmax(-1)
            assert torch.equal(*(rules.settle(chosen, slot) for rules in (short, general)))
            if (slot < general.ends_B).all():
                assert torch.equal(*(rules.clock(slot, period) for rules in (short, general)))
            else:
                general.clock(slot, period)
            assert torch.equal(short.chosen_B, general.chosen_B)
            assert short.is_done(slot) == general.is_done(slot)
            if short.is_done(slot):
                assert torch.equal(short.num_groups_B, general.num_groups_B)
                break
        else:
            raise AssertionError("it never ends")
