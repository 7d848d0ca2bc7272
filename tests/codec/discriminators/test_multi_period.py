import pytest
import torch

from codec.discriminators.multi_period import PeriodDiscriminator
from tests.codec.discriminators import waves


@pytest.mark.parametrize("period", [2, 3, 5, 7, 11])
def test_a_padded_clip_is_judged_as_it_is_alone(period):
    judge = PeriodDiscriminator(period, (4, 8, 8)).double()
    wave_BT, num_samples_B = waves.padded([700, 1, 333, 701])
    waves.assert_each_as_alone(judge, waves.silenced(wave_BT, num_samples_B), num_samples_B)


def test_each_phase_of_the_period_is_judged_by_itself():
    judge = PeriodDiscriminator(5, (4, 8)).double()
    wave_BT, _ = waves.padded([500])
    changed_BT = wave_BT.clone()
    changed_BT[0, 3::5] += 1
    differ_W = (judge(wave_BT).logits_BFW != judge(changed_BT).logits_BFW).any(1)[0]
    assert differ_W.tolist() == [False, False, False, True, False]


def test_hidden_layers_shorten_the_rows_by_three_but_for_the_last():
    judgement = PeriodDiscriminator(2, (4, 8, 8))(torch.randn(1, 180))
    assert [feature.shape[1:] for feature in judgement.features] == [(4, 30, 2), (8, 10, 2), (8, 10, 2)]
