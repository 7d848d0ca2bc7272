import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.model import Codec
from codec.presets import PRESETS
from tests.codec import samples

DESIGNS = sorted(samples.DESIGNS)


@pytest.fixture(scope="module", params=DESIGNS)
def codec(request):
    return samples.make(samples.DESIGNS[request.param])


@pytest.fixture(scope="module")
def fixed():
    return samples.make(samples.FIXED)


def of_frames(codec, num_frames: float) -> int:
    return math.ceil(num_frames * codec.config.samples_per_frame)


clips = st.lists(st.floats(0.01, 9), min_size=2, max_size=4)  # lengths in frames, far from whole


@settings(max_examples=8, deadline=None)
@given(lengths=clips, junk=st.sampled_from([0.0, 1.0, math.nan]))
def test_a_padded_batch_is_coded_as_each_clip_alone(codec, lengths, junk):
    num_samples_B = torch.tensor([of_frames(codec, length) for length in lengths])
    wave_BT = samples.noises(len(lengths), int(num_samples_B.max()) + 1000, seed=1)
    for wave_T, num_samples in zip(wave_BT, num_samples_B):
        wave_T[num_samples:] = junk
    together = codec.encode(wave_BT, num_samples_B)
    for row, num_samples in enumerate(num_samples_B.tolist()):
        alone = codec.encode(wave_BT[row : row + 1, :num_samples])
        length = int(alone.lengths_B)
        assert int(together.lengths_B[row]) == length == alone.acoustic_BKF.shape[-1]
        for name in ("acoustic_BKF", "semantic_BKF"):
            assert torch.equal(getattr(together, name)[row, :, :length], getattr(alone, name)[0])
            assert not getattr(together, name)[row, :, length:].any()


@settings(max_examples=8, deadline=None)
@given(lengths=clips)
def test_a_padded_batch_is_decoded_as_each_clip_alone(codec, lengths):
    num_samples_B = torch.tensor([of_frames(codec, length) for length in lengths])
    wave_BT = samples.noises(len(lengths), int(num_samples_B.max()), seed=2)
    together_BT = codec.decode(codec.encode(wave_BT, num_samples_B))
    assert together_BT.shape == wave_BT.shape
    for row, num_samples in enumerate(num_samples_B.tolist()):
        alone_T = codec.decode(codec.encode(wave_BT[row : row + 1, :num_samples]))[0]
        assert alone_T.shape == (num_samples,)
        samples.assert_close(together_BT[row, :num_samples], alone_T)
        assert not together_BT[row, num_samples:].any()


@settings(max_examples=8, deadline=None)
@given(lengths=clips)
def test_a_padded_batch_trains_as_each_clip_alone(codec, lengths):
    num_samples_B = torch.tensor([of_frames(codec, length) for length in lengths])
    wave_BT = samples.noises(len(lengths), int(num_samples_B.max()), seed=3)
    layers_B = torch.tensor([1 + row % 2 for row in range(len(lengths))])
    threshold_B = torch.linspace(0.5, 0.95, len(lengths)) if codec.config.grouping else None
    feature_BDF = codec.feature(wave_BT, num_samples_B)
    together = codec(wave_BT, feature_BDF, num_samples_B, num_layers_B=layers_B, threshold_B=threshold_B)
    commitments = []
    for row, num_samples in enumerate(num_samples_B.tolist()):
        one = slice(row, row + 1)
        wave_1T = wave_BT[one, :num_samples]
        threshold_1 = None if threshold_B is None else threshold_B[one]
        alone = codec(wave_1T, codec.feature(wave_1T), num_layers_B=layers_B[one], threshold_B=threshold_1)
        samples.assert_close(together.reconstruction_BT[one, :num_samples], alone.reconstruction_BT)
        num_frames = alone.feature_BDF.shape[-1]
        samples.assert_close(together.feature_BDF[one, :, :num_frames], alone.feature_BDF)
        commitments.append(alone.commitment)
    samples.assert_close(together.commitment, torch.stack(commitments).mean())


def test_gradients_do_not_come_from_past_a_clips_end(fixed):
    wave_BT = samples.noises(2, 5000).requires_grad_()
    num_samples_B = torch.tensor([5000, 2000])
    output = fixed(wave_BT, fixed.feature(wave_BT, num_samples_B), num_samples_B)
    (output.reconstruction_BT.square().sum() + output.commitment).backward()
    assert wave_BT.grad[1, :2000].any() and not wave_BT.grad[1, 2000:].any()
    assert wave_BT.grad.isfinite().all()


