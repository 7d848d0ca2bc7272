import json

import pyarrow.parquet as pq
import pytest

from pipelines.mixture import counts, read_shares
from simulation.registry import names
from tests.pipelines.conftest import command, finished


def shares_file(tmp_path, text: str) -> str:
    path = tmp_path / "mixture.toml"
    path.write_text(text)
    return str(path)


def test_every_example_is_shared_out():
    for total in (1, 7, 100, 1001):
        found = counts({"sr": 3, "lass": 1, "tse": 1.5}, total)
        assert sum(found.values()) == total
        assert all(abs(found.get(name, 0) - total * share / 5.5) < 1 for name, share in (("sr", 3), ("lass", 1), ("tse", 1.5)))


def test_without_a_file_every_task_has_the_same_share():
    assert read_shares("") == dict.fromkeys(names(), 1.0)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[shares]\nsrr = 1\n", "did you mean 'sr'"),
        ("[shares]\nsr = 0\n", "sr = 0"),
        ("[shares]\nsr = 'much'\n", "sr = 'much'"),
        ("[shares]\n", "empty"),
        ("sr = 1\n", "shares"),
        ("[shares\n", r"mixture\.toml"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path, text, named):
    with pytest.raises(ValueError, match=named):
        read_shares(shares_file(tmp_path, text))


@pytest.mark.cluster
def test_a_mixture_is_one_manifest_over_a_dataset_a_task(corpus, tmp_path):
    shares = shares_file(tmp_path, "[shares]\nsr = 2\ntse = 1\n")
    arguments = ("--shares", shares, "--corpus", corpus, "--out", tmp_path / "out", "--count", 12, "--examples-per-shard", 4)
    code, output = finished(command("pipelines.mixture", *arguments, "--workers", 2))
    assert code == 0, output
    (described,) = (tmp_path / "out").glob("all-*/mixture.json")
    parts = json.loads(described.read_text())["parts"]
    assert {name: part["totals"]["examples"] for name, part in parts.items()} == {"sr": 8, "tse": 4}
    table = pq.read_table(described.parent / "manifest.parquet").to_pandas()
    assert table["key"].is_unique
    for row in table.itertuples():
        assert (tmp_path / "out" / row.dataset / row.shard).is_file()
