"""Queries that read groups of frames, and the codec with a dynamic frame rate around them (H-Codec 1.5)."""

from dataclasses import replace

import pytest
import torch

from codec.aggregator import Aggregator
from codec.config import (
    CodecConfig,
    DecoderConfig,
    GroupingConfig,
    QuantiserConfig,
    SeanetConfig,
    SemanticConfig,
    TeacherConfig,
)
from codec.grouping import Groups, group_frames
from codec.model import Codec
from codec.presets import PRESETS
from codec.published_keys import published_key
from codec.quantise import ResidualQuantiser
from tests.codec import golden

WIDTH = 16
GROUPING = GroupingConfig(
    max_frames=8, threshold=0.6, num_layers=2, num_heads=2, feed_forward_width=32, num_bottleneck_layers=2
)
TINY = CodecConfig(
    latent_width=WIDTH,
    seanet=SeanetConfig(width=4, strides=(8, 5, 4, 2), num_layers=1, num_heads=2),
    semantic=SemanticConfig(width=16),
    quantiser=QuantiserConfig(2, 3, codebook_size=32),
    grouping=GROUPING,
    decoder=DecoderConfig("subpixel", 32, 48, 48, 2, 1, 2),
    teacher=TeacherConfig(width=20),
)
FRAME = TINY.samples_per_frame
LENGTHS = [13 * FRAME, 5 * FRAME + 1, 40 * FRAME - 7]
THRESHOLD = 0.9  # where latents of random weights make groups of one to eight frames


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def waves(num_samples: int, num_clips: int = 1) -> torch.Tensor:
    """Noise whose level comes and goes, so that some neighbours are more alike than others."""
    level_T = torch.sin(torch.arange(num_samples) / 4000).square()
    return 0.3 * level_T * noise(num_clips, num_samples)


def padded_waves() -> torch.Tensor:
    wave_BT = waves(max(LENGTHS), len(LENGTHS))
    for clip, length in enumerate(LENGTHS):
        wave_BT[clip, length:] = torch.nan
    return wave_BT


@pytest.fixture(scope="module")
def codec() -> Codec:
    torch.manual_seed(0)
    codec = Codec(TINY).eval()
    for name, parameter in codec.named_parameters():
        if name.endswith("_scale"):  # of a trained network, so that the layers count
            parameter.data.fill_(0.5)
    return codec


@pytest.fixture
def aggregator() -> Aggregator:
    torch.manual_seed(0)
    aggregator = Aggregator(WIDTH, GROUPING)
    for layer in aggregator.transformer.layers:
        layer.attention_scale.data.fill_(0.5)
        layer.feed_forward_scale.data.fill_(0.5)
    return aggregator


def test_each_query_stands_after_the_last_frame_of_its_group(aggregator):
    lengths_BG = torch.tensor([[3, 1, 5, 0], [2, 2, 1, 1]])
    groups, latent_BDF = Groups.from_lengths(lengths_BG), noise(2, WIDTH, 9)
    found_BDG = aggregator(latent_BDF, groups)
    for clip, lengths in enumerate([[3, 1, 5], [2, 2, 1, 1]]):
        parts = latent_BDF[clip, :, : sum(lengths)].split(lengths, dim=1)
        sequence_DS = torch.cat([x for part in parts for x in (part, part.mean(1, keepdim=True) + aggregator.query)], dim=1)
        queries = (torch.tensor(lengths).cumsum(0) + torch.arange(len(lengths))).tolist()
        expected_DG = aggregator.transformer(sequence_DS[None])[0, :, queries]
        torch.testing.assert_close(found_BDG[clip, :, : len(lengths)], expected_DG, atol=1e-5, rtol=1e-5)


def test_frames_in_groups_of_a_padded_batch_give_the_vectors_that_each_clip_gives_alone(aggregator):
    lengths_BG = torch.tensor([[1, 2, 8, 8, 8], [4, 0, 0, 0, 0], [8, 1, 1, 0, 0]])
    groups, latent_BDF = Groups.from_lengths(lengths_BG), noise(3, WIDTH, 27)
    for clip, num_frames in enumerate(groups.num_frames_B.tolist()):
        latent_BDF[clip, :, num_frames:] = torch.nan
    batch_BDG = aggregator(latent_BDF, groups)
    for clip, (num_frames, num_groups) in enumerate(zip(groups.num_frames_B.tolist(), groups.num_groups_B.tolist())):
        alone = aggregator(
            latent_BDF[clip : clip + 1, :, :num_frames], Groups.from_lengths(lengths_BG[clip : clip + 1, :num_groups])
        )
        torch.testing.assert_close(batch_BDG[clip, :, :num_groups], alone[0], atol=1e-5, rtol=1e-5)


