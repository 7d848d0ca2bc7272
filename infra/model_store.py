"""Models by what they are: a model's folder has the name of its hash, its description is put last.

<models>/<id>/
    codec/ lm/ ...   the files of a bundle
    model.json       name, size and sha256 of each, and what the model comes from; put last: without it there is no model
"""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from infra.shards import encode_json
from infra.storage import Store

MARK = "model.json"
ID_DIGITS = 16


class File(msgspec.Struct, frozen=True):
    """A file of a model."""

    sha256: str
    num_bytes: int


class Model(msgspec.Struct, frozen=True):
    """What model.json says."""

    id: str
    files: dict[str, File]
    about: dict[str, Any]


class ModelStore:
    """Models that are never changed. ValueError for one that is not there, or not what its description says."""

    def __init__(self, store: Store):
        self.store = store

    def add(self, source: Store, about: dict[str, Any]) -> str:
        """Copy the model at `source` file by file; its id. The same once more changes nothing, its first `about` stays."""
        files = files_of(source)
        model = identity(files)
        place = self.store.child(model)
        if not place.exists(MARK):
            there = place.list()
            for name in files:
                if there.get(name) != files[name].num_bytes or _described(place.get(name)) != files[name]:
                    place.put(name, source.get(name))
            place.create(MARK, encode_json(msgspec.to_builtins(Model(model, files, about))))
        return model

    def read(self, model: str) -> Model:
        """The description of a model."""
        where = f"{self.store.url}/{model}"
        try:
            found = msgspec.json.decode(self.store.child(model).get(MARK), type=Model)
        except FileNotFoundError:
            raise ValueError(f"{where}: no {MARK} here: no such model, or one that was not copied to the end") from None
        except msgspec.MsgspecError as error:
            raise ValueError(f"{where}/{MARK}: {error}; add the model again") from error
        if found.id != model or identity(found.files) != model:
            raise ValueError(f"{where}/{MARK}: describes another model; add the model again")
        return found

    def ids(self) -> list[str]:
        """Of all models that are there to the end."""
        parts = (name.split("/") for name in self.store.list())
        return [name[0] for name in parts if name[1:] == [MARK]]

    def check(self, model: str) -> Model:
        """Its description, if every file is there with its size; the bytes are hashed when it is fetched."""
        found, there = self.read(model), self.store.child(model).list()
        for name, file in found.files.items():
            if there.get(name) != file.num_bytes:
                raise ValueError(f"{self.store.url}/{model}/{name}: missing, or not {file.num_bytes} bytes: restore it")
        return found

    def fetch(self, model: str) -> Path:
        """A folder of this machine with the model's files, each held to its hash: the store's own, or links to copies."""
        place, found = self.store.child(model), self.check(model)
        places = {name: Path(place.local_path(name)) for name in found.files}
        for name, file in found.files.items():
            with open(places[name], "rb") as opened:
                if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
                    raise ValueError(f"{place.url}/{name}: its sha256 is not the one in {MARK}: damaged; restore it")
        if "://" not in place.url:
            return Path(place.url)
        folder = Path(tempfile.mkdtemp(prefix="quarkline-model-"))
        for name, path in places.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(path)
        return folder


def files_of(source: Store) -> dict[str, File]:
    """All files at a place. ValueError if there are none."""
    files = {name: _described(source.get(name)) for name in source.list()}
    if not files:
        raise ValueError(f"{source.url}: no model here")
    return files


def identify(source: Store) -> str:
    """The id that the model at `source` has in every store."""
    return identity(files_of(source))


def identity(files: dict[str, File]) -> str:
    """Hash over names and hashes of the files: the same model has the same id wherever it lies."""
    lines = (f"{name} {file.sha256}\n" for name, file in sorted(files.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:ID_DIGITS]


def _described(data: bytes) -> File:
    return File(hashlib.sha256(data).hexdigest(), len(data))
