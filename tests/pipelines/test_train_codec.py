"""The command trains a real codec on real files: it ends with a model, goes on after a kill bit for bit, says what is wrong."""

import dataclasses
import hashlib
import json
import os
import signal
import sys
import time

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch
from safetensors.numpy import load_file

from codec.model import Codec
from infra import corpus_manifest, tracking
from pipelines import train_codec
from pipelines.train_run import chosen
from tests.pipelines.conftest import RATE_HZ, command, finished, voice
from tests.training.ranks import run_ranks
from training.budget import State

OPTIONS = ["--clips.logical-workers", "2", "--clips.crop-s", "0.4", "--training.batch-size", "4", "--adversarial-start", "2"]
OPTIONS += ["--validation-steps", "3", "--validation.per-domain", "1", "--checkpoint-steps", "2", "--steps", "6", "--no-report"]


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    """Six voices, of which one is held out."""
    folder, rows = tmp_path_factory.mktemp("voices"), []
    for speaker in range(6):
        for clip in range(2):
            name, wave = f"s{speaker}-{clip}", voice(10 * speaker + clip, 90 + 30 * speaker, 1.5)
            path = folder / f"{name}.flac"
            soundfile.write(path, np.clip(wave, -0.99, 0.99), RATE_HZ, subtype="PCM_16")
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            row = {"id": name, "path": path.name, "licence": "CC0 1.0", "role": "speech", "speaker": f"s{speaker}"}
            split = "test" if speaker == 5 else "train"
            rows.append(row | {"split": split, "sample_rate_hz": RATE_HZ, "num_frames": wave.size, "sha256": sha256})
    corpus_manifest.write(pa.Table.from_pylist(rows), str(folder))
    return folder


def trained(*arguments, code=0):
    """What the command says, run in a process of its own."""
    found, output = finished(command("pipelines.train_codec", *arguments, environment={"OMP_NUM_THREADS": "1"}))
    assert found == code, output
    return output


def parsed(*arguments):
    """The configuration of the preset tiny with these options."""
    return chosen(train_codec.presets(), ["tiny", *map(str, arguments)], default="tiny", prog="test")[1]


def curve(out):
    return [{name: value for name, value in line.items() if name != "time"} for line in tracking.read(out)]


def assert_equal_models(out, other):
    expected, found = (load_file(folder / "model/model.safetensors") for folder in (other, out))
    assert expected.keys() == found.keys() and all(np.array_equal(expected[name], found[name]) for name in expected)


@pytest.fixture(scope="module")
def whole(voices, tmp_path_factory):
    """A run from start to end."""
    out = tmp_path_factory.mktemp("whole") / "run"
    trained("tiny", "--corpus", voices, "--out", out, *OPTIONS)
    return out


@pytest.mark.slow
def test_a_run_ends_with_a_curve_a_model_and_checkpoints(whole, voices):
    lines = curve(whole)
    assert [line["step"] for line in lines] == list(range(7))
    assert all({"loss/generator", "codebook/acoustic/0/perplexity"} <= line.keys() for line in lines[1:])
    assert [line["step"] for line in lines if "valid/mel_distance" in line] == [0, 3, 6]
    assert "loss/discriminator" not in lines[1] and "loss/discriminator" in lines[2]
    codec = Codec.from_pretrained(whole / "model")
    assert codec.config == train_codec.presets()["tiny"].model and bool(codec.acoustic_quantiser.initialised.all())
    assert sorted(path.name for path in (whole / "checkpoints").glob("step-*")) == [f"step-0000000{n}" for n in (2, 4, 6)]
    saved = json.loads((whole / "run.json").read_text())
    assert saved["task"] == "tiny" and saved["config"]["corpus"] == str(voices)
    manifest = json.loads((whole / "checkpoints/step-00000006/manifest.json").read_text())["manifest"]
    assert len(manifest["parents"]["corpora"]) == 1 and manifest["parents"]["code"]


@pytest.mark.slow
def test_a_finished_run_says_so_and_its_saved_configuration_finds_it(whole, voices):
    before = (whole / "metrics.jsonl").read_bytes()
    output = trained("--config", whole / "run.json")
    assert f"{whole}: trained before; give more --steps or --minutes to go on" in output
    assert (whole / "metrics.jsonl").read_bytes() == before


