import json

import pytest

from codec.config import CodecConfig
from codec.config_json import from_json, to_json
from codec.presets import PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_a_configuration_comes_back_from_its_json(name):
    assert from_json(json.loads(json.dumps(to_json(PRESETS[name]))), "here") == PRESETS[name]


def test_absent_fields_have_their_defaults():
    assert from_json({}, "here") == CodecConfig()
    teacher = from_json({"teacher": {"kind": "transformers", "source": "hubert"}}, "here").teacher  # of an older folder
    assert (teacher.normalise, teacher.half_precision) == (False, False)


def test_a_teacher_says_how_it_hears():
    for normalise in (True, False, None):
        config = from_json({"teacher": {"normalise": normalise, "half_precision": True}}, "here")
        assert (config.teacher.normalise, config.teacher.half_precision) == (normalise, True)


WRONG = {
    "a list": ([], r"here: the configuration is \[\], not an object"),
    "an unknown field": ({"latent_widht": 3}, "unknown field 'latent_widht', did you mean 'latent_width'"),
    "one far from all": ({"decoder": {"zzz": 3}}, "unknown field 'decoder.zzz', there are kind, width"),
    "a word for a number": ({"latent_width": "512"}, "latent_width is '512', not int"),
    "a fraction for a count": ({"latent_width": 1.5}, "latent_width is 1.5, not int"),
    "true for a count": ({"latent_width": True}, "latent_width is True, not int"),
    "null for a number": ({"frame_rate_hz": None}, "frame_rate_hz is None, not float"),
    "a number in a list": ({"seanet": {"strides": [2, "4"]}}, r"seanet.strides\[1\] is '4', not int"),
    "no list": ({"seanet": {"strides": 2}}, "seanet.strides is 2, not"),
    "no object": ({"grouping": 3}, "grouping is 3, not an object"),
    "another kind": ({"decoder": {"kind": "x"}}, "decoder.kind is 'x', not 'subpixel' or 'repeat'"),
    "parts that do not fit": ({"frame_rate_hz": 30}, "here: codec configuration"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case):
    values, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        from_json(values, "here")
