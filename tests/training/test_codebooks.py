"""Codebooks on two gloo ranks against one rank on the joined batch; the alarms."""

import pytest
import torch
from torch import distributed as dist
from torch import nn

from codec.quantise import ResidualQuantiser, Statistics
from tests.training.ranks import run_ranks
from training.codebooks import CollapseAlarm, assert_same_buffers, initialise_codebooks, reduce_statistics

K, C, D, F = 3, 16, 5, 12


class Codec(nn.Module):
    """Two quantisers behind a layer each, as in a codec; clips of the second are half as long."""

    def __init__(self):
        super().__init__()
        self.acoustic_quantiser, self.semantic_quantiser = ResidualQuantiser(K, C, D), ResidualQuantiser(K, C, D)

    def forward(self, latent_BDF: torch.Tensor, num_frames_B: torch.Tensor):
        return self.acoustic_quantiser(latent_BDF, num_frames_B), self.semantic_quantiser(
            latent_BDF=-latent_BDF, num_frames_B=num_frames_B // 2
        )


def batch(step: int, clips: slice = slice(None)) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    latent_BDF, num_frames_B = torch.randn(8, D, F, generator=generator), torch.randint(2, F + 1, (8,), generator=generator)
    latent_BDF[torch.arange(F).expand(8, D, F) >= num_frames_B[:, None, None]] = float("nan")  # padding must not be looked at
    return latent_BDF[clips], num_frames_B[clips]


def train(codec: Codec, rank: int, num_ranks: int) -> None:
    """A k-means start and a few steps of two micro-batches each."""
    size = 8 // num_ranks
    initialise_codebooks(codec, lambda: codec(*batch(0, slice(rank * size, (rank + 1) * size))), key=3)
    for step in range(1, 30):
        middle = rank * size + size // 2
        first, second = slice(rank * size, middle), slice(middle, (rank + 1) * size)
        for one, two, quantiser in zip(
            codec(*batch(step, first)), codec(*batch(step, second)), (codec.acoustic_quantiser, codec.semantic_quantiser)
        ):
            quantiser.update(reduce_statistics(one.statistics + two.statistics), key=step)


def trained_alike():
    """The buffers of two ranks, which then see where they differ."""
    codec, rank = Codec(), dist.get_rank()
    train(codec, rank, num_ranks=2)
    assert_same_buffers(codec)
    trained = {name: buffer.clone() for name, buffer in codec.state_dict().items()}
    codec.semantic_quantiser.counts[1, 2] += rank * 1e-6
    with pytest.raises(AssertionError, match=r"between ranks: semantic_quantiser\.counts$"):
        assert_same_buffers(codec)
    return trained


@pytest.mark.slow
def test_two_ranks_have_bit_equal_codebooks_and_those_of_one_rank_on_the_joined_batch(tmp_path):
    alone = Codec()
    train(alone, 0, num_ranks=1)
    for state in run_ranks(trained_alike, 2, tmp_path):
        assert state.keys() == alone.state_dict().keys()
        assert [name for name, buffer in alone.state_dict().items() if not torch.equal(state[name], buffer)] == []


def test_one_rank_reduces_to_itself():
    statistics = ResidualQuantiser(K, C, D)(*batch(0)).statistics
    assert reduce_statistics(statistics) is statistics


def test_the_start_sees_the_real_frames_of_every_forward_pass():
    codec, by_hand = Codec(), ResidualQuantiser(K, C, D)
    initialise_codebooks(codec, lambda: [codec(*batch(0)), codec(*batch(1))], key=3)
    frames = [clip_DF[:, :length].T for step in (0, 1) for clip_DF, length in zip(*batch(step))]
    by_hand.initialise(torch.cat(frames), key=3)
    assert torch.equal(codec.acoustic_quantiser.codebooks, by_hand.codebooks)
    assert codec.semantic_quantiser.initialised.all()


def test_codebooks_that_had_their_start_keep_it():
    codec = Codec()
    initialise_codebooks(codec, lambda: codec(*batch(0)), key=3)
    before = codec.acoustic_quantiser.codebooks.clone()
    initialise_codebooks(codec, lambda: pytest.fail("no need to run the codec"), key=4)
    assert torch.equal(codec.acoustic_quantiser.codebooks, before)


def test_latents_that_are_not_finite_change_nothing_and_leave_no_hook():
    codec, (latent_BDF, num_frames_B) = Codec(), batch(0)
    before = {name: buffer.clone() for name, buffer in codec.named_buffers()}

    def forward() -> None:  # those of the second quantiser alone
        codec.acoustic_quantiser(latent_BDF, num_frames_B)
        codec.semantic_quantiser(torch.full((2, D, F), torch.nan))

    assert not initialise_codebooks(codec, forward, key=3)
    assert [name for name, buffer in codec.named_buffers() if not torch.equal(buffer, before[name])] == []
    assert not codec.acoustic_quantiser._forward_pre_hooks
    assert initialise_codebooks(codec, lambda: codec(latent_BDF, num_frames_B), key=3)


def test_buffers_of_one_rank_are_the_same():
    assert_same_buffers(Codec())
    assert_same_buffers(nn.Linear(2, 2))


def counts(*used: int) -> torch.Tensor:
    """Counts of layers, of which each uses the given number of codes evenly."""
    counts_KC = torch.zeros(len(used), 100)
    for layer, number in enumerate(used):
        counts_KC[layer, :number] = 1.0
    return counts_KC


def test_the_alarm_names_the_layer_once_an_episode():
    alarm = CollapseAlarm(limit=0.1, num_steps=3)
    low, high = counts(50, 4), counts(50, 40)
    heard = [alarm("acoustic", current) for current in (low, low, low, low, low, high, low, low, low)]
    assert [len(messages) for messages in heard] == [0, 0, 1, 0, 0, 0, 0, 0, 1]
    assert "layer 1 of the acoustic quantiser" in heard[2][0] and "now 4.0, 4% of its codes" in heard[2][0]


def test_streams_have_episodes_of_their_own():
    alarm = CollapseAlarm(limit=0.1, num_steps=2)
    assert alarm("acoustic", counts(2)) == alarm("semantic", counts(2)) == []
    assert len(alarm("semantic", counts(2))) == len(alarm("acoustic", counts(2))) == 1


def test_a_short_dip_rings_no_alarm():
    alarm = CollapseAlarm(limit=0.1, num_steps=3)
    assert all(not alarm("acoustic", current) for current in [counts(3), counts(3), counts(60)] * 5)


def test_statistics_of_ranks_keep_their_own_after_the_sum():
    ours = Statistics(torch.ones(1, 2).double(), torch.ones(1, 2, 3).double(), torch.ones(1, 4, 3))
    assert (ours + ours).candidates_KMD.shape == (1, 8, 3) and ours.counts_KC.sum() == 2
