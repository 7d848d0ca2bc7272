import copy
import math

import pytest
import torch

from tests.training import gan, gan_scenarios
from tests.training.ranks import run_ranks
from training.codec_step import drawn, feature_frames

STAGES = pytest.mark.parametrize("stage", [0, 1, 2, 3])
TOLERANCE = 1e-6


def two(scenarios, folder, stages=(0, 1, 2, 3)):
    """By rank, by scenario, by stage."""
    return run_ranks(gan_scenarios.every_stage, 2, folder, scenarios, stages)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return [found["trained"] for found in two([gan_scenarios.trained], tmp_path_factory.mktemp("trained"))]


@pytest.fixture(scope="module")
def plain():
    reference = gan.PlainTorch(gan.training())
    before = {name: weight.detach().clone() for name, weight in reference.discriminators.named_parameters()}
    before |= {f"codec.{name}": weight.detach().clone() for name, weight in reference.codec.named_parameters()}
    for step in range(1, gan_scenarios.NUM_STEPS + 1):
        reference.step(step)
    return reference, before


@pytest.fixture(scope="module")
def in_bf16(tmp_path_factory):
    return two([gan_scenarios.in_bf16], tmp_path_factory.mktemp("bf16"))[0]["in_bf16"]


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    scenarios = [gan_scenarios.poisoned, gan_scenarios.skipped, gan_scenarios.generator_step]
    return two(scenarios, tmp_path_factory.mktemp("spoilt"))[0]


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    return two([gan_scenarios.resumed], tmp_path_factory.mktemp("resumed"))[0]["resumed"]


@pytest.mark.slow
@STAGES
def test_two_ranks_equal_plain_torch_on_the_joined_batch(trained, plain, stage):
    files, (reference, before) = trained[0][stage].files, plain
    expected = {f"codec.{name}": tensor for name, tensor in reference.codec.state_dict().items()}
    assert_close(files["generator"], expected)
    assert_close(files["discriminator"], reference.discriminators.state_dict())
    moved = {name: (files["generator"] | files["discriminator"])[name] - weight for name, weight in before.items()}
    assert min(float(change.abs().max()) for change in moved.values()) > 0
    for part in ("codec.encoder", "codec.decoder", "codec.semantic_decoder", "period", "band", "resolution"):
        largest = max(float(change.abs().max()) for name, change in moved.items() if name.startswith(part))
        assert largest > 100 * TOLERANCE, part


@pytest.mark.slow
def test_segments_train_on_two_ranks_as_in_plain_torch(trained, tmp_path):
    files = two([gan_scenarios.in_segments], tmp_path, (1,))[0]["in_segments"][0].files
    reference = gan.PlainTorch(gan.replace(gan.training(), segments=gan_scenarios.SegmentConfig(3, "parts")))
    for step in range(1, gan_scenarios.NUM_STEPS + 1):
        reference.step(step)
    assert_close(files["generator"], {f"codec.{name}": tensor for name, tensor in reference.codec.state_dict().items()})
    assert_close(files["discriminator"], reference.discriminators.state_dict())
    whole = trained[0][1].files["discriminator"]
    assert max(float((whole[name] - tensor).abs().max()) for name, tensor in files["discriminator"].items()) > 100 * TOLERANCE


@pytest.mark.slow
@STAGES
def test_codebooks_have_the_same_bits_on_both_ranks(trained, stage):
    first, second = (found[stage].buffers for found in trained)
    assert_same(first, second)
    assert first["acoustic_quantiser.initialised"].all()


@pytest.mark.slow
def test_codebooks_have_the_bits_of_one_rank_on_the_joined_batch(tmp_path):
    found = {size: run_ranks(gan_scenarios.first_step, size, tmp_path / str(size), 0)[0] for size in (1, 2)}
    assert_same(found[1].buffers, found[2].buffers)


@pytest.mark.slow
@STAGES
def test_both_ranks_have_the_same_numbers_and_the_first_publishes_the_average(trained, stage):
    first, second = (found[stage] for found in trained)
    assert first.results == second.results
    assert second.published is None
    average = first.files["ema"]
    assert all(torch.equal(average[f"codec.{name}"], tensor) for name, tensor in first.published.items())
    assert not second.files["ema"]


@pytest.mark.slow
@STAGES
def test_the_generators_step_leaves_the_discriminators_alone(spoilt, stage):
    before, after = spoilt["generator_step"][stage]
    assert_same(before, after)


@pytest.mark.slow
@STAGES
def test_what_is_not_finite_on_one_rank_changes_nothing_on_any(spoilt, stage):
    found = spoilt["poisoned"][stage]
    assert [(name, is_first) for name, is_first, _, _ in found] == [
        ("wave", True),
        ("latent", True),
        ("generator", True),
        ("wave", False),
        ("latent", False),
        ("generator", False),
        ("discriminator", False),
    ]
    for name, _, result, (before, after) in found:
        assert result["skipped"] == 1, name
        assert all(math.isfinite(value) for value in result.values())
        for file in before:
            assert_same(before[file], after[file])


