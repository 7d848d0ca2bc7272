"""What every teacher keeps: frames, padding, compression."""

import pytest
import torch

from codec.config import TeacherConfig
from codec.log_mel_teacher import LogMelTeacher
from codec.teacher import compressed, open_teacher, whole_frames


def test_the_default_teacher_needs_no_weights():
    teacher = open_teacher(TeacherConfig(width=96))
    assert isinstance(teacher, LogMelTeacher) and teacher.width == 96


def test_a_teacher_of_transformers_is_looked_for_by_its_source():
    with pytest.raises(ValueError, match="nowhere"):
        open_teacher(TeacherConfig("transformers", "nowhere/at/all"))


def test_compression_keeps_signs_and_draws_magnitudes_together():
    x = torch.tensor([-32.0, -1.0, 0.0, 1.0, 1024.0])
    torch.testing.assert_close(compressed(x), torch.tensor([-(2.0**1.5), -1.0, 0.0, 1.0, 8.0]))


def test_waves_are_filled_up_to_whole_frames_of_zeros():
    wave_BT, num_frames_B = whole_frames(torch.ones(3, 700), torch.tensor([700, 640, 1]))
    assert wave_BT.shape == (3, 960) and wave_BT.sum(-1).tolist() == [700, 640, 1]
    assert num_frames_B.tolist() == [3, 2, 1]
    wave_BT, num_frames_B = whole_frames(torch.ones(1, 640), None)
    assert wave_BT.shape == (1, 640) and num_frames_B is None
