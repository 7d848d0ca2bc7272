"""make encode: the same tokens from any number of workers, a rerun does only what is missing, and no mix of codecs."""

import shutil
from pathlib import Path

import pytest

from infra.dataset import open_dataset
from infra.storage import open_store
from pipelines.encode import Encode, encode_all
from tests.codec.samples import SPECTRAL, make
from tests.pipelines.conftest import command, contents, finished


def encode(dataset, codec: Path, out: Path | str, *options: object) -> tuple[int, str]:
    words = ("--data", dataset.url, "--codec", codec, "--out", out, *options)
    return finished(command("pipelines.encode", *words))


def only(folder: Path) -> Path:
    (found,) = folder.glob("sr-tokens-*")
    return found


@pytest.mark.cluster
@pytest.mark.slow
def test_one_and_two_workers_make_the_same_dataset_and_a_rerun_only_what_is_missing(dataset, codec_folder, tmp_path):
    code, output = encode(dataset, codec_folder, tmp_path / "one", "--workers", 1)
    assert code == 0, output
    whole = contents(only(tmp_path / "one"))
    assert {"shard-000000.tar", "shard-000001.tar", "manifest.parquet", "dataset.json"} <= set(whole)

    shutil.copytree(tmp_path / "one", tmp_path / "two")
    for name in ("shard-000001.tar", "dataset.json", "manifest.parquet"):
        (only(tmp_path / "two") / name).unlink()
    code, output = encode(dataset, codec_folder, tmp_path / "two", "--workers", 2)
    assert code == 0 and "2 shards to make, 1 there already" in output, output
    assert contents(only(tmp_path / "two")) == whole

    description = open_dataset(open_store(str(only(tmp_path / "one")))).description
    assert description["kind"] == "tokens"
    assert description["parents"]["dataset"]["id"] == open_dataset(dataset).description["id"]
    assert description["codec"]["id"] == description["parents"]["codec"]
    code, output = encode(dataset, codec_folder, tmp_path / "one")
    assert code == 0 and "to make" not in output
    assert contents(only(tmp_path / "one")) == whole


def test_what_cannot_be_encoded_is_said_before_ray_starts(dataset, codec_folder, tmp_path):
    with pytest.raises(ValueError, match="--codec is missing"):
        Encode(data=dataset.url)
    with pytest.raises(FileNotFoundError, match=r"no config\.json here"):
        encode_all(Encode(data=dataset.url, codec=str(tmp_path)))
    with pytest.raises(ValueError, match="no finished dataset of audio"):
        encode_all(Encode(data=str(tmp_path / "none"), codec=str(codec_folder)))
    with pytest.raises(ValueError, match="not a speech model of transformers"):
        encode_all(Encode(data=dataset.url, codec=str(codec_folder), features=str(tmp_path)))
    rate_48k = tmp_path / "codec-48k"
    make(SPECTRAL).save_pretrained(rate_48k)
    with pytest.raises(ValueError, match=r"16000 Hz, the codec .* takes 48000 Hz: simulate with --sample-rate-hz 48000"):
        encode_all(Encode(data=dataset.url, codec=str(rate_48k)))