def test_every_parameter_learns(codec):
    wave_BT = samples.noises(2, of_frames(codec, 8))
    codec.zero_grad()
    output = codec(wave_BT, codec.feature(wave_BT))
    (output.reconstruction_BT.abs().mean() + output.feature_BDF.square().mean() + output.commitment).backward()
    assert [name for name, parameter in codec.named_parameters() if parameter.grad is None or not parameter.grad.any()] == []


def test_training_changes_no_buffer_and_gives_statistics(fixed):
    before = {name: buffer.clone() for name, buffer in fixed.named_buffers()}
    wave_BT = samples.noises(2, 3200)
    output = fixed.train()(wave_BT, fixed.feature(wave_BT))
    fixed.eval()
    assert output.acoustic.statistics.counts_KC.sum(1).tolist() == [10.0] * 3
    assert all(torch.equal(buffer, before[name]) for name, buffer in fixed.named_buffers())


def test_forward_decodes_what_encode_gives(codec):
    wave_BT = samples.noises(2, of_frames(codec, 7.5))
    codes = codec.encode(wave_BT, threshold=0.8 if codec.config.grouping else None)
    threshold_B = torch.tensor([0.8, 0.8]) if codec.config.grouping else None
    with torch.no_grad():
        output = codec(wave_BT, codec.feature(wave_BT), threshold_B=threshold_B)
    assert torch.equal(output.acoustic.codes_BKF % 32, codes.acoustic_BKF % 32)
    samples.assert_close(codec.decode(codes), output.reconstruction_BT)


def test_codes_of_fewer_layers_are_the_first_of_all(codec):
    wave_BT = samples.noises(1, of_frames(codec, 5))
    full, few = codec.encode(wave_BT), codec.encode(wave_BT, num_layers=1)
    assert torch.equal(few.acoustic_BKF, full.acoustic_BKF[:, :1]) and torch.equal(few.semantic_BKF, full.semantic_BKF[:, :1])
    assert codec.decode(few).shape == wave_BT.shape


def test_stereo_comes_back_as_stereo_of_the_same_length(codec):
    wave_B2T = samples.noises(4, of_frames(codec, 6.3)).view(2, 2, -1)
    num_samples_B = torch.tensor([wave_B2T.shape[-1], of_frames(codec, 2.1)])
    codes = codec.encode(wave_B2T, num_samples_B)
    assert codes.num_channels == 2 and len(codes.lengths_B) == 4
    decoded_B2T = codec.decode(codes)
    assert decoded_B2T.shape == wave_B2T.shape and not decoded_B2T[1, :, num_samples_B[1] :].any()
    mid = codec.decode(codec.encode((wave_B2T[:1, 0] + wave_B2T[:1, 1]) / 2))
    samples.assert_close(decoded_B2T[:1].mean(1), mid)


def test_a_higher_threshold_gives_more_groups():
    codec = samples.make(samples.DYNAMIC)
    wave_BT = samples.noises(1, of_frames(codec, 40))
    groups = [int(codec.encode(wave_BT, threshold=tenths / 10).lengths_B) for tenths in range(11)]
    assert groups == sorted(groups) and groups[0] < 10 and groups[-1] == 40 and len(set(groups)) > 4


def test_at_half_the_frame_rate_there_are_half_the_codes():
    slow = replace(samples.SPECTRAL, frame_rate_hz=6.25, semantic=replace(samples.SPECTRAL.semantic, strides=(2, 2, 2)))
    wave_BT = samples.noises(1, 2 * 48000)
    found = {config.frame_rate_hz: samples.make(config) for config in (samples.SPECTRAL, slow)}
    codes = {rate_hz: codec.encode(wave_BT) for rate_hz, codec in found.items()}
    assert {rate_hz: one.acoustic_BKF.shape[-1] for rate_hz, one in codes.items()} == {12.5: 25, 6.25: 13}
    assert found[6.25].decode(codes[6.25]).shape == wave_BT.shape


def test_the_teacher_is_no_part_of_the_codec_and_its_copies_share_it(fixed):
    fixed.feature(samples.noises(1, 640))
    assert not any("teacher" in name for name in fixed.state_dict())
    assert deepcopy(fixed)._held.teacher is fixed._held.teacher is not None


@pytest.mark.parametrize("name", ["hcodec-1.0", "hcodec-1.5", "hcodec-2.0", "hcodec-2.0-6.25hz", "small", "tiny"])
def test_presets_have_the_parameters_that_are_published(name):
    with torch.device("meta"):
        codec = Codec(PRESETS[name])
    millions = sum(parameter.numel() for parameter in codec.parameters()) / 1e6
    published = {"hcodec-1.0": 137.1, "hcodec-1.5": 678.4, "hcodec-2.0": 1243.2}
    if name in published:
        assert round(millions, 1) == published[name]
    else:
        low, high = {"small": (22, 28), "tiny": (2.5, 3.5), "hcodec-2.0-6.25hz": (1200, 1300)}[name]
        assert low < millions < high


