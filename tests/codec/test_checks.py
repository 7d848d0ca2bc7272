"""What encode and decode refuse is tested through them, in tests/codec/test_model.py; here is what they let pass."""

import pytest
import torch

from codec import checks
from tests.codec import samples


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_of_any_width_are_audio(dtype):
    assert checks.channels(torch.zeros(1, 5, dtype=dtype)) == 1
    assert checks.channels(torch.zeros(1, 2, 5, dtype=dtype)) == 2


def test_lengths_are_the_whole_batch_unless_given():
    assert checks.lengths(torch.zeros(2, 7), None).tolist() == [7, 7]
    assert checks.lengths(torch.zeros(2, 2, 7), torch.tensor([1, 7])).tolist() == [1, 7]


def test_what_is_past_a_clips_end_may_be_anything():
    wave_BT = torch.tensor([[0.0, torch.nan], [0.0, 0.0]])
    checks.samples(wave_BT, torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="row 0, first at sample 1"):
        checks.samples(wave_BT, torch.tensor([2, 2]))


def test_thresholds_are_the_configurations_unless_given():
    assert checks.threshold(None, samples.DYNAMIC) == 0.6
    assert [checks.threshold(value, samples.DYNAMIC) for value in (0, 0.775, 1)] == [0.0, 0.775, 1.0]
    assert checks.threshold(None, samples.FIXED) is None


def test_codes_with_lengths_folded_in_are_in_range_for_a_dynamic_rate_only():
    codec = samples.make(samples.DYNAMIC)
    codes = codec.encode(torch.zeros(1, 640 * 9), threshold=0.0)
    assert codes.acoustic_BKF.max() >= 32
    checks.codes(codes, samples.DYNAMIC)
    with pytest.raises(ValueError, match="0 to 31"):
        checks.codes(codes, samples.FIXED)
