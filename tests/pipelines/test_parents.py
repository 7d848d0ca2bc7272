"""Artefacts are found by what they are, where they were said to be or anywhere below the places that are searched."""

import json
import shutil
import uuid

import pytest

from infra import corpus_manifest
from infra.dataset import open_dataset
from infra.storage import open_store
from pipelines.parents import Library


def test_a_dataset_is_found_where_it_was_and_where_it_went(dataset, tmp_path):
    wanted = open_dataset(dataset).description["id"]
    assert Library(()).dataset(wanted, dataset.url).store.url == dataset.url
    shutil.move(dataset.url, tmp_path / "moved" / "deep" / "sr")
    assert Library((str(tmp_path),)).dataset(wanted, dataset.url).store.url.endswith("deep/sr")
    assert Library(()).dataset(wanted, dataset.url) is None
    assert Library((str(tmp_path / "none"),)).dataset(wanted) is None
    assert Library((str(tmp_path),)).dataset("0" * 64) is None


def test_another_dataset_in_its_place_is_not_it(dataset):
    assert Library(()).dataset("0" * 64, dataset.url) is None


def test_a_corpus_is_found_by_its_id(corpus, tmp_path):
    wanted = corpus_manifest.read(str(corpus)).id
    assert Library(()).corpus(wanted, str(corpus)).id == wanted
    shutil.copytree(corpus, tmp_path / "there" / "corpus")
    assert Library((str(tmp_path / "there"),)).corpus(wanted, str(tmp_path / "gone")).id == wanted
    assert Library((str(tmp_path / "gone"),)).corpus(wanted) is None


def test_a_training_run_is_found_by_its_model_beside_files_of_others(tmp_path):
    for name, text in {
        "a": json.dumps({"model": "m", "parents": {"codec": "c"}}),
        "b": "{",
        "c": "[]",
        "d": "[" * 100_000,
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "finished.json").write_text(text)
    found = Library((str(tmp_path),)).run("m")
    assert found["place"].endswith("/a") and found["parents"] == {"codec": "c"}
    assert Library((str(tmp_path),)).run("n") is None


@pytest.mark.s3
def test_it_looks_on_s3_as_in_a_folder(dataset, s3):
    place = f"{s3}/{uuid.uuid4().hex}"
    there = open_store(place)
    for name in dataset.list():
        there.put(f"data/sr/{name}", dataset.get(name))
    wanted = open_dataset(dataset).description["id"]
    assert Library((place,)).dataset(wanted).store.url == f"{place}/data/sr"
