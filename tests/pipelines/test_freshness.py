"""New data are found by what they are, not by where they lie; what cannot serve is said."""

import json
import shutil
from dataclasses import replace

import pyarrow as pa
import pytest

from infra import corpus_manifest
from infra.dataset import DESCRIPTION
from pipelines.freshness import finished_corpora, look, simulation
from pipelines.retrain_config import Data
from tests.pipelines.conftest import contents


@pytest.fixture
def data(corpus, tmp_path) -> Data:
    shutil.copytree(corpus, tmp_path / "corpora" / "first")
    return Data((str(tmp_path / "corpora"),), out=str(tmp_path / "data"), tasks=("sr", "tse"), count=10, block=4)


def part(source, folder, keep):
    """A corpus of some of another's rows, the audio where it was."""
    corpus = corpus_manifest.read(str(source))
    rows = corpus.table.filter(pa.array([keep(row) for row in corpus.table.to_pylist()]))
    return corpus_manifest.write(rows, str(folder), root=corpus.root)


def test_every_stretch_of_examples_of_every_corpus_and_task_is_an_input(data):
    found = look(data)
    assert len(found.inputs) == 6 and len({one.key for one in found.inputs}) == 6
    assert sorted((one.task, one.first, one.count) for one in found.inputs)[:3] == [("sr", 0, 4), ("sr", 4, 4), ("sr", 8, 2)]
    assert found.unseen([one.key for one in found.inputs]) == [] and len(found.unseen([])) == 6


def test_more_examples_leave_those_that_are_there(data):
    seen = [one.key for one in look(replace(data, count=8)).inputs]
    new = look(replace(data, count=12)).unseen(seen)
    assert {(one.first, one.count) for one in new} == {(8, 4)}


def test_a_moved_corpus_is_not_new_and_a_new_one_is(data, corpus, tmp_path):
    seen = [one.key for one in look(data).inputs]
    shutil.move(tmp_path / "corpora", tmp_path / "moved")
    moved = replace(data, corpora=(str(tmp_path / "moved"),))
    assert look(moved).unseen(seen) == []
    part(corpus, tmp_path / "moved" / "second", lambda row: row["speaker"] != "s0")
    assert {one.name for one in look(moved).unseen(seen)} == {"second"}
    part(corpus, tmp_path / "moved" / "half" / "third", lambda row: True)
    (tmp_path / "moved" / "half" / "third" / "manifest.parquet").unlink()
    assert len(finished_corpora(str(tmp_path / "moved"))) == 2  # what is not finished is not there yet


def test_what_a_corpus_cannot_serve_is_said_and_left_out(data, corpus, tmp_path):
    part(corpus, tmp_path / "corpora" / "noises", lambda row: row["role"] == "noise")
    found = look(data)
    assert all(one.place.endswith("corpora/first") for one in found.inputs)
    assert len(found.left_out) == 2 and all("noises" in line for line in found.left_out)
    with pytest.raises(ValueError, match=r"nothing to train on: .*\n  sr: corpus"):
        look(replace(data, corpora=(str(tmp_path / "corpora" / "noises"),)))
    with pytest.raises(ValueError, match="no finished corpus here"):
        look(replace(data, corpora=(str(tmp_path / "none"),)))
    with pytest.raises(ValueError, match="nothing to train on"):
        look(Data())


def test_a_finished_dataset_is_an_input_wherever_it_lies(data, dataset, tmp_path):
    of = replace(data, corpora=(), datasets=(dataset.url,))
    (found,) = look(of).inputs
    shutil.copytree(dataset.url, tmp_path / "copies" / "sr-copy")
    assert look(replace(of, datasets=(str(tmp_path / "copies"), dataset.url))).inputs[0].key == found.key
    assert found.parent in found.key and found.task == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"split": "test"}, r"of the split 'test', data\.split is 'train'"),
        ({"task": "denoise"}, "of the task 'denoise'; the language model has sr, tse"),
        ({"sample_rate_hz": 8000}, r"at 16000 Hz, data\.sample_rate_hz is 8000, which must be the codec's rate"),
    ],
)
def test_a_dataset_that_cannot_serve_is_said_and_left_out(data, dataset, tmp_path, change, said):
    of = replace(data, corpora=(), datasets=(dataset.url,))
    good = shutil.copytree(dataset.url, tmp_path / "good")
    if rate_hz := change.pop("sample_rate_hz", None):
        of = replace(of, sample_rate_hz=rate_hz)
    about = json.loads(dataset.get(DESCRIPTION))
    dataset.put(DESCRIPTION, json.dumps(about | {"recipe": about["recipe"] | change}).encode())
    with pytest.raises(ValueError, match=f"nothing to train on: .*\n  {dataset.url}: {said}"):
        look(of, ("sr", "tse"))
    if not rate_hz:
        found = look(replace(of, datasets=(dataset.url, str(good))), ("sr", "tse"))
        assert [one.place for one in found.inputs] == [str(good)] and len(found.left_out) == 1


def test_a_dataset_of_a_task_that_the_model_has_not_learned_is_left_out(data, dataset):
    of = replace(data, corpora=(), datasets=(dataset.url,))
    with pytest.raises(ValueError, match="of the task 'sr'; the language model has tse"):
        look(of, ("tse",))


def test_ranges_of_the_file_are_those_that_are_simulated(data):
    of = replace(data, ranges={"sr": {"duration_s": 0.6}})
    config, task = simulation(of, next(one for one in look(of).inputs if one.task == "sr"))
    assert task == "sr" and config.task.duration_s == 0.6 and config.count in (2, 4)
    assert {one.key for one in look(of).inputs} != {one.key for one in look(data).inputs}
    with pytest.raises(ValueError, match=r"data\.ranges\.sr: unknown option 'durations', did you mean 'duration_s'"):
        look(replace(data, ranges={"sr": {"durations": 1}}))


def test_nothing_is_made_by_looking(data, tmp_path):
    before = contents(tmp_path)
    look(data)
    assert contents(tmp_path) == before
