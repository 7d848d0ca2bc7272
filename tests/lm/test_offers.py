import math
from dataclasses import replace

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from lm import layout
from lm.conditions import Conditions
from lm.config import TokenConfig
from lm.features import Features
from lm.model import Batch
from lm.offers import known, offers, trusted
from tests.lm.made import SMALL, TOKENS, alone, batch, codes, conditions, model

UNEVEN = TokenConfig(num_acoustic=3, num_semantic=2, codebook_size=12)
COPIES = replace(SMALL, copies=True)


def side_by_side(acoustic, semantic, lengths):
    return Features(torch.cat([acoustic, semantic], dim=1).transpose(1, 2), lengths)


@pytest.mark.parametrize("tokens", [TOKENS, UNEVEN])
@pytest.mark.parametrize("num_targets", [1, 2])
def test_where_the_target_is_the_input_its_own_symbols_are_offered(tokens, num_targets):
    acoustic, semantic, lengths = codes([6, 3, 1], replace(SMALL, tokens=tokens))
    rows = [[one[:, :n].repeat(1, num_targets) for one, n in zip(part, lengths)] for part in (acoustic, semantic)]
    targets = [pad_sequence([row.T for row in part], batch_first=True).transpose(1, 2) for part in rows]
    free = torch.ones(3, dtype=torch.bool)
    labels = layout.slots_of(*targets, lengths * num_targets, tokens, free).labels_BPK
    found = offers(side_by_side(acoustic, semantic, lengths), tokens, labels.shape[1], torch.full((3,), num_targets))
    assert torch.equal(found[labels != layout.IGNORED], labels[labels != layout.IGNORED])


def test_past_the_input_and_without_one_nothing_is_offered():
    acoustic, semantic, lengths = codes([4, 2])
    one = torch.ones(2, dtype=torch.int64)
    found = offers(side_by_side(acoustic, semantic, lengths * torch.tensor([1, 0])), TOKENS, 30, one)
    end = layout.num_slots(4, TOKENS.num_layers)
    assert (found[0, end:] == TOKENS.pad).all() and (found[0, :8, 0] < TOKENS.codebook_size).all()
    assert (found[1] == TOKENS.pad).all()
    assert (offers(None, TOKENS, 5, one) == TOKENS.pad).all()
    assert found[0, 8, 0] == TOKENS.end


def test_a_shorter_target_is_offered_the_beginning():
    acoustic, semantic, lengths = codes([9])
    one, given = torch.ones(1, dtype=torch.int64), side_by_side(acoustic, semantic, lengths)
    assert torch.equal(offers(given, TOKENS, 7, one), offers(given, TOKENS, 21, one)[:, :7])


def test_trust_raises_the_offered_symbol_alone():
    logits, symbols = torch.zeros(2, 3, 13), torch.tensor([[4, TOKENS.end, TOKENS.pad], [0, TOKENS.start, 11]])
    found = trusted(logits, symbols, torch.full((2, 3), 5.0))
    raised = torch.zeros(2, 3, 13)
    raised[0, 0, 4] = raised[0, 1, 12] = raised[1, 0, 0] = raised[1, 2, 11] = 5
    assert torch.equal(found, raised)
    assert known(symbols, 13)[1].tolist() == [[True, True, False], [True, False, True]]


def test_a_model_that_trusts_what_is_offered_copies_the_input():
    tasks, given, (acoustic, semantic, lengths) = ["sr", "sr"], conditions(["sr", "sr"]), codes([6, 3])
    given = replace(given, input_codes=side_by_side(acoustic, semantic, lengths))
    one = Batch.of(COPIES, tasks, given, (acoustic, semantic, lengths))
    lm, losses = model(copies=True), []
    with torch.no_grad():
        lm.heads.even.zero_(), lm.heads.odd.zero_()
    for trust in (-3.0, 0.0, 3.0, 20.0):
        lm.trust.forward = lambda hidden, parity, trust=trust: hidden.new_full((*hidden.shape[:-1], 4), trust)
        losses.append(float(lm(one).mean.detach()))
    assert losses == sorted(losses, reverse=True) and losses[-1] < 1e-4
    assert losses[1] == pytest.approx(math.log(13))


@torch.no_grad()
def test_what_is_offered_is_heard_and_a_dropped_input_offers_nothing():
    tasks = ["event_edit", "tta", "ss"]
    lm, one = model(copies=True), batch(tasks, [5, 4, 6], COPIES)
    other = replace(
        one.conditions, input_codes=replace(one.conditions.input_codes, values_BMD=one.conditions.input_codes.values_BMD ^ 1)
    )
    change = (lm(replace(one, conditions=other)).nll_BSK - lm(one).nll_BSK).abs().sum((1, 2))
    assert change[0] > 1e-3 and change[2] > 1e-3 and change[1] == 0
    keep = torch.ones(3, 3, dtype=torch.bool)
    keep[:, 2] = False
    dropped = one.conditions.kept(keep)
    assert dropped.input_codes.lengths_B.tolist() == [0, 0, 0]
    without = replace(dropped, input_codes=None)
    torch.testing.assert_close(lm(replace(one, conditions=dropped)).nll_BSK, lm(replace(one, conditions=without)).nll_BSK)


@torch.no_grad()
def test_a_padded_row_loses_what_the_clip_alone_loses():
    tasks, lengths = ["speech_edit", "ss", "tta", "sr"], [7, 4, 5, 3]
    lm, one = model(copies=True), batch(["speech_edit", "ss", "tta", "sr"], lengths, COPIES)
    found = lm(one).nll_BSK
    for row, (name, length) in enumerate(zip(tasks, lengths)):
        given = alone(one.conditions, row)
        parts = (
            one.acoustic_BKF[row : row + 1, :, :length],
            one.semantic_BKF[row : row + 1, :, :length],
            torch.tensor([length]),
        )
        assert (given.input_codes is None) == (name == "tta") and isinstance(given, Conditions)
        torch.testing.assert_close(lm(Batch.of(COPIES, [name], given, parts)).nll_BSK[0], found[row], atol=1e-4, rtol=1e-5)


def test_every_weight_gets_a_gradient():
    lm = model(copies=True).train()
    lm(batch(["event_edit", "sr"], [5, 4], COPIES)).mean.backward()
    assert lm.trust.weight_2KD.grad.any(-1).all() and lm.offered.weight.grad.any()


def test_a_codec_of_dynamic_rate_is_refused():
    with pytest.raises(ValueError, match="copies: for codecs of a constant rate"):
        replace(COPIES, tokens=TokenConfig(3, 2, codebook_size=4, max_duration_frames=3))
