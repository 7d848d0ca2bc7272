import math
from dataclasses import replace

import pytest
import torch

from lm.model import UnifiedLM
from tests.training import lm_ranks
from tests.training.lm_ranks import SMALL, TASKS, encoders, made, training
from tests.training.ranks import run_ranks
from training.config import TrainingConfig
from training.lm_batches import encoded
from training.lm_step import LMTrainee

SPEED = ("tokens_per_s", "mfu", "padding_share")  # not of the joined batch alone


def close(found: dict, wanted: dict, limit: float) -> None:
    assert found.keys() == wanted.keys()
    worst = {name: (found[name].double() - wanted[name].double()).abs().max().item() for name in wanted}
    assert max(worst.values()) <= limit, {name: value for name, value in worst.items() if value > limit}


def same_numbers(found: list[dict], wanted: list[dict], limit: float) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert one.keys() == other.keys()
        for name in one.keys() - set(SPEED):
            assert one[name] == pytest.approx(other[name], rel=limit, abs=limit), name


@pytest.mark.slow
def test_two_ranks_are_one_rank_on_the_joined_batch_at_every_zero_stage(tmp_path):
    whole = lm_ranks.train(training(micro_batch_size=len(TASKS)))  # one rank, one micro-batch
    assert len({name for name in whole.results[0] if name.startswith("loss/task/")}) == len(set(TASKS))
    variants = [training(stage) for stage in (0, 1, 2, 3)]
    first, second = run_ranks(lm_ranks.every, 2, tmp_path / "ranks", variants)
    for mine, others in zip(first, second, strict=True):
        same_numbers(mine.results, whole.results, 1e-5)
        for name, tensors in whole.files.items():
            close(mine.files[name], tensors, 1e-6)
        close(mine.published, whole.published, 1e-6)
        assert all(torch.equal(tensor, others.published[name]) for name, tensor in mine.published.items())
        assert [{name: one[name] for name in one.keys() - set(SPEED)} for one in mine.results] == [
            {name: one[name] for name in one.keys() - set(SPEED)} for one in others.results
        ]


@pytest.mark.slow
def test_a_resume_is_exact_at_every_stage_and_another_number_of_ranks_can_go_on(tmp_path):
    for stage in (0, 1, 2, 3):
        settings = training(stage)
        trained = lm_ranks.trainee(settings)
        lm_ranks.run(trained, range(1, 3))
        files = dict(trained.state())
        whole = lm_ranks.finished(trained, lm_ranks.run(trained, range(3, 5)))
        again = lm_ranks.resumed(settings, files, [3, 4])
        for name, tensors in whole.files.items():
            assert all(torch.equal(again.files[name][key], tensor) for key, tensor in tensors.items()), (stage, name)
    two = run_ranks(lm_ranks.resumed, 2, tmp_path / "ranks", training(2), files, [3, 4])
    close(two[0].published, whole.published, 1e-6)


def test_a_step_learns_the_mean_over_all_target_tokens():
    settings = training(label_smoothing=0.0, condition_dropout=0.0)
    trained = lm_ranks.trainee(settings)
    torch.manual_seed(0)
    plain = UnifiedLM(SMALL).train()
    one = encoded(SMALL, encoders(), made(TASKS, 100), device=torch.device("cpu"))
    losses = plain(one)
    losses.mean.backward()
    norm = torch.nn.utils.get_total_norm([weight.grad for weight in plain.parameters() if weight.grad is not None])
    (result,) = lm_ranks.run(trained, range(1, 2))
    assert result["objective"] == pytest.approx(float(losses.mean.detach()), rel=1e-5)
    assert result["loss"] == pytest.approx(result["objective"], rel=1e-5)
    assert result["gradient_norm"] == pytest.approx(float(norm), rel=1e-4)
    assert result["skipped"] == 0.0
    assert 0 <= result["padding_share"] < 1


def test_a_step_that_is_not_finite_changes_nothing():
    trained = lm_ranks.trainee(training())
    lm_ranks.run(trained, range(1, 2))
    before = dict(trained.state())
    first, *rest = lm_ranks.batches(2)
    broken = replace(first, inputs=tuple(None if wave is None else wave * 1e30 for wave in first.inputs))
    result = trained.step([broken, *rest], 2)
    assert result["skipped"] == 1.0
    assert all(math.isfinite(value) for value in result.values())
    for name, tensors in trained.state():
        assert all(torch.equal(before[name][key], tensor) for key, tensor in tensors.items()), name


def test_recomputed_activations_change_no_bit():
    found = [lm_ranks.train(training(activation_checkpointing=on), steps=2) for on in (False, True)]
    for name, tensors in found[0].files.items():
        assert all(torch.equal(found[1].files[name][key], tensor) for key, tensor in tensors.items())


def test_without_averaging_the_weights_themselves_are_published():
    general = replace(training().training, ema_decay=0.0)
    trained = lm_ranks.trainee(replace(training(), training=general))
    lm_ranks.run(trained, range(1, 3))
    files = dict(trained.state())
    assert files.keys() == {"model", "model_optimiser"}
    published = trained.publish()
    assert not published.training
    for name, tensor in published.state_dict().items():
        assert torch.equal(tensor, files["model"][f"lm.{name}"])
    trained.load(files)


def test_half_precision_trains_and_keeps_full_weights():
    general = TrainingConfig(batch_size=len(TASKS), micro_batch_size=len(TASKS), precision="bf16")
    trained = lm_ranks.train(replace(training(), training=general), steps=2)
    assert all(result["skipped"] == 0.0 for result in trained.results)
    assert {tensor.dtype for tensor in trained.published.values()} == {torch.float32}


def test_a_stated_peak_gives_the_share_of_it_that_is_used():
    trained = lm_ranks.train(training(peak_tflops=0.01), steps=1)
    assert 0 < trained.results[0]["mfu"] < 1
    assert "mfu" not in lm_ranks.train(training(), steps=1).results[0]


def test_what_is_published_can_be_saved_and_loaded(tmp_path):
    trained = LMTrainee(UnifiedLM(SMALL), encoders(), training())
    lm_ranks.run(trained, range(1, 2))
    trained.publish().save_pretrained(tmp_path)
    again = UnifiedLM.from_pretrained(tmp_path)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in trained.publish().state_dict().items())