def test_bit_rates_are_the_published_ones():
    assert PRESETS["hcodec-1.0"].bits_per_second == 2000 and PRESETS["hcodec-2.0"].bits_per_second == 4000


WRONG = {
    "an integer tensor": (torch.zeros(1, 640, dtype=torch.int16), {}, "int16"),
    "an array": ([0.0] * 640, {}, "list"),
    "one axis": (torch.zeros(640), {}, r"\(640,\)"),
    "three channels": (torch.zeros(1, 3, 640), {}, "stereo"),
    "no clip": (torch.zeros(0, 640), {}, "empty"),
    "no sample": (torch.zeros(1, 0), {}, "empty"),
    "a clip of length 0": (torch.zeros(2, 640), {"num_samples_B": torch.tensor([640, 0])}, "from 1 to the 640"),
    "a clip longer than the batch": (torch.zeros(1, 640), {"num_samples_B": torch.tensor([641])}, "from 1 to the 640"),
    "too few lengths": (torch.zeros(2, 640), {"num_samples_B": torch.tensor([640])}, "each of the 2 clips"),
    "lengths of floats": (torch.zeros(1, 640), {"num_samples_B": torch.tensor([640.0])}, "int64"),
    "NaN": (torch.full((1, 640), math.nan), {}, "row 0, first at sample 0"),
    "infinity": (torch.full((1, 640), math.inf), {}, "infinite"),
    "a threshold for a fixed rate": (torch.zeros(1, 640), {"threshold": 0.5}, "fixed frame rate"),
    "no layers": (torch.zeros(1, 640), {"num_layers": 0}, "from 1 to 3"),
    "too many layers": (torch.zeros(1, 640), {"num_layers": 4}, "from 1 to 3"),
}


@pytest.mark.parametrize("case", WRONG)
def test_encode_refuses(case, fixed):
    wave, options, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        fixed.encode(wave, **options)


@pytest.mark.parametrize("threshold", [-0.1, 1.5, math.nan])
def test_encode_refuses_a_threshold_that_is_none(threshold):
    with pytest.raises(ValueError, match="from 0"):
        samples.make(samples.DYNAMIC).encode(torch.zeros(1, 640), threshold=threshold)


MENDED = {
    "codes past the codebook": (lambda codes: {"acoustic_BKF": codes.acoustic_BKF + 32}, "0 to 31"),
    "negative codes": (lambda codes: {"semantic_BKF": codes.semantic_BKF - 32}, "0 to 31"),
    "floats": (lambda codes: {"semantic_BKF": codes.semantic_BKF.float()}, "int64"),
    "no layer": (lambda codes: {"semantic_BKF": codes.semantic_BKF[:, :0]}, "none of them 0"),
    "more layers": (lambda codes: {"semantic_BKF": codes.semantic_BKF.repeat(1, 4, 1)}, "has 8 layers, this codec 2"),
    "another codebook": (lambda codes: {"codebook_size": 1024}, "codebook_size 1024, this codec 32"),
    "another rate": (lambda codes: {"frame_rate_hz": 12.5}, "frame_rate_hz 12.5"),
    "streams of unequal length": (lambda codes: {"acoustic_BKF": codes.acoustic_BKF[..., 1:]}, "differ"),
    "half a stereo clip": (lambda codes: {"num_channels": 2}, "two rows a clip"),
    "more frames than there are": (lambda codes: {"lengths_B": codes.lengths_B + 1}, "lengths_B"),
    "more samples than frames": (lambda codes: {"num_samples_B": codes.num_samples_B + 1}, "num_samples_B"),
    "no samples": (lambda codes: {"num_samples_B": codes.num_samples_B * 0}, "num_samples_B"),
}


@pytest.mark.parametrize("case", MENDED)
def test_decode_refuses(case, fixed):
    change, message = MENDED[case]
    codes = fixed.encode(torch.zeros(1, 1280))
    with pytest.raises(ValueError, match=message):
        fixed.decode(replace(codes, **change(codes)))


def test_silence_and_the_shortest_clip_are_coded(codec):
    for wave_BT in (torch.zeros(1, 1), torch.zeros(1, 3 * codec.config.samples_per_frame)):
        decoded_BT = codec.decode(codec.encode(wave_BT))
        assert decoded_BT.shape == wave_BT.shape and decoded_BT.isfinite().all()
