from typing import get_args

import numpy as np
import pytest

from simulation.effects.band_limit import bandwidth_hz
from simulation.effects.codec import Codec, CodecRange, Kind
from simulation.seeds import Rng
from simulation.signals.alignment import delay_samples
from tests.simulation.effects.conftest import noisy_voice

KINDS = get_args(Kind)
SETTINGS = [
    *(Codec("mp3", 16000, kbps) for kbps in (8, 32, 64)),
    *(Codec("opus", rate, kbps) for rate, kbps in ((8000, 6), (16000, 9), (16000, 24), (16000, 64))),
    *(Codec("vorbis", 16000, quality=quality) for quality in (0.0, 0.6)),
    *(Codec(kind, 8000) for kind in ("gsm", "mu_law", "a_law", "adpcm")),
]
WIDE_SETTINGS = [
    Codec("mp3", 48000, 32),
    Codec("mp3", 24000, 16),
    Codec("opus", 48000, 56),
    Codec("vorbis", 48000, quality=0.2),
]


@pytest.mark.parametrize("effect", SETTINGS, ids=str)
def test_a_coded_voice_is_the_voice_on_time(effect, real_voices):
    voice = real_voices[0]
    after = effect(voice, 16000)
    assert not np.array_equal(after, voice)
    assert delay_samples(after, voice, 16000) == 0
    assert effect.measure(voice, after, 16000)["codec_sdr_db"] > 4


@pytest.mark.parametrize("effect", SETTINGS + WIDE_SETTINGS, ids=str)
def test_a_coded_full_band_voice_is_the_voice_on_time(effect, wide_voices):
    voice = wide_voices[0]
    after = effect(voice, 48000)
    assert delay_samples(after, voice, 48000) == 0
    assert effect.measure(voice, after, 48000)["codec_sdr_db"] > 4


def test_more_bits_mean_less_damage():
    audio = noisy_voice(16000)
    for low, high in (
        (Codec("mp3", 16000, 8), Codec("mp3", 16000, 64)),
        (Codec("opus", 16000, 8), Codec("opus", 16000, 64)),
        (Codec("vorbis", 16000, quality=0.0), Codec("vorbis", 16000, quality=1.0)),
    ):
        ratios = [effect.measure(audio, effect(audio, 16000), 16000)["codec_sdr_db"] for effect in (low, high)]
        assert ratios[1] > ratios[0] + 3


@pytest.mark.parametrize("kind", ["gsm", "mu_law", "a_law", "adpcm"])
def test_the_telephone_ends_below_4_khz(kind, real_voices):
    after = Codec(kind, 8000)(real_voices[0], 16000)
    assert bandwidth_hz(real_voices[0], after, 16000) < 4100


@pytest.mark.parametrize("effect", SETTINGS, ids=str)
def test_a_signal_beyond_full_scale_neither_wraps_nor_clips(effect):
    audio = noisy_voice(16000)
    loud = audio * np.float32(3 / np.abs(audio).max())
    after = effect(loud, 16000)
    assert 1.5 < np.abs(after).max() < 5
    assert effect.measure(loud, after, 16000)["codec_sdr_db"] > 3


def test_the_codec_hears_no_click_at_the_end_of_an_odd_length():
    audio = noisy_voice(16000)[:, :12345]
    for effect in SETTINGS:
        assert effect(audio, 16000).shape == audio.shape


def test_settings_drawn_are_those_the_codecs_have():
    drawn = [CodecRange().draw(Rng(0, "t", index), rate) for index in range(400) for rate in (16000, 48000)]
    assert {effect.kind for effect in drawn} == set(KINDS)
    for effect in drawn:
        assert (effect.bitrate_kbps > 0) == (effect.kind in ("mp3", "opus"))
        if effect.kind == "mp3":
            assert 8 <= effect.bitrate_kbps <= 64
            assert effect.bitrate_kbps >= 32 or effect.sample_rate_hz < 32000
        if effect.kind == "opus" and effect.sample_rate_hz > 16000:
            assert effect.bitrate_kbps >= 56
        if effect.kind in ("gsm", "mu_law", "a_law", "adpcm"):
            assert effect.sample_rate_hz == 8000