@pytest.mark.slow
def test_killed_after_a_checkpoint_and_rerun_it_is_the_same_run(whole, voices, tmp_path):
    arguments = ("tiny", "--corpus", voices, "--out", tmp_path / "run", *OPTIONS)
    for step in (3, 5):  # past the checkpoints at 2 and 4
        process = command("pipelines.train_codec", *arguments, environment={"OMP_NUM_THREADS": "1"})
        while not any(line["step"] >= step for line in tracking.read(tmp_path / "run")):
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    trained(*arguments)
    assert curve(tmp_path / "run") == curve(whole)
    assert_equal_models(tmp_path / "run", whole)


@pytest.mark.slow
def test_a_run_that_is_asked_to_stop_saves_and_goes_on_as_the_same_run(whole, voices, tmp_path):
    arguments = ("tiny", "--corpus", voices, "--out", tmp_path / "run", *OPTIONS, "--checkpoint-steps", "1000")
    process = command("pipelines.train_codec", *arguments, environment={"OMP_NUM_THREADS": "1"})
    while len(tracking.read(tmp_path / "run")) < 2:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    code, output = finished(process)
    assert code == 75 and "is saved; the same command goes on" in output and "error:" not in output, output
    assert not (tmp_path / "run/model").exists()
    trained(*arguments)
    assert curve(tmp_path / "run") == curve(whole)
    assert_equal_models(tmp_path / "run", whole)


@pytest.mark.slow
def test_two_ranks_of_torchrun_go_on_where_one_has_ended(voices, tmp_path):
    arguments = ["tiny", "--corpus", str(voices), "--out", str(tmp_path / "run"), *OPTIONS, "--training.micro-batch-size", "2"]
    arguments += ["--validation-steps", "0"]
    trained(*arguments, "--steps", "2")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    words = [*launcher, "--rdzv-endpoint", "127.0.0.1:0", "-m", "pipelines.train_codec", *arguments, "--steps", "4"]
    code, output = finished(command(*words[2:], environment={"OMP_NUM_THREADS": "1"}))
    assert code == 0, output
    trained(*arguments[:3], "--out", tmp_path / "alone", *arguments[5:], "--steps", "4")
    pairs = list(zip(curve(tmp_path / "run"), curve(tmp_path / "alone"), strict=True))
    assert [first["step"] for first, _ in pairs] == [1, 2, 3, 4]
    for first, second in pairs:
        assert first["loss/mel"] == pytest.approx(second["loss/mel"], rel=1e-4)


@pytest.mark.slow
def test_shards_alone_are_trained_on_without_a_report(dataset, tmp_path):
    options = [word for word in OPTIONS if word != "--no-report"]
    output = trained("tiny", "--data", dataset.url, "--out", tmp_path / "run", *options, "--steps", "2")
    assert "no report: there are no held-out clips without a corpus" in output
    assert [line["step"] for line in curve(tmp_path / "run")] == [1, 2]


@pytest.mark.slow
def test_a_run_ends_with_a_report_beside_the_untrained_codec(whole, voices, tmp_path):
    options = [word for word in OPTIONS if word != "--no-report"] + ["--judged.seconds", "1.0", "--judged.per-domain", "1"]
    trained("tiny", "--corpus", voices, "--out", whole, *options)
    found = json.loads((whole / "report.json").read_text())
    assert {"codec", "step 0"} <= set(found["systems"]) and (whole / "report.html").stat().st_size > 10_000


