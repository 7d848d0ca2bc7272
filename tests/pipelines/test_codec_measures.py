import numpy as np
import pytest
import torch

from codec.codes import Codes
from codec.model import Codec
from pipelines.codec_measures import CodeCounts, codec_id, num_parameters, reconstruct, speed
from tests.codec.samples import DYNAMIC, FIXED, make, noises
from tests.pipelines.mu_law_codec import MuLawCodec


def codes_of(acoustic: list[list[int]], semantic: list[list[int]], codebook_size: int = 4, seconds: float = 2.0) -> Codes:
    acoustic_BKF, semantic_BKF = torch.tensor(acoustic)[None], torch.tensor(semantic)[None]
    lengths_B, num_samples_B = torch.tensor([acoustic_BKF.shape[-1]]), torch.tensor([int(seconds * 16000)])
    return Codes(acoustic_BKF, semantic_BKF, lengths_B, num_samples_B, 25.0, codebook_size)


def test_bits_are_those_of_all_layers_over_all_clips():
    counts = CodeCounts()
    counts.add(codes_of([[0, 1, 2, 3], [0, 0, 0, 0]], [[1, 1, 1, 1]]), 16000)
    counts.add(codes_of([[0, 1, 2, 3], [0, 0, 0, 0]], [[1, 1, 1, 1]], seconds=6.0), 16000)
    rate = counts.rate()
    assert rate.bits_per_s == 2 * 4 * 3 * 2 / 8.0
    assert (rate.positions_per_s, rate.num_layers, rate.seconds) == (1.0, 3, 8.0)


def test_a_layer_with_all_codes_alike_has_full_perplexity_and_one_with_one_code_has_1():
    counts = CodeCounts()
    counts.add(codes_of([[0, 1, 2, 3], [0, 0, 0, 1]], [[1, 1, 1, 1]]), 16000)
    first, second, third = counts.usage()
    assert (first.stream, first.layer, first.share, first.num_codes) == ("acoustic", 1, 1.0, 4)
    assert first.perplexity == pytest.approx(4)
    assert second.share == 0.5
    assert (third.stream, third.layer, third.share, third.perplexity) == ("semantic", 1, 0.25, pytest.approx(1))


def test_the_length_that_is_folded_into_a_code_costs_its_bits_once_and_is_no_code():
    counts = CodeCounts(max_group_frames=8)
    counts.add(codes_of([[4 * 7 + 1, 1]], [[4 * 7 + 2, 3]], codebook_size=4), 16000)
    assert counts.rate().bits_per_s == 2 * (2 * 2 + 3) / 2.0
    assert [line.share for line in counts.usage()] == [0.25, 0.5]


def test_what_is_past_a_clips_end_is_not_counted():
    codes = codes_of([[1, 1, 0, 0]], [[1, 1, 0, 0]])
    counts = CodeCounts()
    counts.add(Codes(codes.acoustic_BKF, codes.semantic_BKF, torch.tensor([2]), codes.num_samples_B, 25.0, 4), 16000)
    assert [line.share for line in counts.usage()] == [0.25, 0.25]


@pytest.mark.parametrize("config", [FIXED, DYNAMIC])
def test_a_reconstruction_is_as_long_as_the_clip(config):
    codec, wave = make(config), noises(1, 20001)[0].numpy()
    heard, codes = reconstruct(codec, wave)
    assert (heard.shape, heard.dtype) == (wave.shape, np.float32)
    assert np.array_equal(heard, codec.decode(codec.encode(torch.tensor(wave)[None]))[0].numpy())
    assert int(codes.num_samples_B[0]) == 20001


def test_a_clip_of_a_minute_is_coded_in_chunks():
    codec, wave = make(FIXED), noises(1, 31 * 16000)[0].numpy()
    called = []
    codec.decoder.register_forward_hook(lambda module, given, result: called.append(result.shape[-1]))
    heard, codes = reconstruct(codec, wave)
    assert heard.shape == wave.shape
    assert len(called) > 2
    assert codes.acoustic_BKF.shape[-1] == 31 * 25


def test_the_id_is_that_of_the_tensors_wherever_they_are_loaded_from(tmp_path):
    codec = make(FIXED)
    codec.save_pretrained(tmp_path)
    assert codec_id(Codec.from_pretrained(tmp_path)) == codec_id(codec)
    assert codec_id(make(FIXED, 1)) != codec_id(codec)
    assert num_parameters(codec) == sum(parameter.numel() for parameter in codec.parameters())


def test_speed_is_of_the_clips_that_were_timed():
    found = speed(MuLawCodec(), [np.zeros(16000, np.float32), np.zeros(32000, np.float32)])
    assert (found.clip_s, found.num_clips, found.device) == (1.5, 2, "CPU")
    assert 0 < found.both < min(found.encode, found.decode)
    assert 1 / found.both == pytest.approx(1 / found.encode + 1 / found.decode)
