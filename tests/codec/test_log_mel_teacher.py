"""The teacher without weights."""

import hashlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.log_mel_teacher import NUM_FEATURES, LogMelTeacher, _constants, _cosines


def sound(num_samples: int, num_clips: int = 1, seed: int = 0) -> torch.Tensor:
    """Noise whose level and colour change a few times a second."""
    generator = torch.Generator().manual_seed(seed)
    noise_BT = torch.randn(num_clips, num_samples, generator=generator)
    t = torch.arange(num_samples) / 16000
    return noise_BT * (0.1 + torch.sin(2 * torch.pi * 3 * t) ** 2) * 0.1 + 0.05 * torch.sin(2 * torch.pi * (200 + 900 * t) * t)


@pytest.mark.parametrize("width", [1, 64, NUM_FEATURES, 768])
def test_there_is_a_frame_for_each_320_samples(width):
    for num_samples, num_frames in ((1, 1), (320, 1), (321, 2), (16000, 50)):
        feature_BDF = LogMelTeacher(width)(sound(num_samples, 2))
        assert feature_BDF.shape == (2, width, num_frames) and feature_BDF.isfinite().all()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 40000), min_size=1, max_size=4), st.booleans())
def test_a_padded_batch_equals_each_clip_alone(lengths, garbage):
    wave_BT, teacher = sound(max(lengths), len(lengths)), LogMelTeacher(96)
    if garbage:
        for clip, length in enumerate(lengths):
            wave_BT[clip, length:] = torch.nan
    batch_BDF = teacher(wave_BT, torch.tensor(lengths))
    for clip, length in enumerate(lengths):
        alone_DF = teacher(wave_BT[clip : clip + 1, :length])[0]
        num_frames = alone_DF.shape[-1]
        torch.testing.assert_close(batch_BDF[clip, :, :num_frames], alone_DF, rtol=1e-3, atol=5e-3)
        assert not batch_BDF[clip, :, num_frames:].any()


def test_the_same_wave_has_the_same_bits():
    assert torch.equal(LogMelTeacher(96)(sound(8000)), LogMelTeacher(96)(sound(8000)))


def test_autocast_changes_nothing():
    with torch.autocast("cpu", torch.bfloat16):
        feature_BDF = LogMelTeacher(96)(sound(8000))
    assert torch.equal(feature_BDF, LogMelTeacher(96)(sound(8000)))


def test_level_makes_no_difference():
    feature_BDF, quiet_BDF = (LogMelTeacher(96)(gain * sound(16000)) for gain in (1.0, 0.1))
    assert (feature_BDF - quiet_BDF).abs().mean() < 0.01 * feature_BDF.abs().mean()


def test_a_channel_makes_less_difference_than_another_sound():
    wave_BT = sound(32000)
    duller_BT = wave_BT + 0.9 * torch.nn.functional.pad(wave_BT[:, :-1], (1, 0))
    same, duller, other = (LogMelTeacher(96)(wave) for wave in (wave_BT, duller_BT, sound(32000, seed=1).flip(-1)))
    assert (same - duller).abs().mean() < 0.5 * (same - other).abs().mean()


def test_outputs_have_about_unit_power_whatever_the_width():
    for width in (32, NUM_FEATURES, 1024):
        assert 0.3 < float(LogMelTeacher(width)(sound(32000)).square().mean()) < 2


def test_silence_is_a_constant():
    feature_BDF = LogMelTeacher(96)(torch.zeros(1, 16000))
    assert feature_BDF.isfinite().all()
    torch.testing.assert_close(feature_BDF, feature_BDF[..., :1].expand_as(feature_BDF), rtol=0, atol=0.05)


def test_the_mixing_keeps_distances_where_there_is_room():
    _, mixing_DE = _constants(768, torch.device("cpu"))
    gram_EE = mixing_DE.T.double() @ mixing_DE.double()
    torch.testing.assert_close(gram_EE / gram_EE[0, 0], torch.eye(NUM_FEATURES).double(), rtol=0, atol=1e-5)
    torch.testing.assert_close(_cosines(50) @ _cosines(50).T, torch.eye(50).double())


def test_the_constants_stay_what_they_are():
    """A codec trained with this teacher wants its very feature: whoever changes the constants adds a new kind of teacher."""
    patterns_PF, mixing_DE = _constants(64, torch.device("cpu"))
    signs = "".join("+" if value > 0 else "-" for value in mixing_DE[0].tolist())
    assert hashlib.sha256(signs.encode()).hexdigest()[:16] == "7ae9f73f6f8c9666"
    torch.testing.assert_close(patterns_PF[:2, 7].double().abs(), torch.tensor([15**-0.5, 0.0]).double(), atol=1e-6, rtol=0)


def test_no_gradient_reaches_the_wave_and_inference_mode_leaves_no_trace():
    with torch.inference_mode():
        LogMelTeacher(73)(sound(3200))
    wave_BT = sound(3200).requires_grad_()
    feature_BDF = LogMelTeacher(73)(wave_BT)
    assert not feature_BDF.requires_grad
    (feature_BDF * torch.ones(1, requires_grad=True)).sum().backward()
