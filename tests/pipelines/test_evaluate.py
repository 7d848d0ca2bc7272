"""Models on held-out data: one table, the same bytes again, only what is missing is done, what is wrong is said."""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from infra.actors import Resources
from infra.command_line import ShardsFailed
from infra.storage import open_store
from pipelines.evaluate import Evaluate, evaluate, named
from pipelines.generation import Options
from pipelines.long_audio import Windowing
from tests.pipelines.conftest import command, finished, write_corpus
from tests.pipelines.model_bundles import make_bundle
from tests.training.token_datasets import encoded, simulated
from training.metrics.clip_table import read

CHEAP = ("si_sdr", "mel_distance", "edit_accuracy")
OPTIONS = Options(windowing=Windowing(1.0, 0.2, 0.04), max_output_s=1.0)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A model, another of the same codec, and small datasets of three tasks."""
    folder = tmp_path_factory.mktemp("evaluate")
    corpus = write_corpus(folder / "corpus")
    make_bundle(folder)
    changes = {"sr": {"duration_s": 1.0}, "ss": {"duration_s": 1.0, "third_voice_probability": 1.0}, "tta": {}}
    for name, config in changes.items():
        simulated(name, folder / "data" / name, corpus, count=4, **config)
    return folder


def config(places: Path, **changes) -> Evaluate:
    defaults = {"model": str(places / "bundle"), "data": str(places / "data"), "split": "train", "metrics": CHEAP}
    defaults |= {"clips_per_part": 2, "options": OPTIONS, "heard": 0, "resources": Resources(workers=1)}
    return Evaluate(**defaults | changes)


@pytest.fixture(scope="module")
def done(places):
    url = evaluate(config(places, out=str(places / "first")))
    return url, read(open_store(url))


@pytest.mark.cluster
@pytest.mark.slow
def test_every_example_has_a_row_for_every_system_of_its_task(done):
    frame = done[1].clips.to_pandas()
    assert frame.groupby(["task", "system"]).size().to_dict() == {
        **{("sr", name): 4 for name in ("input", "mask", "model", "oracle", "target")},
        **{("ss", name): 4 for name in ("input", "mask", "model", "oracle", "target")},
        **{("tta", name): 4 for name in ("model", "oracle", "target")},
    }
    sr = frame[(frame.task == "sr") & (frame.system != "target")]
    assert sr["metric.si_sdr"].notna().all() and "metric.edit_accuracy" not in frame  # no task here has it
    assert frame[(frame.task == "ss") & (frame.system == "model")]["reason.si_sdr"].str.contains("the example has 3").all()


@pytest.mark.cluster
@pytest.mark.slow
def test_the_description_names_parents_metrics_and_speed(done, places):
    about = done[1].description
    bundle = json.loads((places / "bundle" / "bundle.json").read_text())
    assert about["parents"]["models"]["model"]["lm"] == bundle["lm"]["id"]
    assert [one["task"] for one in about["parents"]["datasets"]] == ["sr", "ss", "tta"]
    assert about["real_time_factor"]["model"] > about["real_time_factor"]["input"] >= 0
    assert {line["stream"] for line in about["codebooks"]["oracle"]} == {"acoustic", "semantic"}
    assert about["metrics"]["si_sdr"]["better"] == "higher" and about["differences"]


@pytest.mark.cluster
@pytest.mark.slow
def test_elsewhere_with_other_workers_and_parts_the_table_has_the_same_bytes(done, places, tmp_path):
    again = evaluate(config(places, out=str(tmp_path), clips_per_part=3, resources=Resources(workers=1)))
    assert (Path(again) / "clips.parquet").read_bytes() == (Path(done[0]) / "clips.parquet").read_bytes()
    assert read(open_store(again)).id == done[1].id
    assert Path(again).name == Path(done[0]).name


@pytest.mark.cluster
@pytest.mark.slow
def test_a_killed_run_goes_on_and_judges_only_what_is_missing(done, places, tmp_path):
    words = [
        "pipelines.evaluate",
        "--model",
        places / "bundle",
        "--data",
        places / "data",
        "--split",
        "train",
        "--workers",
        "1",
    ]
    words += ["--out", tmp_path, "--metrics", *CHEAP, "--clips-per-part", "2", "--heard", "0"]
    words += ["--options.windowing.window-s", "1", "--options.windowing.context-s", "0.2", "--options.max-output-s", "1"]
    process = command(*words)
    end = time.monotonic() + 600
    while not (there := list(tmp_path.glob("*/parts/*/*.json"))) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert there and not list(tmp_path.glob("*/evaluation.json"))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/parts/*/*.json")}
    code, output = finished(command(*words))
    assert code == 0, output
    there_already = int(re.search(r"6 parts to judge, (\d+) there already", output)[1])
    assert len(before) <= there_already <= 6  # an actor outlives its driver for a moment, and may end its part
    assert all(path.stat().st_mtime_ns == mtime_ns for path, mtime_ns in before.items())
    (folder,) = tmp_path.glob("evaluation-*")
    assert (folder / "clips.parquet").read_bytes() == (Path(done[0]) / "clips.parquet").read_bytes()


@pytest.mark.cluster
def test_a_damaged_shard_is_named_and_the_others_are_judged(places, tmp_path, corpus):
    for name in ("good", "bad"):
        simulated("sr", tmp_path / "data" / name, corpus, count=2, seed=5 if name == "bad" else 6, duration_s=1.0)
    shard = tmp_path / "data" / "bad" / "shard-000000.tar"
    shard.write_bytes(shard.read_bytes()[:-2048])
    with pytest.raises(ShardsFailed, match=r"1 of 2 parts failed(.|\n)*bad/shard-000000\.tar.*truncated or changed") as caught:
        evaluate(config(places, data=str(tmp_path / "data"), out=str(tmp_path / "out")))
    assert caught.value.exit_code == 4
    assert len(list((tmp_path / "out").glob("*/parts/*/*.json"))) == 1


def test_the_driver_gives_the_device_of_the_resources_to_its_job(places, tmp_path, monkeypatch):
    jobs = []

    def stop(job, *_):
        jobs.append(job)
        raise ShardsFailed("none is judged here")

    monkeypatch.setattr("pipelines.evaluate.make", stop)
    for gpus_per_worker in (0.0, 1.0):
        with pytest.raises(ShardsFailed):
            evaluate(config(places, out=str(tmp_path), resources=Resources(gpus_per_worker=gpus_per_worker)))
    assert [job.device for job in jobs] == ["cpu", "cuda"]


def test_names_come_from_folders_or_are_given():
    assert named("data/bundle") == {"model": "data/bundle"}
    assert named("data/a,s3://b/c/") == {"a": "data/a", "c": "s3://b/c/"}
    assert named("new=data/x/bundle,old=data/y/bundle") == {"new": "data/x/bundle", "old": "data/y/bundle"}
    for wrong in ("x/bundle,y/bundle", "input=x,y"):
        with pytest.raises(ValueError, match="is taken: name each"):
            named(wrong)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": ""}, "--model is missing"),
        ({"clips_per_part": 0}, "--clips-per-part is 0"),
        ({"metrics": ("si_sd",)}, "did you mean 'si_sdr'"),
        ({"plug_in": ("utmos=/none.onnx@00",)}, "no such file"),
        ({"recogniser": "whisper"}, "--recogniser whisper"),
        ({"split": "test"}, "no finished dataset of the split 'test'(.|\n)*may have learned from"),
        ({"options": Options(chained=True)}, "chained is for the task ss alone"),
    ],
)
def test_what_is_wrong_with_a_command_is_said(places, changes, said):
    with pytest.raises(ValueError, match=said):
        evaluate(config(places, **changes))


def test_tokens_and_a_place_without_a_model_are_refused(places, tmp_path, corpus, codec_folder):
    source = simulated("sr", tmp_path / "audio", corpus, count=2, duration_s=0.6)
    encoded(source, tmp_path / "tokens", codec_folder)
    with pytest.raises(ValueError, match="a dataset of tokens: give the audio"):
        evaluate(config(places, data=str(tmp_path / "tokens")))
    with pytest.raises(FileNotFoundError, match=r"no bundle\.json here"):
        evaluate(config(places, model=str(tmp_path)))
    with pytest.raises(ValueError, match="--model is missing"):
        Evaluate()
