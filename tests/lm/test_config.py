import dataclasses
import json
from dataclasses import replace

import pytest

from lm.config import PRESETS, ConditionConfig, DecoderConfig, LMConfig, TokenConfig, from_json


@pytest.mark.parametrize("preset", PRESETS)
def test_a_configuration_survives_json(preset):
    data = json.loads(json.dumps(dataclasses.asdict(PRESETS[preset])))
    assert from_json(LMConfig, data) == PRESETS[preset]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"token": {}}, "config: no field 'token': did you mean 'tokens'"),
        ({"decoder": {"widht": 3}}, "config.decoder: no field 'widht': did you mean 'width'"),
        ({"decoder": {"width": "512"}}, "config.decoder.width: '512' where int is wanted"),
        ({"decoder": {"width": True}}, "config.decoder.width: True where int"),
        ({"decoder": 3}, "config.decoder: 3 where DecoderConfig is wanted"),
        ({"tasks": "sr"}, "config.tasks: 'sr' where tuple"),
        ({"tasks": ["sr", 3]}, "config.tasks: 3 where str"),
        ({"clock": "wall"}, "config.clock: 'wall'"),
        ([], "where LMConfig is wanted"),
    ],
)
def test_json_that_is_no_configuration_says_where(data, message):
    with pytest.raises(ValueError, match=message):
        from_json(LMConfig, data)


def test_whole_numbers_are_floats_where_floats_are_wanted():
    assert from_json(TokenConfig, {"frame_rate_hz": 25}).frame_rate_hz == 25.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DecoderConfig(width=100, num_heads=3), "even multiple of num_heads 3"),
        (lambda: DecoderConfig(num_heads=8, num_kv_heads=3), "multiple of num_kv_heads 3"),
        (lambda: DecoderConfig(num_layers=0), "num_layers is 0"),
        (lambda: TokenConfig(codebook_size=0), "codebook_size is 0"),
        (lambda: ConditionConfig(adapter="conv"), "adapter 'conv'"),
        (lambda: LMConfig(tasks=("sr", "sr")), "give each once"),
        (lambda: LMConfig(tasks=("sr", "tts")), "did you mean"),
        (lambda: LMConfig(clock="wall"), "clock 'wall'"),
        (lambda: LMConfig(max_positions=0), "max_positions is 0"),
    ],
)
def test_values_that_make_no_model_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_special_symbols_come_after_the_codes():
    tokens = TokenConfig(4, 2, codebook_size=1024, max_duration_frames=8)
    assert tokens.num_layers == 4 and tokens.vocab_size == 8192
    assert sorted({tokens.end, tokens.pad, tokens.start}) == [8192, 8193, 8194]


def test_another_codec_is_refused_and_what_differs_is_named():
    mine = TokenConfig(codec="abc")
    mine.check_codec(TokenConfig())  # does not say which it is
    mine.check_codec(TokenConfig(codec="abc"))
    with pytest.raises(ValueError, match="codec 'xyz', the model has 'abc'"):
        mine.check_codec(TokenConfig(codec="xyz"))
    with pytest.raises(ValueError, match=r"num_acoustic 16, the model has 4; frame_rate_hz 12.5, the model has 25.0"):
        mine.check_codec(replace(mine, num_acoustic=16, frame_rate_hz=12.5))


def test_a_task_that_the_model_lacks_is_refused():
    assert LMConfig(tasks=("tse", "sr")).task_index("sr") == 1
    with pytest.raises(ValueError, match="not trained for task vc; it has tse, sr"):
        LMConfig(tasks=("tse", "sr")).task_index("vc")
