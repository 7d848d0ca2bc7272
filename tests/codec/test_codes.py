import pytest
import torch

from codec.codes import Codes, cut, join

SIZE = 32


def codes(lengths: list[list[int]], samples_per_frame: int = 10) -> Codes:
    """Rows with groups of these lengths; codes count up."""
    longest = max(map(len, lengths))
    lengths_BF = torch.tensor([row + [0] * (longest - len(row)) for row in lengths])
    numbers_BKF = torch.arange(longest).expand(len(lengths), 2, -1) + 1
    folded_BKF = torch.where(lengths_BF[:, None] > 0, (lengths_BF[:, None] - 1) * SIZE + numbers_BKF, 0)
    return Codes(folded_BKF, folded_BKF[:, :1], (lengths_BF > 0).sum(1), lengths_BF.sum(1) * samples_per_frame, 25.0, SIZE)


def frames(given: Codes, row: int) -> list[int]:
    """The code of each frame."""
    durations = given.durations_BF[row]
    assert torch.equal(given.acoustic_BKF[row, 0], given.acoustic_BKF[row, 1])
    assert torch.equal(given.acoustic_BKF[row, :1], given.semantic_BKF[row])
    return (given.semantic_BKF[row, 0] % SIZE).repeat_interleave(durations).tolist()


def test_durations_are_the_folded_lengths():
    assert codes([[2, 3], [1]]).durations_BF.tolist() == [[2, 3], [1, 0]]


@pytest.mark.parametrize(("start", "stop"), [(0, 7), (0, 1), (1, 2), (1, 6), (2, 5), (3, 7), (4, 5)])
def test_a_cut_has_the_frames_between(start, stop):
    whole = codes([[2, 3, 2], [1, 1, 1, 4]])
    part = cut(whole, start, stop, 10)
    for row in range(2):
        assert frames(part, row) == frames(whole, row)[start:stop]
    assert part.num_samples_B.tolist() == [10 * (stop - start)] * 2
    assert not part.semantic_BKF[part.durations_BF[:, None] == 0].any()


def test_a_cut_past_the_end_stops_there_with_the_clips_samples():
    whole = codes([[2, 3]])
    part = cut(whole, 1, 99, 10)
    assert frames(part, 0) == [1, 2, 2, 2] and part.num_samples_B.tolist() == [40]


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_joined_cuts_are_the_whole(at):
    whole = codes([[2, 3, 2], [1, 1, 1, 4]])
    joined = join([cut(whole, 0, at, 10), cut(whole, at, 7, 10)])
    for row in range(2):
        assert frames(joined, row) == frames(whole, row)
    assert torch.equal(joined.num_samples_B, whole.num_samples_B)


def test_codes_move_as_one():
    moved = codes([[1, 2]]).to("meta")
    assert {moved.acoustic_BKF.device.type, moved.lengths_B.device.type, moved.num_samples_B.device.type} == {"meta"}