@golden.needs_reference
def test_codes_of_groups_are_those_of_the_published_network():
    config, tensors, want = golden.config("1.5"), golden.weights("1.5"), golden.arrays("1.5")
    semantic_BDF = torch.tensor(want["semantic_latent"])[None]
    groups = group_frames(semantic_BDF, golden.threshold("1.5"), max_frames=config.grouping.max_frames)
    for stream, quantiser in (("acoustic", "quantizer"), ("semantic", "semantic_quantizer")):
        aggregator, codebooks = (
            Aggregator(config.latent_width, config.grouping),
            ResidualQuantiser(4, 1024, config.latent_width),
        )
        for key, ours in aggregator.state_dict().items():
            ours.copy_(tensors[published_key(f"{stream}_aggregator.{key}", config)].view_as(ours))
        codebooks.codebooks = torch.cat([tensors[f"{quantiser}.layers.{layer}._codebook.embed"] for layer in range(4)])
        with torch.no_grad():
            codes_KG = codebooks.encode(aggregator(torch.tensor(want[f"{stream}_latent"])[None], groups))[0]
        wanted_KG = torch.tensor(want[f"{stream}_codes"])
        assert torch.equal(groups.lengths_BG.expand(4, -1), wanted_KG // 1024 + 1)
        assert (codes_KG == wanted_KG % 1024).double().mean() >= 0.99


def test_a_padded_batch_is_encoded_and_decoded_as_each_clip_alone(codec):
    wave_BT = padded_waves()
    batch = codec.encode(wave_BT, torch.tensor(LENGTHS), threshold=THRESHOLD)
    decoded_BT = codec.decode(batch)
    assert (
        len({*batch.lengths_B.tolist()}) == 3 and batch.durations_BF.unique().numel() > 2
    )  # groups differ, in number and length
    for clip, length in enumerate(LENGTHS):
        alone = codec.encode(wave_BT[clip : clip + 1, :length], threshold=THRESHOLD)
        num_groups = int(alone.lengths_B)
        assert batch.lengths_B[clip] == num_groups
        for ours, theirs in ((batch.acoustic_BKF, alone.acoustic_BKF), (batch.semantic_BKF, alone.semantic_BKF)):
            assert torch.equal(ours[clip, :, :num_groups], theirs[0])
            assert torch.all(ours[clip, :, num_groups:] == 0)
        torch.testing.assert_close(decoded_BT[clip, :length], codec.decode(alone)[0], atol=1e-5, rtol=1e-4)
        assert torch.all(decoded_BT[clip, length:] == 0)


def test_a_padded_batch_trains_as_each_clip_alone_with_its_own_threshold(codec):
    wave_BT, lengths_B, threshold_B = padded_waves(), torch.tensor(LENGTHS), torch.tensor([0.5, 0.8, 1.0])
    batch = codec(wave_BT, codec.feature(wave_BT, lengths_B), lengths_B, threshold_B=threshold_B)
    for clip, length in enumerate(LENGTHS):
        wave_1T = wave_BT[clip : clip + 1, :length]
        alone = codec(wave_1T, codec.feature(wave_1T), threshold_B=threshold_B[clip : clip + 1])
        num_groups = alone.groups.lengths_BG.shape[1]
        assert torch.equal(batch.groups.lengths_BG[clip, :num_groups], alone.groups.lengths_BG[0])
        torch.testing.assert_close(batch.reconstruction_BT[clip, :length], alone.reconstruction_BT[0], atol=1e-5, rtol=1e-4)
        feature_DF = alone.feature_BDF[0]
        torch.testing.assert_close(batch.feature_BDF[clip, :, : feature_DF.shape[1]], feature_DF, atol=1e-5, rtol=1e-4)


def test_training_reaches_the_queries_every_layer_and_the_encoders():
    torch.manual_seed(0)
    codec = Codec(TINY).train()
    wave_BT, threshold_B = waves(20 * FRAME, 2), torch.tensor([0.5, 0.95])
    out = codec(wave_BT, codec.feature(wave_BT), threshold_B=threshold_B)
    (out.reconstruction_BT.square().mean() + out.feature_BDF.square().mean() + out.commitment).backward()
    parts = ("acoustic_aggregator.", "semantic_aggregator.", "bottleneck.", "encoder.", "semantic_encoder.")
    silent = [
        name
        for name, parameter in codec.named_parameters()
        if name.startswith(parts) and (parameter.grad is None or not parameter.grad.any())
    ]
    assert silent == []


def test_the_rate_falls_with_the_threshold_and_at_one_every_frame_is_coded(codec):
    wave_BT = waves(50 * FRAME, 2)
    counts = [
        codec.encode(wave_BT, threshold=threshold).lengths_B.sum().item() for threshold in (0.0, 0.5, 0.8, 0.9, 0.95, 1.0)
    ]
    assert counts == sorted(counts) and counts[0] < counts[-1] == 100


def test_without_a_threshold_the_configured_one_counts(codec):
    wave_BT = waves(30 * FRAME)
    given = codec.encode(wave_BT, threshold=GROUPING.threshold)
    assert torch.equal(codec.encode(wave_BT).acoustic_BKF, given.acoustic_BKF)


def test_folded_codes_alone_decode(codec):
    """Only what stands in the codes is used: groups of the same lengths with the same codes give the same audio."""
    codes = codec.encode(waves(25 * FRAME), threshold=THRESHOLD)
    size = TINY.quantiser.codebook_size
    assert codes.durations_BF.sum() == 25
    for stream in (codes.acoustic_BKF, codes.semantic_BKF):
        assert torch.equal((stream // size + 1)[0], codes.durations_BF.expand(stream.shape[1], -1))
    repeated = {
        name: (stream % size).repeat_interleave(codes.durations_BF[0], dim=2)
        for name, stream in (("acoustic_BKF", codes.acoustic_BKF), ("semantic_BKF", codes.semantic_BKF))
    }
    frame_by_frame = replace(codes, **repeated, lengths_B=torch.tensor([25]))
    torch.testing.assert_close(codec.decode(frame_by_frame), codec.decode(codes))


def test_stereo_channels_have_their_own_groups(codec):
    wave_B2T = torch.stack([waves(30 * FRAME)[0], 0.1 * noise(30 * FRAME)])[None]
    codes = codec.encode(wave_B2T, threshold=THRESHOLD)
    assert codes.durations_BF.sum(1).tolist() == [30, 30]
    assert codec.decode(codes).shape == wave_B2T.shape


def test_the_published_size_is_that_of_the_report():
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in Codec(PRESETS["hcodec-1.5"]).parameters())
    assert round(parameters / 1e6, 1) == 678.4
