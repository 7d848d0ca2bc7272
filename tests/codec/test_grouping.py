"""Groups of alike neighbours against the rule written as a loop."""

import pytest
import torch
import torch.nn.functional as nnf
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.grouping import Groups, fold_lengths, group_frames, unfold_lengths

SIZE = 16
seeds = st.integers(0, 2**32)


def walk(lengths: list[int], seed: int, width: int = 6) -> torch.Tensor:
    """Clips whose frames drift, so that neighbours are alike now and then; NaN past each clip's end."""
    steps = torch.randn(len(lengths), width, max(lengths), generator=torch.Generator().manual_seed(seed))
    latent_BDF = steps.cumsum(2)
    for clip, length in enumerate(lengths):
        latent_BDF[clip, :, length:] = torch.nan
    return latent_BDF


def rule(latent_DF: torch.Tensor, threshold: float, max_frames: int) -> list[int]:
    """Lengths of one clip's groups, frame by frame."""
    lengths = [1]
    for before, after in zip(latent_DF.T[:-1], latent_DF.T[1:]):
        run_goes_on = nnf.cosine_similarity(before, after, dim=0) > threshold
        if run_goes_on and lengths[-1] < max_frames:
            lengths[-1] += 1
        else:
            lengths.append(1)
    return lengths


def lengths_of(groups: Groups) -> list[list[int]]:
    return [[length for length in clip if length] for clip in groups.lengths_BG.tolist()]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.floats(0.0, 1.0, width=32)), min_size=1, max_size=4), st.integers(1, 9), seeds)
def test_groups_are_those_of_the_rule_for_each_clip_and_its_own_threshold(clips, max_frames, seed):
    lengths, thresholds = zip(*clips)
    latent_BDF = walk(list(lengths), seed)
    groups = group_frames(latent_BDF, torch.tensor(thresholds), max_frames=max_frames, num_frames_B=torch.tensor(lengths))
    expected = [rule(latent_BDF[clip, :, :length], threshold, max_frames) for clip, (length, threshold) in enumerate(clips)]
    assert lengths_of(groups) == expected
    assert groups.num_groups_B.tolist() == [len(clip) for clip in expected]
    assert groups.num_frames_B.tolist() == list(lengths)
    for clip, found in enumerate(expected):
        index = [group for group, length in enumerate(found) for _ in range(length)]
        assert groups.index_BF[clip, : lengths[clip]].tolist() == index
    assert torch.all((groups.index_BF >= 0) & (groups.index_BF < groups.lengths_BG.shape[1]))  # past the end, too


def test_one_number_is_the_threshold_of_every_clip():
    latent_BDF = walk([30, 30, 30], 0)
    one = group_frames(latent_BDF, 0.6, max_frames=8)
    each = group_frames(latent_BDF, torch.full((3,), 0.6), max_frames=8)
    assert torch.equal(one.index_BF, each.index_BF) and torch.equal(one.lengths_BG, each.lengths_BG)


def test_the_number_of_groups_never_falls_as_the_threshold_rises():
    latent_BDF = walk([200] * 4, 1)
    counts = torch.stack([group_frames(latent_BDF, t, max_frames=8).num_groups_B for t in torch.linspace(0, 1, 41).tolist()])
    assert torch.all(counts.diff(dim=0) >= 0)
    assert torch.all(counts[0] < counts[-1])


def test_at_one_every_frame_is_its_own_group_even_where_frames_are_equal():
    latent_BDF = torch.randn(2, 5, 1, generator=torch.Generator().manual_seed(2)).expand(-1, -1, 50)
    assert torch.all(group_frames(latent_BDF, 1.0, max_frames=8).lengths_BG == 1)


def test_equal_frames_are_cut_every_eight():
    assert lengths_of(group_frames(torch.ones(1, 5, 20), 0.9, max_frames=8)) == [[8, 8, 4]]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(1, 8), min_size=1, max_size=12), min_size=1, max_size=4))
def test_lengths_alone_give_the_groups_back(clips):
    longest = max(map(len, clips))
    groups = Groups.from_lengths(torch.tensor([clip + [0] * (longest - len(clip)) for clip in clips]))
    assert groups.num_frames_B.tolist() == [sum(clip) for clip in clips]
    for clip, found in enumerate(clips):
        index = [group for group, length in enumerate(found) for _ in range(length)]
        rest = groups.index_BF.shape[1] - len(index)
        assert groups.index_BF[clip].tolist() == index + [len(found) - 1] * rest


def test_the_mean_of_each_group_and_its_repetition_are_those_of_a_loop():
    lengths = [17, 40, 1]
    latent_BDF = walk(lengths, 3)
    groups = group_frames(latent_BDF, 0.5, max_frames=8, num_frames_B=torch.tensor(lengths))
    mean_BDG, repeated_BDF = groups.mean(latent_BDF), groups.repeat(groups.mean(latent_BDF))
    for clip, found in enumerate(lengths_of(groups)):
        parts = latent_BDF[clip, :, : lengths[clip]].split(found, dim=1)
        expected_DG = torch.stack([part.mean(1) for part in parts], dim=1)
        torch.testing.assert_close(mean_BDG[clip, :, : len(found)], expected_DG)
        assert torch.all(mean_BDG[clip, :, len(found) :] == 0)
        expected_DF = torch.cat([part.mean(1, keepdim=True).expand_as(part) for part in parts], dim=1)
        torch.testing.assert_close(repeated_BDF[clip, :, : lengths[clip]], expected_DF)


def test_a_frame_of_a_group_gets_its_share_of_the_gradient_of_the_mean():
    latent_BDF = torch.ones(1, 3, 5, requires_grad=True)
    Groups.from_lengths(torch.tensor([[4, 1]])).mean(latent_BDF).sum().backward()
    torch.testing.assert_close(latent_BDF.grad, torch.tensor([0.25, 0.25, 0.25, 0.25, 1.0]).expand(1, 3, -1))


def test_folded_codes_hold_the_length_in_every_layer():
    codes_BKG = torch.tensor([[[3, 15, 0], [0, 7, 9]]])
    folded = fold_lengths(codes_BKG, torch.tensor([[1, 8, 0]]), SIZE)
    assert folded.tolist() == [[[3, 7 * SIZE + 15, 0], [0, 7 * SIZE + 7, 0]]]


@given(st.lists(st.lists(st.integers(1, 8), min_size=1, max_size=6), min_size=1, max_size=3), st.integers(1, 4), seeds)
def test_unfolding_undoes_folding(clips, num_layers, seed):
    longest = max(map(len, clips))
    lengths_BG = torch.tensor([clip + [0] * (longest - len(clip)) for clip in clips])
    shape = (len(clips), num_layers, longest)
    codes_BKG = torch.randint(SIZE, shape, generator=torch.Generator().manual_seed(seed)) * (lengths_BG > 0)[:, None]
    codes, lengths = unfold_lengths(fold_lengths(codes_BKG, lengths_BG, SIZE), (lengths_BG > 0).sum(1), SIZE)
    assert torch.equal(codes, codes_BKG) and torch.equal(lengths, lengths_BG)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_latents_are_compared_in_float32(dtype):
    latent_BDF = walk([60], 4).to(dtype)
    assert torch.equal(
        group_frames(latent_BDF, 0.7, max_frames=8).index_BF, group_frames(latent_BDF.float(), 0.7, max_frames=8).index_BF
    )
