"""The command trains a real model on real tokens: it ends with a model and a report, goes on after a kill bit for bit."""

import json
import os
import signal
import time
import uuid
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from infra import tracking
from infra.dataset import open_dataset
from infra.model_folder import CONFIG, WEIGHTS
from infra.storage import open_store
from lm.model import UnifiedLM
from pipelines import train_lm
from pipelines.audio_streams import ArrayAudio
from pipelines.audio_streams import whole as whole_of
from pipelines.bundle import Bundle
from pipelines.generation import Options, Request
from tests.codec.samples import FIXED, make
from tests.pipelines.conftest import command, finished, write_corpus
from tests.training.token_datasets import encoded, rewritten, simulated
from training.data.token_config import TokenData

SHAPE = ["--model.decoder.width", "32", "--model.decoder.num-layers", "2", "--model.decoder.num-heads", "2"]
SHAPE += ["--model.decoder.feed-forward-width", "48"]
OPTIONS = [*SHAPE, "--examples.logical-workers", "2", "--examples.bucket-steps", "2", "--training.batch-size", "4"]
OPTIONS += ["--validation-steps", "3", "--validation-examples", "2", "--judged-examples", "4", "--checkpoint-steps", "2"]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Tokens to train on and to judge with, of three tasks, and their codec."""
    folder = tmp_path_factory.mktemp("data")
    corpus = write_corpus(folder / "corpus")
    make(FIXED).save_pretrained(folder / "codec")
    for name, config in {"sr": {}, "lass": {"noise_probability": 0.0}, "tse": {}}.items():
        for seed, split in ((0, "train"), (1, "test")):
            audio = simulated(name, folder / "audio" / split / name, corpus, count=4, seed=seed, duration_s=0.6, **config)
            encoded(audio, folder / split / name, folder / "codec", split=split)
    return folder


def options(places, *more):
    return ["--data", places / "train", "--held-out", places / "test", *OPTIONS, *more]


def trained(*arguments, code=0):
    """What the command says, run in a process of its own."""
    found, output = finished(command("pipelines.train_lm", *arguments, environment={"OMP_NUM_THREADS": "1"}))
    assert found == code, output
    return output


def curve(out):
    changing = ("time", "tokens_per_s")
    return [{name: value for name, value in line.items() if name not in changing} for line in tracking.read(out)]


def weights(out):
    return load_file(out / "model/model.safetensors")


def assert_equal_models(out, other):
    expected, found = weights(other), weights(out)
    assert expected.keys() == found.keys() and all(np.array_equal(expected[name], found[name]) for name in expected)


@pytest.fixture(scope="module")
def whole(places, tmp_path_factory):
    """A run from start to end, and what it said."""
    out = tmp_path_factory.mktemp("whole") / "run"
    output = trained("tiny", *options(places, "--out", out, "--steps", "6", "--codec", places / "codec"))
    return out, output


@pytest.mark.slow
def test_a_run_ends_with_a_curve_a_model_and_a_report(whole, places):
    out, output = whole
    lines = curve(out)
    assert [line["step"] for line in lines] == list(range(7))
    assert all(
        {"loss", "accuracy", "gradient_norm", "padding_share", "loss/layer/acoustic-0"} <= line.keys() for line in lines[1:]
    )
    assert [line["step"] for line in lines if "valid/loss" in line] == [0, 3, 6]
    assert {"valid/loss/task/sr", "valid/accuracy/task/lass", "valid/loss/layer/semantic-1"} <= lines[3].keys()
    model = UnifiedLM.from_pretrained(out / "model")
    assert model.config.tokens.codebook_size == 32 and len(model.config.tokens.codec) == 64
    saved = json.loads((out / "report.json").read_text())
    assert saved["tasks"].keys() == {"sr", "lass", "tse"}
    for row in saved["tasks"].values():
        assert {"model", "unigram", "copy of the input", "beaten", "num_tokens"} == row.keys()
        assert row["model"]["layers"].keys() == {"acoustic-0", "acoustic-1", "acoustic-2", "semantic-0", "semantic-1"}
        assert 0 < row["unigram"]["loss"] < np.log(40)
    assert "copy of the input" in output and "lass" in output
    assert (out / "checkpoints/best.json").exists()


@pytest.mark.slow
def test_a_finished_run_says_so(whole, places):
    out, _ = whole
    before = (out / "metrics.jsonl").read_bytes()
    assert f"{out}: trained before" in trained("--config", out / "run.json")
    assert (out / "metrics.jsonl").read_bytes() == before


@pytest.mark.slow
def test_killed_after_a_checkpoint_and_rerun_it_is_the_same_run(whole, places, tmp_path):
    arguments = ["tiny", *options(places, "--out", tmp_path / "run", "--steps", "6", "--no-report")]
    process = command("pipelines.train_lm", *arguments, environment={"OMP_NUM_THREADS": "1"})
    while not any(line["step"] >= 3 for line in tracking.read(tmp_path / "run")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    trained(*arguments)
    assert curve(tmp_path / "run") == curve(whole[0])
    assert_equal_models(tmp_path / "run", whole[0])


@pytest.mark.slow
def test_a_run_starts_with_the_weights_of_another(whole, places, tmp_path):
    options_of = options(places, "--out", tmp_path / "run", "--steps", "1", "--engine.learning-rate", "1e-9", "--no-report")
    trained("tiny", *options_of, "--init", whole[0] / "model", "--engine.weight-decay", "0")
    before, after = weights(whole[0]), weights(tmp_path / "run")
    assert all(np.abs(before[name] - after[name]).max() < 1e-7 for name in before)


def adversarial(places, whole, out):
    words = ["--init", whole[0] / "model", "--adversarial.form", "relgan", "--adversarial.window-frames", "10"]
    words += ["--adversarial.discriminator.segments", "2", "--adversarial.head-start", "1", "--steps", "6", "--no-report"]
    return ["tiny", *options(places, "--out", out, *words)]


@pytest.mark.slow
def test_adversarial_fine_tuning_killed_and_rerun_is_the_same_run(whole, places, tmp_path):
    trained(*adversarial(places, whole, tmp_path / "one"))
    lines = curve(tmp_path / "one")
    assert {"adversarial/discriminator", "adversarial/generator", "gradient_norm/discriminator"} <= lines[-1].keys()
    arguments = adversarial(places, whole, tmp_path / "other")
    process = command("pipelines.train_lm", *arguments, environment={"OMP_NUM_THREADS": "1"})
    while not any(line["step"] >= 3 for line in tracking.read(tmp_path / "other")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    trained(*arguments)
    assert curve(tmp_path / "other") == lines
    assert_equal_models(tmp_path / "one", tmp_path / "other")
    others = ["--adversarial.discriminator.segments", "3", "--adversarial.window-frames", "15"]
    assert "another configuration" in trained(*arguments, *others, code=2)


@pytest.mark.slow
def test_a_model_that_copies_is_trained_judged_and_put_to_work(places, tmp_path):
    for split in ("train", "test"):
        audio = open_dataset(open_store(str(places / "audio" / split / "lass")))
        encoded(audio, tmp_path / split, places / "codec", split=split, input_codes=True)
    out, steps = tmp_path / "run", ("--steps", "4", "--codec", places / "codec", "--model.copies")
    said = trained("tiny", "--data", tmp_path / "train", "--held-out", tmp_path / "test", *OPTIONS, "--out", out, *steps)
    assert "copy of the input" in said and UnifiedLM.from_pretrained(out / "model").config.copies
    Bundle.create(places / "codec", out / "model", tmp_path / "bundle")
    generator = Bundle.open(tmp_path / "bundle", device="cpu").generator
    given = ArrayAudio.of(np.random.default_rng(0).normal(0, 0.1, (1, 8000)).astype(np.float32), 16000, "x")
    found = whole_of(generator.stream(Request("lass", given, None, "rain"), Options()))
    assert found.shape == (1, 1, 8000) and np.isfinite(found).all()


@pytest.mark.slow
def test_a_few_real_examples_are_learnt_by_heart(places, tmp_path):
    more = [
        "--engine.learning-rate",
        "5e-3",
        "--label-smoothing",
        "0",
        "--condition-dropout",
        "0",
        "--training.schedule.warmup-steps",
        "10",
    ]
    more += ["--validation-steps", "0", "--no-report", "--checkpoint-steps", "1000", "--steps", "150"]
    data = ["--data", places / "train" / "sr", *OPTIONS, "--training.ema-decay", "0"]
    trained("tiny", *data, "--out", tmp_path / "run", *more)
    assert max(line["accuracy"] for line in curve(tmp_path / "run")) > 0.95


def job(places, *arguments):
    preset, config = train_lm.chosen(
        train_lm.presets(), [str(word) for word in options(places, *arguments)], default="tiny", prog="train_lm"
    )
    return train_lm.job_of(config, preset)


def test_the_folder_s_name_is_that_of_configuration_and_data(places):
    assert job(places).run.path == job(places, "--minutes", "3").run.path
    assert job(places).run.path.startswith("data/lm-tiny-")
    assert job(places).run.path != job(places, "--seed", "1").run.path
    assert job(places).model.tokens.codebook_size == 32


@pytest.mark.s3
def test_the_same_start_on_s3_is_the_same_run(places, tmp_path, s3):
    """And every rank finds it: what they are sent names no place of the machine of the command."""
    job(places).untrained().save_pretrained(tmp_path / "lm")
    place = f"{s3}/{uuid.uuid4().hex}/lm"
    for name in (CONFIG, WEIGHTS):
        train_lm.open_store(place).put(name, (tmp_path / "lm" / name).read_bytes())
    other, found = job(places, "--init", tmp_path / "lm"), job(places, "--init", place)
    assert (found.run, found.config.init) == (other.run, place)
    assert "/quarkline-model-" not in repr(found)
    weights_of, expected = found.untrained().state_dict(), other.untrained().state_dict()
    assert all(torch.equal(weights_of[name], tensor) for name, tensor in expected.items())


@pytest.mark.slow
def test_intervals_and_what_is_kept_change_nothing_of_the_model(whole, places, tmp_path):
    """So that a retraining with others of them is the same retraining (pipelines/retrain_config.py)."""
    more = ["--checkpoint-steps", "4", "--validation-steps", "0", "--keep.last", "1", "--validation-examples", "1"]
    more += ["--examples.threads", "3", "--examples.prefetch-steps", "1", "--peak-tflops", "1"]
    trained("tiny", *options(places, "--out", tmp_path / "run", "--steps", "6", "--no-report"), *more)
    assert_equal_models(tmp_path / "run", whole[0])


def test_what_is_wrong_is_said_before_training(places, tmp_path):
    with pytest.raises(ValueError, match="no preset 'tinny': did you mean 'tiny'"):
        train_lm.chosen(train_lm.presets(), ["tinny"], default="tiny", prog="train_lm")
    with pytest.raises(ValueError, match="name --data"):
        train_lm.train_lm(train_lm.presets()["tiny"], "tiny")
    with pytest.raises(ValueError, match="tokens of another codec: codebook_size 32, the model has 64"):
        job(
            places, "--model.tokens.codebook-size", "64", "--model.tokens.num-acoustic", "3", "--model.tokens.num-semantic", "2"
        )
    with pytest.raises(ValueError, match="of the split 'train' of its corpus, test or valid is wanted here"):
        job(places, "--held-out", places / "train")
    with pytest.raises(ValueError, match="of the split 'test' of its corpus, train is wanted here"):
        job(places, "--data", places / "test")
    with pytest.raises(ValueError, match="was not trained for task"):
        job(places, "--model.tasks", "sr", "tse")
    make(FIXED, seed=1).save_pretrained(tmp_path / "codec")
    with pytest.raises(ValueError, match="another codec than the one of the tokens"):
        job(places, "--codec", tmp_path / "codec")
    with pytest.raises(ValueError, match=r"give a multiple of --examples\.logical-workers"):
        replace(train_lm.presets()["tiny"], examples=TokenData(logical_workers=3))
    with pytest.raises(ValueError, match="give a folder of this machine"):
        replace(train_lm.presets()["tiny"], out="s3://bucket/run")
    with pytest.raises(ValueError, match=r"--adversarial\.form relgan fine-tunes a trained model: name it with --init"):
        job(places, "--adversarial.form", "relgan")
    with pytest.raises(ValueError, match="without the inputs' tokens, which this model copies"):
        job(places, "--model.copies")
    with pytest.raises(ValueError, match="3 ranks"):
        job(places, "--workers", "3", "--training.batch-size", "6")


def test_tokens_of_two_codecs_are_not_mixed(places, tmp_path):
    def change(rows, description):
        description["codec"] = description["codec"] | {"id": "0" * 64}

    store = open_dataset(train_lm.open_store(str(places / "train" / "sr"))).store
    other = rewritten(store, tmp_path / "other", change)
    with pytest.raises(ValueError, match=f"{other.url}: tokens of another codec: codec '0000"):
        job(places, "--data", f"{places / 'train'},{other.url}")
