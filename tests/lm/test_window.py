from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from lm import layout
from lm.conditions import Conditions
from lm.config import TokenConfig
from lm.features import Features
from lm.model import Batch, UnifiedLM
from lm.window import Rows, Window, free_run, slot_logits, stretch_of, window_logits, written
from tests.lm.made import SMALL, batch, model

TASKS, LENGTHS, WINDOW = ["sr", "tse", "ss", "tta"], [9, 6, 8, 5], 4
COPIES = replace(SMALL, copies=True)
UNEVEN = replace(SMALL, tokens=TokenConfig(num_acoustic=3, num_semantic=2, codebook_size=12))


def window(config=SMALL, seed=0, scale=1.0):
    tokens, draws = config.tokens, torch.Generator().manual_seed(seed)
    slots = 2 * WINDOW + tokens.num_layers - 1
    uniform = torch.rand(len(TASKS), slots, tokens.num_layers, tokens.vocab_size, generator=draws)
    first_B = torch.tensor([3, 0, 4, 1])
    return Window(first_B, torch.tensor([4, 4, 4, 4]), -scale * (-uniform.log()).log())


@pytest.mark.parametrize("config", [SMALL, UNEVEN])
def test_the_delay_round_trips(config):
    one = batch(TASKS, LENGTHS, config)
    slots = layout.slots_of(one.acoustic_BKF, one.semantic_BKF, one.num_frames_B, config.tokens, one.free_B)
    one_hots = functional.one_hot(slots.labels_BPK.clamp(min=0), config.tokens.end + 1).float()
    acoustic_BKFV, semantic_BKFV = layout.codes_of(one_hots, max(LENGTHS), config.tokens)
    for row, length in enumerate(LENGTHS):
        assert torch.equal(acoustic_BKFV[row, :, :length].argmax(-1), one.acoustic_BKF[row, :, :length])
        assert torch.equal(semantic_BKFV[row, :, :length].argmax(-1), one.semantic_BKF[row, :, :length])


@pytest.mark.parametrize("config", [SMALL, UNEVEN])
def test_a_window_of_the_truth_is_the_truth(config):
    one, where = batch(TASKS, LENGTHS, config), window(config)
    lm = UnifiedLM(config)
    rows = Rows(lm, one, where)
    codes_BCF = written(rows.truth_BWK, where, lm)
    assert torch.equal(codes_BCF, stretch_of(one, where.first_B, WINDOW))


@pytest.mark.parametrize("clock", ["aligned", "running"])
@pytest.mark.parametrize("config", [SMALL, UNEVEN, COPIES])
def test_what_is_written_is_what_the_model_s_own_logits_choose(config, clock):
    lm = model(tokens=config.tokens, clock=clock, copies=config.copies)
    one, where = batch(TASKS, LENGTHS, config), window(config)
    symbols_BWK = free_run(lm, one, where)
    logits_BWKV = window_logits(lm, one, where, symbols_BWK)
    chosen_BCF = written((logits_BWKV + where.noise_BWKV).argmax(-1), where, lm)
    written_BCF = written(symbols_BWK, where, lm)
    assert torch.equal(written_BCF, chosen_BCF)
    assert int(written_BCF.max()) < config.tokens.vocab_size
    assert not torch.equal(written_BCF, stretch_of(one, where.first_B, WINDOW))


@pytest.mark.parametrize("copies", [False, True])
def test_logits_after_the_true_tokens_are_those_of_teacher_forcing(copies):
    tasks, lengths = ["sr", "tse", "ss"], [9, 6, 8]  # of the others, E is learnt too
    lm, one = model(copies=copies), batch(tasks, lengths, COPIES if copies else SMALL)
    noise_BWKV = torch.zeros(3, layout.num_slots(9, 4), 4, 12)
    where = Window(torch.zeros(3, dtype=torch.int64), torch.tensor(lengths), noise_BWKV)
    truth_BWK = Rows(lm, one, where).truth_BWK
    log_likely = slot_logits(lm, one, where, truth_BWK).log_softmax(-1)
    nll_BCF = -written(log_likely.gather(-1, truth_BWK.clamp(max=11)[..., None])[..., 0], where, lm)
    inside_BF = torch.arange(9) < one.num_frames_B[:, None]
    torch.testing.assert_close((nll_BCF * inside_BF[:, None]).sum((1, 2)), lm(one).nll_BSK.sum((1, 2)))


def rows_of(one, end):
    """The first clips of a batch."""
    given = [part and Features(part.values_BMD[:end], part.lengths_B[:end]) for part in vars(one.conditions).values()]
    return Batch(
        **{name: part[:end] for name, part in vars(one).items() if name != "conditions"}, conditions=Conditions(*given)
    )


def test_tokens_before_the_window_are_the_true_ones_and_a_clip_s_do_not_depend_on_the_others():
    lm, one, where = model(), batch(TASKS, LENGTHS), window()
    rows = Rows(lm, one, where)
    symbols_BWK, free_BWK = free_run(lm, one, where), rows.free_BWK
    assert torch.equal(symbols_BWK[~free_BWK], rows.truth_BWK[~free_BWK])
    alone = Window(where.first_B[:2], where.num_frames_B[:2], where.noise_BWKV[:2])
    assert torch.equal(free_run(lm, rows_of(one, 2), alone), symbols_BWK[:2])


def test_a_token_s_gradient_reaches_the_weights():
    lm, one, where = model(), batch(TASKS, LENGTHS), window()
    window_logits(lm, one, where, free_run(lm, one, where)).sum().backward()
    assert all(weight.grad is not None for weight in lm.decoder.parameters())
