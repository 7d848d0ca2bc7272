"""The decoder of H-Codec 2.0, and the 48 kHz codec around it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from codec.config import CodecConfig, DecoderConfig, QuantiserConfig, SemanticConfig, SpectralConfig, TeacherConfig
from codec.model import Codec
from codec.presets import PRESETS
from codec.published_keys import published_key
from codec.spectral_decoder import RepeatDecoder
from tests.codec import golden

TINY = CodecConfig(
    sample_rate_hz=48000,
    frame_rate_hz=12.5,
    latent_width=16,
    seanet=None,
    spectral=SpectralConfig(32, 48, 2, 1, 4, 48, 1920, 960),
    semantic=SemanticConfig(16, (2, 1, 2)),
    quantiser=QuantiserConfig(3, 2, codebook_size=32, dropout=False),
    decoder=DecoderConfig("repeat", 32, 48, 48, 2, 1, 4, 1920, 960),
    teacher=TeacherConfig(width=20),
)
SLOW_RATE = replace(TINY, frame_rate_hz=6.25, semantic=SemanticConfig(16, (2, 2, 2)))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def built(config: CodecConfig = TINY) -> Codec:
    torch.manual_seed(0)
    return Codec(config).eval()


def decoder(config: CodecConfig = TINY) -> RepeatDecoder:
    torch.manual_seed(0)
    return RepeatDecoder(config).eval()


@pytest.mark.parametrize("config", [TINY, SLOW_RATE], ids=["12.5Hz", "6.25Hz"])
def test_each_latent_frame_becomes_its_samples(config):
    wave_BT = decoder(config)(noise(2, 32, 3))
    assert wave_BT.shape == (2, 3 * config.samples_per_frame)


def test_frames_are_repeated_before_the_first_convolution():
    model, latent_BDF = decoder(), noise(1, 32, 3)
    frames_BDF = latent_BDF[:, :, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]]
    torch.testing.assert_close(model(latent_BDF), model.vocoder(model.conv_in(frames_BDF)))


def test_a_padded_batch_equals_each_clip_alone():
    model, lengths = decoder(), [4, 1, 6]
    latent_BDF = noise(3, 32, 6)
    for clip, length in enumerate(lengths):
        latent_BDF[clip, :, length:] = torch.nan
    batch_BT = model(latent_BDF, torch.tensor(lengths))
    for clip, length in enumerate(lengths):
        alone_T = model(latent_BDF[clip : clip + 1, :, :length])[0]
        torch.testing.assert_close(batch_BT[clip, : len(alone_T)], alone_T, atol=5e-5, rtol=1e-4)


@golden.needs_reference
def test_the_reconstruction_is_that_of_the_published_network():
    config, tensors, want = golden.config("2.0"), golden.weights("2.0"), golden.arrays("2.0")
    model = RepeatDecoder(config).eval()
    model.load_state_dict({key: tensors[published_key(f"decoder.{key}", config)] for key in model.state_dict()})
    streams = []
    for quantiser, codes in (("quantizer", "acoustic_codes"), ("semantic_quantizer", "semantic_codes")):
        books = [tensors[f"{quantiser}.layers.{layer}._codebook.embed"][0] for layer in range(4)]
        streams.append(sum(book[torch.tensor(layer)] for book, layer in zip(books, want[codes])).T)
    with torch.no_grad():
        wave_T = model(torch.cat(streams)[None])[0].numpy()
    assert np.abs(wave_T - want["reconstruction"]).max() <= 1e-4 * np.abs(want["reconstruction"]).max()


@pytest.mark.parametrize("config", [TINY, SLOW_RATE], ids=["12.5Hz", "6.25Hz"])
def test_a_padded_batch_is_encoded_and_decoded_as_each_clip_alone(config):
    codec, frame = built(config), config.samples_per_frame
    lengths = [2 * frame, frame // 3, 5 * frame - 11]
    wave_BT = noise(3, max(lengths))
    for clip, length in enumerate(lengths):
        wave_BT[clip, length:] = torch.nan
    batch = codec.encode(wave_BT, torch.tensor(lengths))
    decoded_BT = codec.decode(batch)
    assert batch.lengths_B.tolist() == [2, 1, 5]
    assert batch.acoustic_BKF.shape == (3, 3, 5) and batch.semantic_BKF.shape == (3, 2, 5)
    for clip, length in enumerate(lengths):
        alone = codec.encode(wave_BT[clip : clip + 1, :length])
        num_frames = int(alone.lengths_B)
        assert torch.equal(batch.acoustic_BKF[clip, :, :num_frames], alone.acoustic_BKF[0])
        assert torch.equal(batch.semantic_BKF[clip, :, :num_frames], alone.semantic_BKF[0])
        torch.testing.assert_close(decoded_BT[clip, :length], codec.decode(alone)[0], atol=1e-5, rtol=1e-4)
        assert torch.all(decoded_BT[clip, length:] == 0)


def test_training_reaches_every_parameter():
    codec = built().train()
    wave_BT = noise(2, 4 * TINY.samples_per_frame)
    out = codec(wave_BT, codec.feature(wave_BT))
    (out.reconstruction_BT.square().mean() + out.feature_BDF.square().mean()).backward()
    assert [name for name, parameter in codec.named_parameters() if parameter.grad is None or not parameter.grad.any()] == []


def test_the_published_size_and_rates_are_those_of_the_report():
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in Codec(PRESETS["hcodec-2.0"]).parameters())
    assert round(parameters / 1e6, 1) == 1243.2
    assert [PRESETS[preset].bits_per_second for preset in ("hcodec-2.0", "hcodec-2.0-6.25hz")] == [4000, 2000]
