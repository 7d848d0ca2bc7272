"""Down-sampling against soxr, tone by tone, and in padded batches."""

import numpy as np
import pytest
import soxr
import torch

from codec.resample import downsample

RATE_HZ = 48000


def tone(hz: float, num_samples: int = RATE_HZ // 4) -> torch.Tensor:
    return torch.sin(2 * torch.pi * hz * torch.arange(num_samples, dtype=torch.float64) / RATE_HZ).float()[None]


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def inside(x: torch.Tensor) -> torch.Tensor:
    """Without the ends, where the filter sees the silence outside."""
    return x[..., 200:-200]


@pytest.mark.parametrize("ratio, hz", [(3, 100), (3, 1000), (3, 7200), (2, 10800), (6, 3600)])
def test_a_tone_below_the_new_band_keeps_level_and_phase(ratio, hz):
    torch.testing.assert_close(inside(downsample(tone(hz), ratio)), inside(tone(hz)[:, ::ratio]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("ratio, hz", [(3, 8000), (3, 9000), (3, 15900), (2, 12100), (6, 4100), (6, 20000)])
def test_a_tone_above_it_is_90_db_down(ratio, hz):
    assert inside(downsample(tone(hz), ratio)).abs().max() < 10 ** (-90 / 20)


def test_a_constant_stays_itself():
    torch.testing.assert_close(inside(downsample(torch.ones(1, 5000), 3)), torch.ones(1, 1667 - 400), atol=1e-6, rtol=0)


def test_it_agrees_with_soxr_where_both_pass():
    ours = downsample(noise(1, RATE_HZ), 3)[0].numpy()
    theirs = soxr.resample(noise(1, RATE_HZ)[0].numpy(), RATE_HZ, RATE_HZ // 3, "VHQ")
    below = np.fft.rfftfreq(len(ours), 3 / RATE_HZ) < 7200
    ours, theirs = (np.fft.rfft(x * np.hanning(len(x)))[below] for x in (ours, theirs))
    assert np.linalg.norm(ours - theirs) < 1e-3 * np.linalg.norm(theirs)


@pytest.mark.parametrize("ratio", [2, 3, 5])
def test_a_padded_batch_equals_each_clip_alone(ratio):
    wave_BT, lengths = noise(3, 4000), [4000, 1, 1501]
    for clip, length in enumerate(lengths):
        wave_BT[clip, length:] = torch.nan
    batch_BT = downsample(wave_BT, ratio, torch.tensor(lengths))
    for clip, length in enumerate(lengths):
        alone_T = downsample(wave_BT[clip : clip + 1, :length], ratio)[0]
        assert len(alone_T) == -(-length // ratio)
        torch.testing.assert_close(batch_BT[clip, : len(alone_T)], alone_T, atol=1e-6, rtol=1e-5)


def test_a_ratio_of_one_changes_nothing():
    assert torch.equal(downsample(noise(2, 77), 1), noise(2, 77))


@pytest.mark.parametrize("ratio", [0, -3, 1.5])
def test_a_ratio_that_is_no_positive_integer_is_refused(ratio):
    with pytest.raises(ValueError, match=f"by {ratio}"):
        downsample(noise(1, 100), ratio)
