import json

import numpy as np
import pytest
import torch

from codec.model import Codec
from infra.storage import open_store
from lm.config import TokenConfig
from pipelines.lm_report import COPY, UNIGRAM, Examples, baselines, report, tokens_of
from tests.codec.samples import FIXED, make, noises
from tests.training.test_token_scores import scores_of
from training.data.token_examples import TokenExample

TOKENS = TokenConfig(num_acoustic=3, num_semantic=2, codebook_size=32)


@pytest.fixture(scope="module")
def codec() -> Codec:
    return make(FIXED)


def example(codec: Codec, seed: int, task: str = "sr") -> TokenExample:
    """Its target is its input, so that a copy is perfect."""
    wave = (noises(1, 6400, seed)[0].clamp(-1, 1) * 32767).short().numpy()
    with torch.inference_mode():
        codes = codec.encode(torch.from_numpy(wave * np.float32(2**-15))[None])
    streams = codes.acoustic_BKF[0].numpy(), codes.semantic_BKF[0].numpy()
    text, given = ("text", None) if task == "tta" else (None, wave)
    return TokenExample(f"{task}-{seed}", task, text, None, given, *streams, None, None, np.zeros(3))


def test_a_copy_of_what_is_already_right_beats_the_unigram(codec):
    examples = Examples([example(codec, seed) for seed in range(4)], [example(codec, seed) for seed in range(4, 6)])
    found = baselines(examples, TOKENS, codec)
    assert found[COPY].accuracy() > 0.99 > found[UNIGRAM].accuracy()
    assert found[COPY].loss() < 0.1 < found[UNIGRAM].loss()
    assert found[COPY].num_targets == found[UNIGRAM].num_targets == 2 * 10 * 5


def test_without_a_codec_or_an_input_there_is_no_copy(codec):
    text_only = [example(codec, seed, "tta") for seed in range(2)]
    assert baselines(Examples(text_only, text_only), TOKENS, None).keys() == {UNIGRAM}
    assert baselines(Examples(text_only, text_only), TOKENS, codec)[COPY].present() == []


def test_the_input_s_tokens_are_the_codec_s(codec):
    one = example(codec, 0)
    acoustic_KF, semantic_KF = tokens_of(codec, one)
    assert np.array_equal(acoustic_KF, one.acoustic_KF) and np.array_equal(semantic_KF, one.semantic_KF)


def test_the_report_has_a_row_a_task_and_says_what_is_beaten(tmp_path, capsys):
    better, worse = scores_of(0), scores_of(0)
    worse.sums_3NSK[0] *= 2
    report(better, {UNIGRAM: worse}, {"model": "id"}, open_store(str(tmp_path)))
    saved = json.loads((tmp_path / "report.json").read_text())
    assert saved["model"] == "id" and saved["tasks"].keys() == {"sr", "tse"}
    row = saved["tasks"]["sr"]
    assert row["beaten"] == [UNIGRAM] and row["model"]["loss"] == pytest.approx(row[UNIGRAM]["loss"] / 2)
    assert row["num_tokens"] == int(better.sums_3NSK[2, 0].sum())
    printed = capsys.readouterr().out
    assert f"{row['model']['loss']:.3f}" in printed and "tse" in printed
    report(worse, {UNIGRAM: better}, {}, open_store(str(tmp_path)))
    assert json.loads((tmp_path / "report.json").read_text())["tasks"]["sr"]["beaten"] == []
