"""Models: one id wherever they lie, fetched whole, and what lacks is named."""

import pytest

from infra.model_folder import CONFIG, WEIGHTS, local_folder, model_id
from infra.storage import open_store


def published(url: str, weights: bytes = b"weights") -> str:
    store = open_store(url)
    store.put(CONFIG, b"{}")
    store.put(WEIGHTS, weights)
    return url


def test_a_local_model_is_used_where_it_lies(tmp_path):
    assert local_folder(published(str(tmp_path / "model"))) == tmp_path / "model"


def test_another_weight_is_another_id(tmp_path):
    same, other = published(str(tmp_path / "copy")), published(str(tmp_path / "other"), b"other")
    id_here = model_id(local_folder(published(str(tmp_path / "model"))))
    assert model_id(local_folder(same)) == id_here != model_id(local_folder(other))


def test_what_lacks_is_named(tmp_path):
    open_store(str(tmp_path)).put(CONFIG, b"{}")
    with pytest.raises(FileNotFoundError, match=r"no model\.safetensors here"):
        local_folder(str(tmp_path))


@pytest.mark.s3
def test_a_model_on_s3_has_the_same_id(s3, tmp_path):
    folder = local_folder(published(f"{s3}/models/one"))
    assert {path.name for path in folder.iterdir()} == {CONFIG, WEIGHTS}
    assert model_id(folder) == model_id(local_folder(published(str(tmp_path / "model"))))
