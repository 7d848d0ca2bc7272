"""A published model: a folder or s3:// prefix of `config.json` and `model.safetensors`, on this machine and by its id."""

import hashlib
import tempfile
from pathlib import Path

from infra.storage import Store, open_store

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def local_folder(url: str) -> Path:
    """A local folder with the model's files: itself, or links to copies of what lies on S3. FileNotFoundError if one lacks."""
    store = open_store(url)
    places = {name: _place(store, name) for name in (CONFIG, WEIGHTS)}
    if "://" not in url:
        return Path(places[CONFIG]).parent
    folder = Path(tempfile.mkdtemp(prefix="quarkline-model-"))
    for name, place in places.items():
        (folder / name).symlink_to(place)
    return folder


def model_id(folder: Path) -> str:
    """sha256 over the configuration and the weights: the same model has the same id wherever it lies."""
    digest = hashlib.sha256()
    for name in (CONFIG, WEIGHTS):
        with open(folder / name, "rb") as file:
            digest.update(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def _place(store: Store, name: str) -> str:
    try:
        return store.local_path(name)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{store.url}: no {name} here: give the folder of a model, as training publishes it ({CONFIG} and {WEIGHTS})"
        ) from None
