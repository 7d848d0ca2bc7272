from dataclasses import replace

import pytest

from codec.presets import PRESETS


def test_the_second_published_rate_differs_in_its_strides_only():
    large, slow = PRESETS["hcodec-2.0"], PRESETS["hcodec-2.0-6.25hz"]
    assert replace(slow, frame_rate_hz=12.5, semantic=large.semantic) == large
    assert slow.samples_per_frame == 2 * large.samples_per_frame and slow.bits_per_second == 2000


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_small_presets_have_the_bit_rate_and_the_parts_of_the_first_published_codec(name):
    ours, published = PRESETS[name], PRESETS["hcodec-1.0"]
    assert ours.bits_per_second == published.bits_per_second
    assert (ours.seanet.strides, ours.decoder.kind, ours.grouping) == (published.seanet.strides, published.decoder.kind, None)
    assert ours.teacher.kind == "log-mel", "needs no weights"
