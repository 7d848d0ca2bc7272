"""make evaluate: the same table from any number of workers, a rerun judges only what is missing, mistakes are told first."""

import hashlib
import shutil
from pathlib import Path

import pytest

from infra.storage import open_store
from pipelines.evaluate import Evaluate, evaluate, named
from tests.pipelines.conftest import command, finished
from tests.pipelines.model_bundles import make_bundle
from training.metrics.clip_table import CLIPS, DESCRIPTION, read

SMALL = ("--split", "train", "--metrics", "si_sdr", "mel_distance", "--clips-per-part", "1", "--heard", "0")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle"))


def run(dataset, bundle: Path, out: Path, *options: object):
    return command("pipelines.evaluate", "--model", bundle, "--data", dataset.url, "--out", out, *SMALL, *options)


def only(folder: Path) -> Path:
    (found,) = folder.glob("evaluation-*")
    return found


def clips(folder: Path) -> str:
    return hashlib.sha256((only(folder) / CLIPS).read_bytes()).hexdigest()


@pytest.mark.cluster
@pytest.mark.slow
def test_any_number_of_workers_makes_the_same_table_and_a_rerun_judges_only_what_is_missing(dataset, bundle, tmp_path):
    code, output = finished(run(dataset, bundle, tmp_path / "whole", "--workers", 1))
    assert code == 0 and "sr: 8 clips" in output, output
    shutil.copytree(tmp_path / "whole", tmp_path / "torn")
    for name in (CLIPS, DESCRIPTION):
        (only(tmp_path / "torn") / name).unlink()
    for path in sorted(only(tmp_path / "torn").glob("parts/*/*.json"))[:5]:  # as a kill would leave it
        path.unlink()
    code, output = finished(run(dataset, bundle, tmp_path / "torn", "--workers", 2))
    assert code == 0 and "8 parts to judge, 3 there already" in output, output
    assert clips(tmp_path / "torn") == clips(tmp_path / "whole")
    first, second = (read(open_store(str(only(tmp_path / name)))) for name in ("whole", "torn"))
    assert first.id == second.id and set(first.clips["system"].to_pylist()) == {"model", "input", "oracle", "mask", "target"}
    assert "it is there already" in finished(run(dataset, bundle, tmp_path / "whole"))[1]


def test_mistakes_are_told_before_anything_starts(dataset, bundle, tmp_path):
    with pytest.raises(ValueError, match="--model is missing"):
        Evaluate()
    with pytest.raises(ValueError, match="--count is -1"):
        Evaluate(model="x", count=-1)
    place = {"model": str(bundle), "data": dataset.url, "out": str(tmp_path)}
    with pytest.raises(ValueError, match="of the split 'train', which a model may have learned from"):
        evaluate(Evaluate(**place))
    with pytest.raises(ValueError, match="did you mean 'si_sdr'"):
        evaluate(Evaluate(**place, split="train", metrics=("si_sd",)))
    with pytest.raises(ValueError, match="no finished dataset of the split 'test'"):
        evaluate(Evaluate(model=str(bundle), data=str(tmp_path / "none")))
    broken = tmp_path / "broken"
    shutil.copytree(bundle, broken)
    (broken / "lm" / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="or damaged: fetch the bundle anew"):
        evaluate(Evaluate(**place | {"model": str(broken)}, split="train"))
    assert not list(tmp_path.glob("evaluation-*"))


def test_models_are_named_by_their_folders_or_by_hand():
    assert named("/a/bundle") == {"model": "/a/bundle"}
    assert named("/a/one,s3://b/two/") == {"one": "/a/one", "two": "s3://b/two/"}
    assert named("x=/a/bundle,y=/b/bundle") == {"x": "/a/bundle", "y": "/b/bundle"}
    with pytest.raises(ValueError, match="'bundle' is taken"):
        named("/a/bundle,/b/bundle")
    with pytest.raises(ValueError, match="'input' is taken"):
        named("/a/input,/b/bundle")
