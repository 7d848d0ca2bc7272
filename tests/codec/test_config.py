from dataclasses import replace

import pytest

from codec.config import CodecConfig, DecoderConfig, QuantiserConfig, SeanetConfig, SemanticConfig, SpectralConfig
from tests.codec import samples

WRONG = {
    "no whole frames": ({"frame_rate_hz": 30.0}, "whole number of samples"),
    "no encoder": ({"seanet": None}, "exactly one"),
    "two encoders": ({"spectral": SpectralConfig()}, "exactly one"),
    "strides of another rate": ({"seanet": SeanetConfig(strides=(2, 4, 5, 4))}, "320 samples a frame"),
    "semantic strides of another rate": ({"semantic": SemanticConfig(strides=(2, 2))}, "no 50 Hz into 25"),
    "a hop that does not fit": ({"decoder": DecoderConfig(hop_samples=300)}, "does not divide the 640"),
    "a hop that is not half": ({"decoder": DecoderConfig(hop_samples=160)}, "is 160, must be 320"),
    "a window that is no multiple": ({"decoder": DecoderConfig(window_samples=1000)}, "the window of 1000"),
    "dropout of all": ({"decoder": DecoderConfig(dropout=1.0)}, "below 1"),
    "no layers": ({"quantiser": QuantiserConfig(num_semantic=0)}, "at least one layer"),
}


@pytest.mark.parametrize("case", WRONG)
def test_parts_that_do_not_fit_are_refused(case):
    change, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        CodecConfig(**change)


def test_a_spectral_hop_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="700 does not divide"):
        replace(samples.SPECTRAL, spectral=SpectralConfig(hop_samples=700))


def test_derived_numbers_of_the_published_codecs():
    assert (CodecConfig().samples_per_frame, CodecConfig().teacher_frames_per_frame) == (640, 2)
    assert CodecConfig().decoder_frames_per_frame == 2 and CodecConfig().bits_per_second == 2000
    spectral = samples.SPECTRAL
    assert (spectral.samples_per_frame, spectral.teacher_frames_per_frame, spectral.decoder_frames_per_frame) == (3840, 4, 4)
