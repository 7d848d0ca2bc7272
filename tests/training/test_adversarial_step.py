import math
from dataclasses import replace

import pytest
import torch

from lm.config import TokenConfig
from lm.model import UnifiedLM
from tests.training import adversarial_ranks, lm_ranks
from tests.training.adversarial_ranks import SMALL, PlainTorch, trainee, training
from tests.training.lm_ranks import TASKS, encoders
from tests.training.ranks import run_ranks
from tests.training.test_lm_step import SPEED, close
from training.adversarial_step import AdversarialTrainee, drawn_window
from training.lm_batches import encoded

FORMS = pytest.mark.parametrize("form", ["relgan", "seqgan", "leakgan"])


@FORMS
def test_a_killed_training_goes_on_bit_for_bit(form):
    settings = training(form=form)
    trained = trainee(settings)
    lm_ranks.run(trained, range(1, 3))
    files = dict(trained.state())
    assert files.keys() == {"model", "model_optimiser", "discriminator", "discriminator_optimiser", "ema"}
    whole = lm_ranks.finished(trained, lm_ranks.run(trained, range(3, 5)))
    again = adversarial_ranks.resumed(settings, files, [3, 4])
    for name, tensors in whole.files.items():
        assert all(torch.equal(again.files[name][key], tensor) for key, tensor in tensors.items()), name
    named = {"adversarial/generator", "adversarial/discriminator", "adversarial/told_apart", "gradient_norm/discriminator"}
    assert named <= whole.results[-1].keys()
    assert whole.results[-1]["skipped"] == 0


@pytest.mark.parametrize("form", ["relgan", "leakgan"])
def test_one_rank_equals_plain_torch_on_the_joined_batch(form):
    settings = training(form=form)
    equals_plain_torch(adversarial_ranks.train(settings), settings)


@pytest.mark.slow
def test_two_ranks_equal_plain_torch_on_the_joined_batch_at_zero_stages_1_and_2(tmp_path):
    variants = [training(stage) for stage in (1, 2)]
    first, second = run_ranks(adversarial_ranks.every, 2, tmp_path / "ranks", variants)
    for mine, other, settings in zip(first, second, variants):
        equals_plain_torch(mine, settings)
        assert all(torch.equal(tensor, other.published[name]) for name, tensor in mine.published.items())
        of_both = [[{name: one[name] for name in one.keys() - set(SPEED)} for one in rank.results] for rank in (mine, other)]
        assert of_both[0] == of_both[1]


def equals_plain_torch(found, settings):
    plain = PlainTorch(settings)
    before = {name: weight.detach().clone() for name, weight in plain.judge.named_parameters()}
    for step in range(1, 4):
        plain.step(step)
    close(found.files["discriminator"], plain.judge.state_dict(), 1e-6)
    close(found.files["model"], {f"lm.{name}": tensor for name, tensor in plain.lm.state_dict().items()}, 1e-6)
    before.pop("judge.opinion.bias")  # a difference of opinions does not have it
    assert min(float((found.files["discriminator"][name] - weight).abs().max()) for name, weight in before.items()) > 1e-5


def test_a_weight_of_0_and_the_head_start_train_the_model_as_without():
    alone = lm_ranks.train(replace(training(), adversarial=lm_ranks.training().adversarial))
    for options in ({"weight": 0.0}, {"head_start": 3}):
        found = adversarial_ranks.train(training(**options))
        close(found.files["model"], alone.files["model"], 1e-7)
    close_to = adversarial_ranks.train(training()).files["model"]
    assert max(float((close_to[name] - tensor).abs().max()) for name, tensor in alone.files["model"].items()) > 1e-5


def test_a_step_that_is_not_finite_changes_nothing_in_either_network():
    trained = trainee(training())
    lm_ranks.run(trained, range(1, 3))
    before = dict(trained.state())
    first, *rest = lm_ranks.batches(3)
    broken = replace(first, inputs=tuple(None if wave is None else wave * 1e30 for wave in first.inputs))
    result = trained.step([broken, *rest], 3)
    assert result["skipped"] == 1.0 and all(math.isfinite(value) for value in result.values())
    for name, tensors in trained.state():
        assert all(torch.equal(before[name][key], tensor) for key, tensor in tensors.items()), name


def test_windows_are_those_of_the_examples_in_whatever_batch_they_are():
    def windows(tasks, seed):
        source = lm_ranks.made(tasks, seed)
        one = encoded(SMALL, encoders(), source, device=torch.device("cpu"))
        return one, drawn_window(source.keys, one, 5, SMALL.tokens, 0, "window", 1)

    one, whole = windows(TASKS, 100)
    assert bool((whole.first_B + whole.num_frames_B <= one.num_frames_B).all()) and int(whole.first_B.max()) > 0
    _, part = windows(TASKS[2:4], 102)
    assert part.first_B.tolist() == whole.first_B[2:4].tolist()
    assert torch.equal(part.noise_BWKV, whole.noise_BWKV[2:4, : part.noise_BWKV.shape[1]])
    assert abs(float(whole.noise_BWKV.mean()) - 0.5772) < 0.1  # Gumbel's distribution


def test_half_precision_trains():
    settings = training()
    general = replace(settings.training, precision="bf16")
    trained = adversarial_ranks.train(replace(settings, training=general))
    assert all(result["skipped"] == 0 for result in trained.results)


def test_a_codec_of_dynamic_rate_is_refused():
    tokens = TokenConfig(num_acoustic=3, num_semantic=2, codebook_size=12, max_duration_frames=2)
    with pytest.raises(ValueError, match="takes codecs of a fixed frame rate; tokens of this one last up to 2 frames"):
        AdversarialTrainee(UnifiedLM(replace(SMALL, tokens=tokens, copies=False)), encoders(), training())
