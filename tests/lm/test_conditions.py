import pytest
import torch

from lm.audio_encoder import LogMel
from lm.conditions import Adapter, Conditions, Encoders
from lm.config import ConditionConfig
from lm.model import Batch
from tests.lm.made import SMALL, codes, conditions, model

TASKS = ["lass", "sr", "tta", "tse"]


@pytest.fixture(scope="module")
def encoders():
    return Encoders.open(ConditionConfig())


def wave(num_samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(num_samples, generator=torch.Generator().manual_seed(num_samples))


def test_each_clip_gets_the_features_of_its_own_text_and_audio(encoders):
    inputs = [wave(3200), wave(1000), None, wave(5000)]
    found = encoders(TASKS, texts=["a dog", None, "rain", None], references=[None, None, None, wave(700)], inputs=inputs)
    assert found.text.lengths_B.tolist() == [4, 0, 3, 0]
    assert found.spelling.lengths_B.tolist() == [5, 0, 4, 0]
    assert found.reference.lengths_B.tolist() == [0, 0, 0, 3]
    assert found.input.lengths_B.tolist() == [10, 4, 0, 16]
    for row, audio in enumerate(inputs):
        if audio is not None:
            alone = LogMel()(audio[None])[0]
            torch.testing.assert_close(found.input.values_BMD[row, : len(alone)], alone)


def test_what_no_clip_has_is_none(encoders):
    found = encoders(["sr"], inputs=[wave(3200)])
    assert found.text is None and found.spelling is None and found.reference is None


@pytest.mark.parametrize(
    ("tasks", "given", "message"),
    [
        (["sr", "tse"], {"inputs": [wave(320)] * 2}, "clip 1: task tse: reference missing"),
        (["sr"], {}, "clip 0: task sr: input missing"),
        (["lass"], {"inputs": [wave(320)], "texts": [""]}, "clip 0: task lass: the text is empty"),
        (["lass"], {"inputs": [wave(320)], "texts": [" "]}, "the text is empty"),
        (["sr"], {"inputs": [wave(320)], "texts": ["rain"]}, "task sr has no use for text"),
        (["sr"], {"inputs": [wave(0)]}, "clip 0: input: audio of zero length"),
        (["sr"], {"inputs": [torch.zeros(2, 320)]}, r"shape \(2, 320\); give one channel"),
        (["sr"], {"inputs": [torch.zeros(320, dtype=torch.int16)]}, "torch.int16"),
        (["sr"], {"inputs": [torch.full((320,), float("nan"))]}, "not finite"),
        (["sr"], {"inputs": [torch.zeros(16000 * 7200)]}, "7200.0 s of audio; at most 60 s at once: cut it"),
    ],
)
def test_conditions_that_are_wrong_say_what(encoders, tasks, given, message):
    with pytest.raises(ValueError, match=message):
        encoders(tasks, **given)


def test_a_text_without_a_text_encoder_is_refused():
    with pytest.raises(ValueError, match="no text encoder"):
        Encoders(LogMel(), None)(["tta"], texts=["rain"])


def test_an_encoder_of_another_width_is_refused():
    with pytest.raises(ValueError, match="audio encoder 'log-mel' is 160 wide, the model wants 768"):
        Encoders.open(ConditionConfig(audio_width=768))


def test_encoders_feed_the_model_from_text_and_waves_to_loss(encoders):
    lm = model(conditions=ConditionConfig())
    given = encoders(["lass", "sr"], texts=["a dog", None], inputs=[wave(3200), wave(1000)])
    assert lm(Batch.of(lm.config, ["lass", "sr"], given, codes([5, 2]))).mean.isfinite()


def test_each_condition_is_dropped_where_its_own_draw_is_low():
    given = conditions(["lass", "lass", "tse"])
    draws = torch.tensor([[0.05, 0.5, 0.5], [0.5, 0.5, 0.05], [0.5, 0.05, 0.5]])
    found = given.dropped(draws, 0.1)
    lengths = {name: part.lengths_B.tolist() for name, part in vars(given).items() if part is not None}
    assert found.text.lengths_B.tolist() == [0, *lengths["text"][1:]]
    assert found.spelling.lengths_B.tolist() == [0, *lengths["spelling"][1:]]
    assert found.input.lengths_B.tolist() == [lengths["input"][0], 0, lengths["input"][2]]
    assert found.reference.lengths_B.tolist() == [0, 0, 0]
    kept = given.dropped(draws, 0.0)
    assert {name: part.lengths_B.tolist() for name, part in vars(kept).items() if part is not None} == lengths


def test_a_batch_is_checked_clip_by_clip():
    conditions(["tse", "sr"]).check(["tse", "sr"])
    with pytest.raises(ValueError, match="clip 1: task lass: text missing"):
        conditions(["tse", "sr"]).check(["tse", "lass"])


@pytest.mark.parametrize(("kind", "count"), [("linear", 6 * 8 + 8), ("mlp", 6 * 8 + 8 + 8 * 8 + 8)])
def test_an_adapter_brings_features_to_the_models_width_and_type(kind, count):
    adapter = Adapter(kind, 6, 8).bfloat16()
    assert sum(parameter.numel() for parameter in adapter.parameters()) == count
    found = adapter(torch.randn(2, 3, 6))
    assert found.shape == (2, 3, 8) and found.dtype == torch.bfloat16


def test_conditions_move_and_join():
    given = conditions(["tse", "sr"])
    joined = given.to("cpu").joined(given)
    assert joined.input.lengths_B.tolist() == given.input.lengths_B.tolist() * 2
    assert isinstance(joined, Conditions) and joined.text is None
    assert SMALL.conditions.audio_width == joined.input.values_BMD.shape[2]
