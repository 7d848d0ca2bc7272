"""Waves that discriminators are shown in tests."""

import torch
from torch import Tensor

from codec.discriminators.judgement import Judgement


def padded(lengths: list[int], seed: int = 0) -> tuple[Tensor, Tensor]:
    """float64 noise (B, T) with junk past each clip's end, and the lengths (B,)."""
    generator = torch.Generator().manual_seed(seed)
    wave_BT = torch.randn(len(lengths), max(lengths), generator=generator, dtype=torch.float64)
    return wave_BT, torch.tensor(lengths)


def silenced(wave_BT: Tensor, num_samples_B: Tensor) -> Tensor:
    return wave_BT * (torch.arange(wave_BT.shape[1]) < num_samples_B[:, None])


def assert_each_as_alone(judge, wave_BT: Tensor, num_samples_B: Tensor) -> None:
    """`judge(wave, lengths)` gives a clip of a padded batch what it gives the clip alone."""
    together: Judgement = judge(wave_BT, num_samples_B)
    for clip, length in enumerate(num_samples_B.tolist()):
        alone: Judgement = judge(wave_BT[clip : clip + 1, :length], None)
        num_frames = alone.logits_BFW.shape[1]
        assert together.num_frames_B[clip] == num_frames
        torch.testing.assert_close(together.logits_BFW[clip, :num_frames], alone.logits_BFW[0])
        for one, other in zip(together.features, alone.features, strict=True):
            torch.testing.assert_close(one[clip, :, : other.shape[2]], other[0])
            assert not one[clip, :, other.shape[2] :].any()