@pytest.mark.slow
def test_another_configuration_in_the_folder_of_a_run_is_refused(whole, voices):
    output = trained("tiny", "--corpus", voices, "--out", whole, *OPTIONS, "--seed", "7", "--steps", "8", code=2)
    assert "another configuration: training.seed was 0 and is now 7; give the same values to go on" in output
    assert [line["step"] for line in curve(whole)] == list(range(7))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tny"], "no preset 'tny': did you mean 'tiny'?"),
        (["xxxxx"], "no preset 'xxxxx': there are tiny, small, hcodec-1.0"),
        (["tiny", "--corpus", "/nowhere"], "/nowhere: no such folder"),
        (["tiny", "--data", "/nowhere"], "/nowhere: no finished dataset here"),
        (["tiny", "--clips.num-channels", "2"], "--clips.num-channels is 2: give 1. A codec is trained on mono clips"),
        (
            ["tiny", "--workers", "16", "--training.batch-size", "16"],
            "16 ranks: raise --clips.logical-workers, which is 8, to 16 or a multiple of it",
        ),
        (["tiny", "--training.micro-batch-size", "3"], "micro-batch-size is 3"),
        (["tiny", "--workers", "3"], "batch-size is 8: give a multiple of the 3 ranks"),
        (
            ["tiny", "--workers", "3", "--training.batch-size", "24"],
            "3 ranks: give a number that divides --clips.logical-workers",
        ),
        (["tiny", "--model.teacher.kind", "transformers", "--model.teacher.source", "/nowhere/hubert"], "/nowhere/hubert"),
        (
            ["tiny", "--model.teacher.kind", "transformers", "--model.teacher.source", "/nowhere/hubert"],
            "--model.teacher.kind log-mel trains without any teacher's weights",
        ),
    ],
)
def test_a_mistake_is_told_before_anything_starts(arguments, message, tmp_path):
    with pytest.raises((ValueError, OSError)) as caught:
        train_codec.main([*arguments, "--out", str(tmp_path / "run")] if "-" in "".join(arguments[1:]) else arguments)
    assert message in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--training.batch-size", "12"],
            "--training.batch-size is 12: give a multiple of --clips.logical-workers, which is 8",
        ),
        (
            ["--out", "s3://bucket/run"],
            "--out s3://bucket/run: give a folder of this machine; --checkpoints takes an s3:// prefix",
        ),
        (["--training.seeed", "1"], "--training.seed"),
    ],
)
def test_an_option_that_cannot_be_ends_the_command_with_code_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        train_codec.main(["tiny", *arguments])
    assert caught.value.code == 2
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert message in said


def test_every_preset_can_be_trained_by_its_numbers():
    presets = train_codec.presets()
    assert list(presets)[:3] == ["tiny", "small", "hcodec-1.0"]
    for config in presets.values():
        assert config.recipe.training.micro_batch(1) >= 1
        assert config.model.sample_rate_hz * config.clips.crop_s >= config.model.samples_per_frame


def test_the_folder_is_named_after_all_that_decides_the_codec(voices, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def folder(*arguments):
        return train_codec.job_of(parsed("--corpus", str(voices), *arguments), "tiny").run.path

    assert folder().startswith("data/codec-tiny-") and len(folder()) == len("data/codec-tiny-") + 12
    assert folder() == folder("--steps", "7", "--checkpoint-steps", "3", "--workers", "2", "--no-report")
    others = [("--training.seed", "1"), ("--model.latent-width", "64"), ("--generator.learning-rate", "1e-4")]
    assert len({folder(), *(folder(*other) for other in others)}) == 4


def test_a_published_preset_trains_without_its_teacher_as_the_message_says(voices, tmp_path):
    config = train_codec.presets()["hcodec-1.0"]
    teacher = dataclasses.replace(config.model.teacher, kind="log-mel")
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, teacher=teacher), corpus=str(voices))
    assert (
        train_codec.job_of(dataclasses.replace(config, out=str(tmp_path)), "hcodec-1.0").config.model.teacher.kind == "log-mel"
    )


def test_on_a_cluster_a_relative_folder_is_refused_before_ray_is_asked(voices, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(ValueError, match="--out runs/a, and RAY_ADDRESS is set: give the absolute path"):
        train_codec.main(["tiny", "--corpus", str(voices), "--out", "runs/a", "--workers", "2"])


def begun_by(voices, place):
    """How often this rank of torchrun makes the job, where only the first one sees a finished run on its own disk."""
    rank = torch.distributed.get_rank()
    (place / str(rank)).mkdir(parents=True)
    calls, job_of = [], train_codec.job_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RANK", str(rank))
        patch.setenv("WORLD_SIZE", "2")
        patch.chdir(place / str(rank))
        patch.setattr(train_codec, "job_of", lambda *arguments: calls.append(arguments) or job_of(*arguments))
        config = parsed("--corpus", voices, "--out", "run", "--steps", "5", "--no-report")
        if rank == 0:
            job_of(config, "tiny").run.publish(Codec(config.model), State(step=5))
        train_codec.train_codec(config, "tiny")
    return len(calls), os.listdir(place / str(rank))


def test_under_torchrun_the_first_rank_alone_looks_at_the_data_and_decides_for_all(voices, tmp_path):
    assert run_ranks(begun_by, 2, tmp_path / "ranks", voices, tmp_path / "disks") == [(1, ["run"]), (0, [])]
