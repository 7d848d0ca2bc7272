import torch

from codec.stereo import left_right, mid_side


def test_mid_and_side_come_back_as_left_and_right():
    wave_B2T = torch.rand(3, 2, 100) * 2 - 1
    rows_RT = mid_side(wave_B2T)
    assert rows_RT.shape == (6, 100) and rows_RT.abs().max() <= 1
    torch.testing.assert_close(left_right(rows_RT), wave_B2T)


def test_equal_channels_have_a_silent_side():
    wave_BT = torch.rand(2, 100)
    rows_RT = mid_side(torch.stack([wave_BT, wave_BT], dim=1))
    torch.testing.assert_close(rows_RT[0::2], wave_BT)
    assert not rows_RT[1::2].any()
