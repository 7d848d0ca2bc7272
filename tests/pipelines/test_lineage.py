"""From a model to every clip and licence, by ids; what is not there is said, and the list then called incomplete."""

import json
import shutil

import pandas as pd
import pytest

from infra.dataset import find_datasets, open_dataset
from infra.model_folder import model_id
from infra.registry import BOOTSTRAP, PROMOTION, Entry, Registry
from infra.storage import open_store
from pipelines.bundle import Bundle
from pipelines.lineage import Lineage, clips, main, walk
from tests.pipelines.conftest import write_corpus
from tests.pipelines.model_bundles import make_parts
from tests.training.token_datasets import encoded, simulated


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A bundle whose codec and language model name their parents, as training leaves them; not to be changed."""
    folder = tmp_path_factory.mktemp("lineage")
    corpus = write_corpus(folder / "data" / "corpora" / "first")
    codec, lm = make_parts(folder / "parts")
    audio = simulated("sr", folder / "data" / "sr", corpus, count=4, duration_s=0.6)
    tokens = open_dataset(encoded(audio, folder / "data" / "sr-tokens", codec))
    corpus_id = audio.description["parents"]["corpus"]["id"]
    for name, model, parents in (
        ("codec-run", codec, {"corpora": [corpus_id], "data": []}),
        ("lm-run", lm, {"datasets": [tokens.description["id"]], "codec": model_id(codec), "init": ""}),
    ):
        about = {"model": model_id(model), "parents": parents}
        open_store(str(folder / "data" / name)).put("finished.json", json.dumps(about).encode())
    Bundle.create(codec, lm, folder / "bundle")
    return folder


@pytest.fixture
def copy(world, tmp_path):
    return shutil.copytree(world, tmp_path / "copy")


def text(found) -> str:
    return "\n".join(found.lines)


def test_a_bundle_is_walked_down_to_its_clips(world):
    found = walk(Lineage(str(world / "bundle"), search=str(world / "data")))
    assert found.missing == 0
    depth = [len(line) - len(line.lstrip()) for line in found.lines]
    kinds = [line.split()[0] for line in found.lines]
    assert list(zip(kinds, depth)) == [
        ("bundle", 0),
        ("codec", 2),
        ("corpus", 4),
        ("language", 2),
        ("tokens", 4),
        ("dataset", 6),
        ("corpus", 8),
    ]
    frame = clips(found)
    manifest = open_dataset(open_store(str(world / "data" / "sr"))).manifest
    used = {clip for row in manifest["sources"].to_pylist() for clip in row}
    of_lm = frame[frame["used_by"] == "language model"]
    assert set(of_lm["clip"]) == used and of_lm["num_examples"].sum() == sum(map(len, manifest["sources"].to_pylist()))
    assert set(frame["licence"]) == {"CC0 1.0"} and (frame["path"].str.endswith(".flac")).all()
    assert (frame["sha256"].str.len() == 64).all() and len(frame[frame["used_by"] == "codec"]) == 24


def test_what_is_missing_is_said_and_what_is_known_kept(copy, capsys):
    shutil.rmtree(copy / "data" / "corpora")
    shutil.rmtree(copy / "data" / "codec-run")
    assert main(["--model", str(copy / "bundle"), "--search", str(copy / "data")]) == 0
    printed = capsys.readouterr().out
    assert "training run of the codec" in printed and "not found here: --search names more places" in printed
    assert "corpus" in printed and "2 parents are not found here: the list is not complete" in printed
    assert "CC0 1.0" in printed  # the dataset's own rows have the licences
    shutil.rmtree(copy / "data" / "sr")
    found = walk(Lineage(str(copy / "bundle"), search=str(copy / "data")))
    assert "dataset " in text(found) and found.missing == 3
    found = walk(Lineage(str(copy / "bundle"), search=str(copy / "none")))
    assert found.missing == 2 and clips(found).empty


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_whole_list_is_written(world, tmp_path, ending):
    out = tmp_path / f"clips.{ending}"
    main(["--model", str(world / "bundle"), "--search", str(world / "data"), "--out", str(out)])
    frame = pd.read_csv(out) if ending == "csv" else pd.read_parquet(out)
    assert (
        list(frame) == ["corpus", "clip", "licence", "path", "sha256", "used_by", "tasks", "num_examples"] and len(frame) > 24
    )


def registered(world, place: str) -> Registry:
    """Two champions: the second started with the weights of the first."""
    registry = Registry(f"{place}/registry")
    source = open_store(str(world / "bundle"))
    first = registry.models.add(source, {"inputs": []})
    registry.change(Entry(BOOTSTRAP, first, "", "first"), None)
    tokens = open_dataset(find_datasets(open_store(str(world / "data" / "sr-tokens")))[0])
    audio = open_dataset(open_store(str(world / "data" / "sr")))
    about = json.loads(source.get("bundle.json"))
    parents = {
        "champion": first,
        "codec": about["codec"]["id"],
        "lm": about["lm"]["id"],
        "init": about["lm"]["id"],
        "corpora": [{"id": audio.description["parents"]["corpus"]["id"], "name": "first", "place": "gone"}],
        "datasets": [{"id": audio.description["id"], "place": audio.store.url}],
        "tokens": [{"id": tokens.description["id"], "place": "x", "dataset": audio.description["id"]}],
    }
    changed = open_store(f"{place}/changed")
    for name in source.list():
        changed.put(name, source.get(name))
    changed.put("README.md", b"second")
    model = registry.models.add(changed, {"inputs": [], "run": "0123456789ab", "parents": parents})
    registry.change(Entry(PROMOTION, model, first, "better", "0123456789ab"), registry.champion())
    return registry


def check_registered(world, registry: Registry) -> None:
    first, second = (entry.model for entry in registry.history())
    found = walk(Lineage("champion", registry.url, str(world / "data")))
    assert found.missing == 0, text(found)
    assert f"model {second}" in found.lines[0] and "run 0123456789ab" in found.lines[0]
    assert f"model {first}" in text(found) and "started with the weights" in text(found)
    assert text(walk(Lineage(second[:5], registry.url, str(world / "data")))) == text(found)
    assert set(clips(found)["used_by"]) == {"codec", "language model"}


def test_a_model_of_the_registry_has_what_its_forebears_were_made_of(world, tmp_path):
    check_registered(world, registered(world, str(tmp_path)))


@pytest.mark.s3
def test_a_registry_on_s3_is_walked_likewise(world, s3):
    check_registered(world, registered(world, f"{s3}/lineage"))


def test_what_is_not_there_is_an_error(world, tmp_path):
    registry = registered(world, str(tmp_path))
    with pytest.raises(ValueError, match="0 models 'xyz'; there are"):
        walk(Lineage("xyz", registry.url))
    with pytest.raises(FileNotFoundError, match=r"no bundle\.json here"):
        walk(Lineage(str(tmp_path / "none")))
    with pytest.raises(ValueError, match="no champion yet"):
        walk(Lineage("champion", str(tmp_path / "none")))
    with pytest.raises(ValueError, match="no model"):
        Lineage()
    with pytest.raises(ValueError, match=r"\.parquet or \.csv"):
        Lineage("x", out="clips.txt")
