import torch

from lm.features import Features


def test_rows_are_padded_and_their_lengths_kept():
    made = Features.of([torch.ones(3, 2), torch.ones(0, 2), torch.ones(1, 2)])
    assert made.values_BMD.shape == (3, 3, 2) and made.lengths_B.tolist() == [3, 0, 1]
    assert made.values_BMD.sum() == 8


def test_what_is_not_kept_has_no_features():
    made = Features.of([torch.ones(3, 2), torch.ones(2, 2)])
    assert made.kept(torch.tensor([False, True])).lengths_B.tolist() == [0, 2]


def test_joined_rows_come_in_order():
    made = Features.of([torch.ones(3, 2), torch.ones(2, 2)])
    joined = made.joined(made.kept(torch.tensor([True, False])))
    assert joined.values_BMD.shape == (4, 3, 2) and joined.lengths_B.tolist() == [3, 2, 3, 0]
