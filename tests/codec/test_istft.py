import pytest
import torch

from codec.istft import IstftHead, inverse_stft, overlap_add


@pytest.mark.parametrize(("window", "hop"), [(1280, 320), (1920, 960), (16, 4)])
def test_the_transform_of_a_wave_comes_back_as_the_wave(window, hop):
    wave_BT = torch.randn(2, 7 * hop)
    edge = (window - hop) // 2
    frames_BFW = torch.nn.functional.pad(wave_BT, (edge, edge)).unfold(1, window, hop) * torch.hann_window(window)
    back_BT = inverse_stft(torch.fft.rfft(frames_BFW), window, hop)
    torch.testing.assert_close(back_BT, wave_BT, rtol=1e-4, atol=1e-4)


def test_overlap_add_sums_frames_where_they_stand():
    frames_BFW = torch.randn(2, 5, 12)
    wanted_BT = torch.zeros(2, 4 * 4 + 12)
    for frame in range(5):
        wanted_BT[:, 4 * frame : 4 * frame + 12] += frames_BFW[:, frame]
    torch.testing.assert_close(overlap_add(frames_BFW, 4), wanted_BT)


def test_a_padded_batch_equals_each_clip_alone_and_is_silent_past_it():
    torch.manual_seed(0)
    head, x_BFD, lengths_B = IstftHead(6, 16, 4), torch.randn(3, 9, 6), torch.tensor([1, 9, 4])
    wave_BT = head(x_BFD, lengths_B)
    for row, length in enumerate(lengths_B.tolist()):
        torch.testing.assert_close(wave_BT[row : row + 1, : 4 * length], head(x_BFD[row : row + 1, :length]))
        assert not wave_BT[row, 4 * length :].any()


def test_huge_magnitudes_are_clipped_and_have_finite_gradients():
    head = IstftHead(6, 16, 4)
    x_BFD = torch.full((1, 3, 6), 1e4, requires_grad=True)
    wave_BT = head(x_BFD)
    wave_BT.sum().backward()
    assert wave_BT.abs().max() < 1000 and x_BFD.grad.isfinite().all()


def test_magnitude_and_phase_are_in_float32_under_autocast():
    head, x_BFD = IstftHead(6, 16, 4), torch.randn(2, 5, 6).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        wave_BT = head(x_BFD)
    assert torch.equal(wave_BT, head(x_BFD.float()))
