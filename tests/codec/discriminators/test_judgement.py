import pytest
import torch

from codec.discriminators.judgement import Convolution, spectrogram


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_the_number_of_frames_is_that_of_the_output(kernel, stride):
    convolution = Convolution(1, 1, (kernel, 3), (stride, 1))
    for num_frames in range(1, 20):
        x_BCFW, num_frames_B = convolution(torch.randn(1, 1, num_frames, 4), torch.tensor([num_frames]))
        assert x_BCFW.shape[2] == num_frames_B


@pytest.mark.parametrize("window_samples", [64, 512, 2048])
def test_noise_has_about_the_same_magnitude_in_every_resolution(window_samples):
    noise_BT = torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    spectrum_BFW, _ = spectrogram(noise_BT, window_samples)
    assert float(spectrum_BFW.abs().square().mean().sqrt()) == pytest.approx(0.61, abs=0.02)  # of the window: sqrt(3 / 8)


@pytest.mark.parametrize("num_samples", [1, 127, 128, 1000])
def test_frames_past_a_clips_last_are_zero_though_its_window_reaches_them(num_samples):
    wave_BT = torch.nn.functional.pad(torch.randn(1, num_samples), (0, 1000))
    spectrum_BFW, num_frames_B = spectrogram(wave_BT, 512, torch.tensor([num_samples]))
    alone_BFW, _ = spectrogram(wave_BT[:, :num_samples], 512)
    assert num_frames_B == alone_BFW.shape[1]
    torch.testing.assert_close(spectrum_BFW[:, :num_frames_B], alone_BFW)
    assert not spectrum_BFW[:, num_frames_B:].any()
