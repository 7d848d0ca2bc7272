"""The spectral encoder of H-Codec 2.0."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from codec.config import CodecConfig, SemanticConfig, SpectralConfig
from codec.presets import PRESETS
from codec.published_keys import published_key
from codec.spectral import SpectralEncoder, log_spectrum
from tests.codec import golden

CONFIG = CodecConfig(
    sample_rate_hz=48000,
    frame_rate_hz=12.5,
    latent_width=12,
    seanet=None,
    spectral=SpectralConfig(32, 48, 2, 1, 4, 48, 1920, 960),
    semantic=SemanticConfig(16, (2, 1, 2)),
    decoder=replace(PRESETS["hcodec-2.0"].decoder, width=32),
)
FRAME = CONFIG.samples_per_frame


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def encoder(config: CodecConfig = CONFIG) -> SpectralEncoder:
    torch.manual_seed(0)
    return SpectralEncoder(config).eval()


def test_the_spectrum_is_that_of_each_window_round_its_own_hop():
    wave_T, window, hop = noise(96).double().numpy(), 32, 16
    spectrum_NF = log_spectrum(torch.tensor(wave_T).float()[None], window, hop)[0].numpy()
    assert spectrum_NF.shape == (2 * 17, 6)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    padded = np.pad(wave_T, (window - hop) // 2)
    for frame in range(6):
        bins = np.fft.rfft(hann * padded[frame * hop : frame * hop + window])
        np.testing.assert_allclose(spectrum_NF[:17, frame], np.log(np.abs(bins)), atol=1e-3)
        turns = spectrum_NF[17:, frame] - np.angle(bins) / np.pi
        np.testing.assert_allclose(np.exp(1j * np.pi * turns), 1, atol=1e-3)  # half a turn back and forth are the same phase
        assert np.all(np.abs(spectrum_NF[17:]) <= 1)


def test_silence_has_the_least_magnitude_and_no_phase():
    spectrum_BNF = log_spectrum(torch.zeros(1, 1920 * 4), 1920, 960)
    assert torch.all(spectrum_BNF[:, :961] == torch.tensor(1e-5).log())
    assert torch.all(spectrum_BNF[:, 961:] == 0)


@pytest.mark.parametrize("rate_hz, strides", [(12.5, (2, 1, 2)), (6.25, (2, 2, 2)), (25.0, (2, 1))])
def test_a_latent_frame_for_each_frame_of_the_codec(rate_hz, strides):
    config = replace(CONFIG, frame_rate_hz=rate_hz, semantic=SemanticConfig(16, strides))
    latent_BDF = encoder(config)(noise(2, 3 * config.samples_per_frame))
    assert latent_BDF.shape == (2, 12, 3)


def test_a_padded_batch_equals_each_clip_alone():
    model, lengths = encoder(), [3 * FRAME, FRAME, 7 * FRAME]
    wave_BT = noise(3, 7 * FRAME)
    for clip, length in enumerate(lengths):
        wave_BT[clip, length:] = torch.nan
    batch_BDF = model(wave_BT, torch.tensor(lengths))
    for clip, length in enumerate(lengths):
        alone_DF = model(wave_BT[clip : clip + 1, :length])[0]
        torch.testing.assert_close(batch_BDF[clip, :, : length // FRAME], alone_DF, atol=1e-5, rtol=1e-4)


def test_training_reaches_every_parameter():
    model = encoder().train()
    model(noise(2, 4 * FRAME)).square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if not parameter.grad.any()] == []
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_silence_and_its_gradient_are_finite():
    model = encoder().train()
    latent_BDF = model(torch.zeros(1, 4 * FRAME))
    latent_BDF.sum().backward()
    assert latent_BDF.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@golden.needs_reference
def test_the_latent_is_that_of_the_published_network():
    config, tensors, want = golden.config("2.0"), golden.weights("2.0"), golden.arrays("2.0")
    model = SpectralEncoder(config)
    model.load_state_dict({key: tensors[published_key(f"encoder.{key}", config)] for key in model.state_dict()})
    with torch.no_grad():
        latent_DF = model(torch.tensor(want["wave"])[None])[0].numpy()
    assert np.abs(latent_DF - want["acoustic_latent"]).max() <= 1e-4 * np.abs(want["acoustic_latent"]).max()