@pytest.mark.slow
@STAGES
def test_a_skipped_step_leaves_no_trace_in_those_after_it(spoilt, stage):
    without, with_skipped = spoilt["skipped"][stage]
    for file in without:
        assert_same(without[file], with_skipped[file])


@pytest.mark.slow
@STAGES
def test_a_resumed_training_has_the_bits_of_an_undisturbed_one(resumed, stage):
    undisturbed, again, _ = resumed[stage]
    assert undisturbed.keys() == {"generator", "generator_optimiser", "discriminator", "discriminator_optimiser", "ema"}
    for file in undisturbed:
        assert_same(undisturbed[file], again[file])


@pytest.mark.slow
def test_one_rank_loads_the_bits_that_two_ranks_saved_at_another_stage(resumed, tmp_path):
    saved = [files for _, _, files in resumed]
    found = run_ranks(gan_scenarios.every_stage, 1, tmp_path, [gan_scenarios.loaded], (0, 1, 2, 3), saved)[0]["loaded"]
    for stage in range(4):
        for file in saved[stage - 1]:
            assert_same(saved[stage - 1][file], found[stage][file])


@pytest.mark.slow
def test_one_rank_goes_on_from_two_as_plain_torch_would_at_any_stage(trained, plain, tmp_path):
    files, reference = [one.files for one in trained[0]], copy.deepcopy(plain[0])
    for step in range(gan_scenarios.NUM_STEPS + 1, gan_scenarios.NUM_STEPS + 3):
        reference.step(step)
    expected = {f"codec.{name}": tensor for name, tensor in reference.codec.state_dict().items()}
    found = run_ranks(gan_scenarios.every_stage, 1, tmp_path, [gan_scenarios.gone_on], (0, 1, 2, 3), files)[0]["gone_on"]
    for weights in found:
        assert_close(weights, expected, 2 * TOLERANCE)
    last = "codec.decoder.vocoder.head.out.weight"
    assert (found[0][last] - files[0]["generator"][last]).abs().max() > 100 * TOLERANCE


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_trains_in_bf16_and_loads_what_it_saved_at_every_stage(tmp_path):
    for trained, saved, loaded in run_ranks(gan_scenarios.every_stage, 1, tmp_path, [gan_scenarios.on_a_gpu])[0]["on_a_gpu"]:
        assert all(result["skipped"] == 0 and all(map(math.isfinite, result.values())) for result in trained.results)
        for file in saved:
            assert_same(saved[file], loaded[file])


@pytest.mark.slow
@STAGES
def test_bf16_learns_and_is_close_to_fp32(in_bf16, stage):
    low, high = in_bf16[stage]
    for name in ("loss/mel", "loss/semantic", "loss/discriminator"):
        for ours, exact in zip(low.results, high.results):
            if name in exact:
                assert ours[name] == pytest.approx(exact[name], rel=0.05), name
                assert ours[name] != exact[name], f"{name}: autocast was off"
    losses = [result["loss/mel"] for result in low.results]
    assert all(result["skipped"] == 0 for result in low.results)
    assert losses[-1] < 0.9 * losses[0]
    assert all(tensor.dtype == high.files["generator"][name].dtype for name, tensor in low.files["generator"].items())


@pytest.mark.slow
@pytest.mark.parametrize("design", ["dynamic", "spectral"])
def test_the_other_designs_train_at_every_stage(design, tmp_path):
    first, second = (found[design] for found in two([getattr(gan_scenarios, design)], tmp_path))
    for stage in range(4):
        assert all(result["skipped"] == 0 for result in first[stage].results)
        assert_same(first[stage].buffers, second[stage].buffers)
        assert_close(first[stage].files["generator"], first[0].files["generator"], 1e-5)


def test_half_of_the_clips_use_all_layers_and_the_others_any_number_alike():
    draws_BN = torch.stack([(torch.arange(1200) + 0.5) / 1200, torch.zeros(1200)], dim=1)
    num_layers_B, threshold_B = drawn(
        draws_BN, gan.replace(gan.FIXED, quantiser=gan.replace(gan.FIXED.quantiser, num_acoustic=3))
    )
    assert num_layers_B.bincount().tolist() == [0, 200, 200, 600 + 200]
    assert threshold_B is None


def test_thresholds_are_drawn_for_dynamic_rates_only_and_layers_where_dropout_is_on():
    draws_BN = torch.tensor([[0.2, 0.0], [0.99999, 0.5]])
    config = gan_scenarios.samples.DYNAMIC
    num_layers_B, threshold_B = drawn(draws_BN, gan.replace(config, quantiser=gan.replace(config.quantiser, dropout=False)))
    assert num_layers_B is None
    assert threshold_B.tolist() == [0.5, 0.75]


def test_feature_frames_are_those_of_whole_codec_frames():
    assert feature_frames(torch.tensor([1, 640, 641]), gan.FIXED).tolist() == [2, 2, 4]
    assert feature_frames(None, gan.FIXED) is None


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def assert_close(found, expected, tolerance=TOLERANCE):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        deviation = (found[name].double() - tensor.double()).abs().max()
        assert deviation <= tolerance, f"{name}: {deviation}"
