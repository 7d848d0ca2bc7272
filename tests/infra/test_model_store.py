"""A model lies under the hash of its files, whole or not there, and is held to its hashes when it is fetched."""

import json
import uuid

import pytest

from infra.model_store import MARK, ModelStore
from infra.storage import FolderStore, open_store

FILES = {"bundle.json": b"{}", "codec/model.safetensors": b"codec" * 100, "lm/model.safetensors": b"lm" * 100}


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def models(request, tmp_path):
    url = str(tmp_path / "models") if request.param == "folder" else f"{request.getfixturevalue('s3')}/{uuid.uuid4().hex}"
    return ModelStore(open_store(url))


@pytest.fixture
def source(tmp_path):
    return made(tmp_path / "source")


def made(folder, **changes: bytes):
    store = open_store(str(folder))
    for name, data in (FILES | changes).items():
        store.put(name, data)
    return store


def test_a_model_comes_back_as_it_was_added(models, source):
    model = models.add(source, {"run": "r"})
    folder = models.fetch(model)
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    assert models.read(model).about == {"run": "r"} and models.ids() == [model]


def test_the_same_model_has_the_same_id_and_its_first_description_stays(models, source, tmp_path):
    model = models.add(source, {"run": "first"})
    assert models.add(made(tmp_path / "copy"), {"run": "second"}) == model
    assert models.read(model).about == {"run": "first"}
    assert models.add(made(tmp_path / "other", **{"bundle.json": b"[]"}), {}) != model


class Killed(Exception):
    pass


@pytest.mark.parametrize("puts", range(len(FILES) + 1))
def test_killed_at_every_file_it_is_not_there_and_a_rerun_makes_it_whole(tmp_path, source, puts, monkeypatch):
    place = FolderStore(tmp_path / "models")
    real, count = FolderStore.put, iter(range(100))

    def put(self, name, data):
        if next(count) == puts:
            raise Killed
        real(self, name, data)

    monkeypatch.setattr(FolderStore, "put", put)
    monkeypatch.setattr(FolderStore, "create", lambda self, name, data: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        ModelStore(place).add(source, {})
    assert ModelStore(place).ids() == []
    monkeypatch.undo()
    model = ModelStore(place).add(source, {})
    assert ModelStore(place).fetch(model).name == model


def test_what_is_damaged_missing_or_unfinished_is_named(models, source):
    model = models.add(source, {})
    place = models.store.child(model)
    good = place.get("lm/model.safetensors")
    place.put("lm/model.safetensors", b"LM" + good[2:])
    with pytest.raises(ValueError, match=r"lm/model\.safetensors: its sha256"):
        models.fetch(model)
    place.delete("lm/model.safetensors")
    with pytest.raises(ValueError, match=r"lm/model\.safetensors: missing"):
        models.check(model)
    mark = json.loads(place.get(MARK))
    place.put(MARK, json.dumps(mark | {"id": "0" * 16}).encode())
    with pytest.raises(ValueError, match="describes another model"):
        models.read(model)
    place.delete(MARK)
    with pytest.raises(ValueError, match=rf"no {MARK} here"):
        models.read(model)


def test_a_half_copied_file_is_mended_by_adding_the_model_again(tmp_path, source):
    models = ModelStore(open_store(str(tmp_path / "models")))
    model = models.add(source, {})
    place = models.store.child(model)
    place.delete(MARK)
    place.put("bundle.json", b"{ ")
    place.put("lm/model.safetensors", b"x" * 200)
    assert models.add(source, {}) == model and models.fetch(model)
