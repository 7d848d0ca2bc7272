"""Residual vector quantisation: searching, masks, statistics, moving averages, restarts."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.quantise import CANDIDATES_PER_CLIP, DEAD_SHARE, RESTART_SHARE, ResidualQuantiser, Statistics, usage

K, C, D, F = 4, 32, 6, 20


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def latents(num_clips: int = 3, num_frames: int = F, seed: int = 0) -> torch.Tensor:
    return torch.randn(num_clips, D, num_frames, generator=seeded(seed))


@pytest.fixture
def quantiser() -> ResidualQuantiser:
    made = ResidualQuantiser(K, C, D)
    made.initialise(torch.randn(1000, D, generator=seeded(9)), key=1)
    return made


def bits(quantiser: ResidualQuantiser) -> list[bytes]:
    return [buffer.numpy().tobytes() for buffer in quantiser.buffers()]


def test_each_layer_quantises_what_the_layers_before_it_left(quantiser):
    latent_BDF = latents()
    codes_BKF, residual_BFD = quantiser.encode(latent_BDF), latent_BDF.mT
    for layer in range(K):
        distances_BFC = torch.cdist(residual_BFD.contiguous(), quantiser.codebooks[layer])
        assert torch.equal(codes_BKF[:, layer], distances_BFC.argmin(-1))
        residual_BFD = residual_BFD - quantiser.codebooks[layer][codes_BKF[:, layer]]


def test_the_forward_latent_is_what_its_codes_decode_to(quantiser):
    quantised = quantiser(latents())
    assert torch.equal(quantised.codes_BKF, quantiser.encode(latents()))
    torch.testing.assert_close(quantised.latent_BDF, quantiser.decode(quantised.codes_BKF))


def test_more_layers_come_closer(quantiser):
    codes_BKF = quantiser.encode(latents(8))
    errors = [float((quantiser.decode(codes_BKF[:, :layers]) - latents(8)).square().mean()) for layers in range(1, K + 1)]
    assert errors == sorted(errors, reverse=True)


def test_fewer_layers_are_the_first_of_all(quantiser):
    assert torch.equal(quantiser.encode(latents(), num_layers=2), quantiser.encode(latents())[:, :2])


def test_gradients_pass_straight_through_inside_a_clip_and_nowhere_else(quantiser):
    latent_BDF = latents().requires_grad_()
    weights_BDF = latents(seed=5)
    (quantiser(latent_BDF, torch.tensor([F, 7, 1])).latent_BDF * weights_BDF).sum().backward()
    inside_BF = torch.arange(F) < torch.tensor([F, 7, 1])[:, None]
    assert torch.equal(latent_BDF.grad, weights_BDF * inside_BF[:, None])


def test_the_commitment_pulls_the_latent_to_what_each_used_layer_has_reached(quantiser):
    latent_BDF, layers = latents(2).requires_grad_(), (3, 1)
    quantised = quantiser(latent_BDF, num_layers_B=torch.tensor(layers))
    quantised.commitment.backward()
    for clip, num_layers in enumerate(layers):
        reached = [quantiser.decode(quantised.codes_BKF[clip : clip + 1, : layer + 1])[0] for layer in range(num_layers)]
        expected_DF = sum(2 * (latent_BDF[clip] - value) for value in reached) / (num_layers * D * F * 2)
        torch.testing.assert_close(latent_BDF.grad[clip], expected_DF.detach())


def test_the_commitment_of_a_clip_that_asks_for_more_layers_than_there_are_is_that_of_all(quantiser):
    more, all_layers = (quantiser(latents(), num_layers_B=torch.full((3,), number)).commitment for number in (K + 4, K))
    assert torch.equal(more, all_layers)


def test_the_commitment_of_a_batch_is_the_mean_over_equal_parts(quantiser):
    latent_BDF, frames_B, layers_B = latents(4), torch.tensor([F, 3, 11, 8]), torch.tensor([1, 4, 2, 3])
    whole = quantiser(latent_BDF, frames_B, layers_B).commitment
    parts = [quantiser(*part).commitment for part in zip(latent_BDF.split(2), frames_B.split(2), layers_B.split(2))]
    torch.testing.assert_close(whole, sum(parts) / 2)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, F), min_size=1, max_size=4), st.integers(0, 100), st.booleans())
def test_a_padded_batch_equals_each_clip_alone(lengths, seed, garbage):
    quantiser = ResidualQuantiser(K, C, D)
    latent_BDF, layers_B = latents(len(lengths), seed=seed), torch.randint(1, K + 1, (len(lengths),), generator=seeded(seed))
    if garbage:
        for clip, length in enumerate(lengths):
            latent_BDF[clip, :, length:] = float("nan")
    batch = quantiser(latent_BDF, torch.tensor(lengths), layers_B)
    alone = [quantiser(latent_BDF[b : b + 1, :, :n], None, layers_B[b : b + 1]) for b, n in enumerate(lengths)]
    for clip, length in enumerate(lengths):
        assert torch.equal(batch.codes_BKF[clip, :, :length], alone[clip].codes_BKF[0])
        assert torch.equal(batch.latent_BDF[clip, :, :length], alone[clip].latent_BDF[0])
        assert not batch.codes_BKF[clip, :, length:].any() and not batch.latent_BDF[clip, :, length:].any()
    torch.testing.assert_close(batch.commitment, sum(clip.commitment for clip in alone) / len(alone))
    joined = alone[0].statistics
    for clip in alone[1:]:
        joined = joined + clip.statistics
    assert torch.equal(batch.statistics.counts_KC, joined.counts_KC)
    assert torch.equal(batch.statistics.sums_KCD, joined.sums_KCD)
    assert torch.equal(batch.statistics.candidates_KMD, joined.candidates_KMD)


def test_unused_layers_contribute_nothing(quantiser):
    quantised = quantiser(latents(), num_layers_B=torch.tensor([1, 2, 4]))
    assert quantised.statistics.counts_KC.sum(-1).tolist() == [3 * F, 2 * F, F, F]
    assert not quantised.codes_BKF[0, 1:].any() and not quantised.codes_BKF[1, 2:].any()
    for clip, num_layers in enumerate((1, 2, 4)):
        expected_DF = quantiser.decode(quantised.codes_BKF[clip : clip + 1, :num_layers])[0]
        torch.testing.assert_close(quantised.latent_BDF[clip], expected_DF)


def test_statistics_are_the_counts_and_sums_of_the_residuals(quantiser):
    quantised, residual_BFD = quantiser(latents()), latents().mT
    for layer in range(K):
        codes_BF = quantised.codes_BKF[:, layer]
        for code in range(C):
            torch.testing.assert_close(
                quantised.statistics.sums_KCD[layer, code], residual_BFD[codes_BF == code].double().sum(0), atol=1e-7, rtol=0
            )
            assert quantised.statistics.counts_KC[layer, code] == (codes_BF == code).sum()
        residual_BFD = residual_BFD - quantiser.codebooks[layer][codes_BF]


def test_candidates_are_frames_of_their_own_clip_in_the_order_of_clips(quantiser):
    lengths = (F, 3, 1)
    candidates_MD = quantiser(latents(), torch.tensor(lengths)).statistics.candidates_KMD[0]
    for clip, length in enumerate(lengths):
        frames = {tuple(frame) for frame in latents()[clip, :, :length].T.tolist()}
        mine = candidates_MD[clip * CANDIDATES_PER_CLIP : (clip + 1) * CANDIDATES_PER_CLIP].tolist()
        assert len(mine) == CANDIDATES_PER_CLIP and {tuple(row) for row in mine} <= frames


def test_forward_changes_nothing_and_eval_mode_counts_nothing(quantiser):
    before = bits(quantiser)
    assert quantiser(latents()).statistics is not None
    assert quantiser.eval()(latents()).statistics is None
    assert bits(quantiser) == before


def test_an_update_is_one_step_of_exponential_moving_averages():
    quantiser = ResidualQuantiser(1, 2, D, decay=0.9)
    counts_KC, sums_KCD = torch.tensor([[30.0, 10.0]]).double(), torch.randn(1, 2, D, generator=seeded()).double() * 20
    counts, sums = 0.9 * quantiser.counts + 0.1 * counts_KC, 0.9 * quantiser.sums + 0.1 * sums_KCD
    quantiser.update(Statistics(counts_KC, sums_KCD, torch.zeros(1, 4, D)), key=0)
    torch.testing.assert_close(quantiser.counts, counts.float())
    torch.testing.assert_close(quantiser.sums, sums.float())
    torch.testing.assert_close(quantiser.codebooks, (sums / counts[..., None]).float(), rtol=1e-4, atol=1e-4)


def test_codebooks_follow_a_drifting_source(quantiser):
    fixed = ResidualQuantiser(K, C, D)
    fixed.load_state_dict(quantiser.state_dict())
    for step in range(300):
        quantiser.update(quantiser(latents(16, seed=step) + 0.005 * step).statistics, key=step)
    latent_BDF = latents(16, seed=300) + 1.5
    ours, theirs = ((q(latent_BDF).latent_BDF - latent_BDF).square().mean() for q in (quantiser, fixed))
    assert ours < 0.3 * theirs
    assert usage(quantiser.counts).share_K.min() > 0.8


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1, 2, 3]))
def test_updates_from_parts_are_bit_equal_to_the_update_from_the_whole(seed, size):
    latent_BDF, frames_B = latents(6, seed=seed), torch.randint(1, F + 1, (6,), generator=seeded(seed))
    layers_B = torch.randint(1, K + 1, (6,), generator=seeded(seed + 1))
    whole, parted = ResidualQuantiser(K, C, D), ResidualQuantiser(K, C, D)
    whole.update(whole(latent_BDF, frames_B, layers_B).statistics, key=seed)
    parts = [parted(*part).statistics for part in zip(latent_BDF.split(size), frames_B.split(size), layers_B.split(size))]
    statistics = parts[0]
    for part in parts[1:]:
        statistics = statistics + part
    parted.update(statistics, key=seed)
    assert bits(whole) == bits(parted)


def test_a_layer_that_no_clip_uses_stays_as_it_is(quantiser):
    before = {name: buffer.clone() for name, buffer in quantiser.named_buffers()}
    quantiser.update(quantiser(latents(), num_layers_B=torch.tensor([2, 1, 2])).statistics, key=0)
    for name in ("codebooks", "counts", "sums"):
        now, was = quantiser.get_buffer(name), before[name]
        assert torch.equal(now[2:], was[2:]) and not torch.equal(now[0], was[0]) and not torch.equal(now[1], was[1])


def test_a_dead_code_restarts_from_a_candidate_with_its_averages_reset(quantiser):
    quantiser.counts[1, 5] = 0.0
    quantiser.codebooks[1, 5] = 1e4  # so far away that nothing falls on it
    statistics = quantiser(latents()).statistics
    quantiser.update(statistics, key=0)
    restarted_D = quantiser.codebooks[1, 5]
    assert restarted_D.tolist() in statistics.candidates_KMD[1].tolist()
    fair = float(quantiser.counts[1].sum()) / C
    assert float(quantiser.counts[1, 5]) == pytest.approx(RESTART_SHARE * fair, rel=0.01)
    torch.testing.assert_close(quantiser.sums[1, 5], restarted_D * quantiser.counts[1, 5])


def test_a_restarted_code_that_finds_nothing_is_left_for_some_steps_then_moved_again(quantiser):
    quantiser.initialise(torch.randn(1000, D, generator=seeded(9)), key=1, num_steps=1000 // (3 * F))
    quantiser.counts[0, 5], counts = 0.0, [0.0]
    for step in range(300):
        quantiser.codebooks[0, 5] = 1e4
        quantiser.update(quantiser(latents(seed=step)).statistics, key=step)
        counts.append(float(quantiser.counts[0, 5]))
    moves = [step for step, (before, after) in enumerate(pairwise(counts[1:])) if after > before]
    patience = math.log(DEAD_SHARE / RESTART_SHARE) / math.log(0.99)
    assert len(moves) >= 2 and all(abs(b - a - patience) < 5 for a, b in pairwise(moves))


def test_more_dead_codes_than_candidates_wait_for_their_turn(quantiser):
    quantiser.counts[0, 4:] = 0.0
    quantiser.codebooks[0, 4:] = 1e4
    for step in range(3):
        quantiser.update(quantiser(latents(2, seed=step)).statistics, key=step)
        dead = int((quantiser.codebooks[0].abs().amax(-1) > 1e3).sum())
        assert dead == 0 if step == 3 else dead <= 28 - (step + 1) * 2 * CANDIDATES_PER_CLIP
    rows = quantiser.codebooks[0].tolist()
    assert len({tuple(row) for row in rows}) == C  # nothing was taken twice


def test_restarts_are_drawn_by_the_key_alone(quantiser):
    quantiser.counts[:, 3:9] = 0.0
    quantiser.codebooks[:, 3:9] = 1e4
    state, statistics, results = quantiser.state_dict(), quantiser(latents()).statistics, []
    for key in (7, 7, 8):
        torch.rand(3)  # the global generator has no say
        copy = ResidualQuantiser(K, C, D)
        copy.load_state_dict(state)
        copy.update(statistics, key)
        results.append(bits(copy))
    assert results[0] == results[1] != results[2]


def test_the_k_means_start_fits_the_data_layer_by_layer(quantiser):
    vectors_ND = torch.randn(1000, D, generator=seeded(9))
    assert quantiser.initialised.all()
    random = ResidualQuantiser(K, C, D)
    ours, chance = (q(vectors_ND.T[None]).latent_BDF[0].T for q in (quantiser, random))
    assert (ours - vectors_ND).square().mean() < 0.05 < 0.2 < (chance - vectors_ND).square().mean()
    assert usage(quantiser(vectors_ND.T[None]).statistics.counts_KC).share_K.min() > 0.9


def test_a_start_from_fewer_vectors_than_codes_leaves_later_layers_something_to_do():
    quantiser = ResidualQuantiser(K, 1024, 128)
    plane_ED, vectors_NE = torch.randn(8, 128, generator=seeded(1)), torch.randn(200, 8, generator=seeded(2))  # as latents lie
    quantiser.initialise(vectors_NE @ plane_ED, key=0)
    fresh_ND = torch.randn(200, 8, generator=seeded(3)) @ plane_ED
    statistics = quantiser(fresh_ND.T[None]).statistics
    assert usage(statistics.counts_KC).perplexity_K.min() > 20


def test_a_start_from_fewer_vectors_than_codes_trains_on():
    quantiser = ResidualQuantiser(K, C, D)
    quantiser.initialise(torch.randn(5, D, generator=seeded()), key=0)
    for step in range(60):
        quantiser.update(quantiser(latents(8, seed=step)).statistics, key=step)
    assert all(buffer.isfinite().all() for buffer in quantiser.buffers())
    assert usage(quantiser.counts).share_K.min() > 0.9


def test_codebooks_keep_float32_in_a_bf16_model_and_give_the_same_codes(quantiser):
    before, model = bits(quantiser), torch.nn.Sequential(torch.nn.Linear(2, 2), quantiser)
    latent_BDF = latents().bfloat16()
    expected_BKF = quantiser.encode(latent_BDF.float())
    for cast in (model.bfloat16, model.half, lambda: model.to(torch.bfloat16), model.double):
        cast()
        assert bits(quantiser) == before
    with torch.autocast("cpu", torch.bfloat16):
        quantised = quantiser(latent_BDF)
    assert quantised.latent_BDF.dtype == torch.bfloat16 and quantised.commitment.dtype == torch.float32
    assert torch.equal(quantised.codes_BKF, expected_BKF)
    assert torch.equal(quantised.statistics.sums_KCD, quantiser(latent_BDF.float()).statistics.sums_KCD)


def test_a_quantiser_of_the_meta_device_is_filled_by_its_state(quantiser):
    with torch.device("meta"):
        empty = ResidualQuantiser(K, C, D)
    empty.load_state_dict(quantiser.state_dict(), assign=True)
    assert bits(empty) == bits(quantiser)


def test_usage_of_known_counts():
    counts_KC = torch.zeros(4, 8)
    counts_KC[0], counts_KC[1, :4], counts_KC[2, 3] = 5, 7, 100
    found = usage(counts_KC)
    torch.testing.assert_close(found.perplexity_K, torch.tensor([8.0, 4.0, 1.0, 1.0]).double())
    assert found.share_K.tolist() == [1.0, 0.5, 0.125, 0.0]


def test_codes_that_restart_in_vain_do_not_pass_for_used():
    quantiser = ResidualQuantiser(1, C, D)
    for step in range(600):
        quantiser.codebooks[:, 4:] = 1e4
        quantiser.update(quantiser(latents(2, seed=step)).statistics, key=step)
    found = usage(quantiser.counts)
    assert found.share_K.max() <= 4 / C and found.perplexity_K.max() < 7


def test_a_start_from_much_data_weighs_as_much_as_one_step(quantiser):
    latents_ND = torch.randn(1000, D, generator=seeded(9))
    quantiser.initialise(latents_ND, key=1, num_steps=10)
    torch.testing.assert_close(quantiser.counts.sum(-1), torch.full((K,), 100.0), rtol=0.02, atol=0)
    torch.testing.assert_close(quantiser.sums / quantiser.counts[..., None], quantiser.codebooks)
