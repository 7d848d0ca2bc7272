from dataclasses import replace

import pytest
import torch

from lm.config import PRESETS, DecoderConfig, TokenConfig
from lm.model import Batch, Losses, UnifiedLM
from tests.lm.made import SMALL, alone, batch, codes, conditions, model

TASKS = ["lass", "sr", "tta", "tse", "speech_edit", "ss"]
LENGTHS = [5, 3, 7, 4, 1, 6]


@pytest.mark.parametrize(("preset", "millions"), [("tiny", 9.7), ("small", 59.7), ("base", 251.0), ("1b", 1016.8)])
def test_presets_have_the_size_of_their_name(preset, millions):
    with torch.device("meta"):
        made = UnifiedLM(PRESETS[preset])
    assert sum(parameter.numel() for parameter in made.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize(
    "tokens",
    [
        TokenConfig(codebook_size=12),
        TokenConfig(4, 2, codebook_size=5, max_duration_frames=3),
        TokenConfig(1, 1, codebook_size=9),
    ],
)
@pytest.mark.parametrize("clock", ["aligned", "running"])
def test_a_padded_batch_equals_each_clip_alone(tokens, clock):
    lm = model(tokens=tokens, clock=clock)
    config = lm.config
    given, targets = conditions(TASKS), codes(LENGTHS, config)
    targets = (*targets[:2], targets[2])
    if tokens.max_duration_frames > 1:
        targets[0][5] %= tokens.codebook_size  # ss: both signals equally long
        targets[1][5] %= tokens.codebook_size
    together = lm(Batch.of(config, TASKS, given, targets))
    total, grads = 0.0, torch.autograd.grad(together.total, list(lm.parameters()))
    sums = [torch.zeros_like(grad) for grad in grads]
    for row, (task, length) in enumerate(zip(TASKS, LENGTHS)):
        one = tuple(part[row : row + 1, :, :length] for part in targets[:2])
        losses = lm(Batch.of(config, [task], alone(given, row), (*one, torch.tensor([length]))))
        torch.testing.assert_close(losses.nll_BSK[0], together.nll_BSK[row], rtol=1e-4, atol=1e-4)
        assert torch.equal(losses.num_targets_BSK[0], together.num_targets_BSK[row])
        assert losses.num_padding == 0
        total += losses.total
        for into, grad in zip(sums, torch.autograd.grad(losses.total, list(lm.parameters()), materialize_grads=True)):
            into += grad
    torch.testing.assert_close(total, together.total, rtol=1e-5, atol=1e-4)
    for grad, wanted in zip(grads, sums):
        torch.testing.assert_close(grad, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))


def test_the_mean_of_an_untrained_model_is_that_of_even_odds():
    torch.manual_seed(0)
    losses = UnifiedLM(SMALL)(batch(TASKS, LENGTHS))
    assert losses.mean.item() == pytest.approx(torch.tensor(SMALL.tokens.vocab_size + 1.0).log().item(), abs=0.05)
    assert losses.num_targets_BSK.sum() == 2 * 4 * sum(LENGTHS) + 2  # tta and speech_edit have an end
    torch.testing.assert_close(losses.nll_BSK.sum(), losses.total)


def test_every_parameter_learns():
    lm = model()
    lm(batch(TASKS, LENGTHS)).mean.backward()
    assert [name for name, parameter in lm.named_parameters() if parameter.grad is None or not parameter.grad.any()] == []


@pytest.mark.parametrize("name", ["text", "spelling", "reference", "input"])
def test_every_condition_of_a_clip_matters_to_that_clip_alone(name):
    lm, given, targets = model(), conditions(TASKS), codes(LENGTHS)
    before = lm(Batch.of(SMALL, TASKS, given, targets)).nll_BSK
    part = getattr(given, name)
    row = int(part.lengths_B.nonzero()[0])
    part.values_BMD[row, part.lengths_B[row] - 1] += 1
    after = lm(Batch.of(SMALL, TASKS, given, targets)).nll_BSK
    same = (before == after).flatten(1).all(1)
    assert not same[row] and same[torch.arange(len(TASKS)) != row].all()


def test_the_task_matters():
    lm, given, targets = model(), conditions(["tse"]), codes([4])
    one, other = (lm(Batch.of(SMALL, [name], given, targets)).total for name in ("tse", "rtse"))
    assert one != other


def test_a_dropped_condition_is_an_absent_one():
    lm, given, targets = model(), conditions(["tse", "tse"]), codes([4, 5])
    without = Batch.of(SMALL, ["tse", "tse"], given, targets)
    keep = torch.tensor([[True, False, True]] * 2)
    without = replace(without, conditions=given.kept(keep))
    absent = replace(without, conditions=replace(given, reference=None))
    torch.testing.assert_close(lm(without).total, lm(absent).total)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_label_smoothing_changes_what_is_trained_and_not_what_is_reported(smoothing):
    losses = model()(batch(TASKS, LENGTHS), smoothing)
    assert (losses.total.item() == pytest.approx(losses.nll_BSK.sum().item(), rel=1e-5)) == (smoothing == 0)


def test_padding_is_counted():
    losses: Losses = model()(batch(["sr", "sr"], [3, 7]))
    rows = [1 + 1 + frames + layout_slots for frames, layout_slots in ((4, 9), (9, 17))]
    assert losses.num_positions == 2 * max(rows) and losses.num_padding == max(rows) - min(rows)


def test_a_row_that_is_too_long_is_refused():
    lm = model(max_positions=20)
    with pytest.raises(ValueError, match=r"a row of \d+ positions; the model takes 20: cut"):
        lm(batch(["sr"], [12]))


def test_a_batch_with_a_missing_condition_or_other_codes_is_refused():
    with pytest.raises(ValueError, match="clip 1: task tse: reference missing"):
        Batch.of(
            SMALL,
            ["sr", "tse"],
            replace(conditions(["tse", "tse"]), reference=None, input=conditions(["sr", "sr"]).input),
            codes([1, 2]),
        )
    with pytest.raises(ValueError, match="the model takes 0 to 11"):
        Batch.of(SMALL, ["sr"], conditions(["sr"]), codes([3], replace(SMALL, tokens=TokenConfig(codebook_size=500))))
    with pytest.raises(ValueError, match="not trained for task vc"):
        Batch.of(replace(SMALL, tasks=("sr",)), ["vc"], conditions(["vc"]), codes([3]))


def test_signals_of_one_target_must_be_equally_long():
    with pytest.raises(ValueError, match="clip 0: task ss: 5 frames for 2 signals"):
        Batch.of(SMALL, ["ss"], conditions(["ss"]), codes([5]))


def test_bfloat16_trains():
    lm = UnifiedLM(replace(SMALL, decoder=DecoderConfig(32, 2, 4, feed_forward_width=48))).bfloat16()
    losses = lm(batch(TASKS, LENGTHS))
    losses.mean.backward()
    assert losses.mean.isfinite() and all(parameter.grad.isfinite().all() for parameter in lm.parameters())


def test_autocast_trains_float32_weights_close_to_full_precision():
    torch.manual_seed(0)
    lm, given = UnifiedLM(SMALL), batch(TASKS, LENGTHS)
    wanted = lm(given).mean
    with torch.autocast("cpu", torch.bfloat16):
        losses = lm(given)
    losses.mean.backward()
    torch.testing.assert_close(losses.mean, wanted, rtol=1e-2, atol=0)
    assert all(parameter.grad.dtype == torch.float32 and parameter.grad.isfinite().all() for parameter in lm.parameters())
