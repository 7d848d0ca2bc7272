import hashlib

import msgspec
import pytest

from infra.dataset import (
    DESCRIPTION,
    MANIFEST,
    ShardRows,
    commit_shard,
    committed,
    dataset_id,
    find_datasets,
    finish,
    gather,
    open_dataset,
    read_shard,
    shard_name,
    shards_of,
)
from infra.shards import ShardError, build
from infra.storage import open_store


def shard_of(number: int, count: int = 3) -> tuple[bytes, ShardRows]:
    keys = [f"k-{number}-{n}" for n in range(count)]
    data = build((key, {"txt": key.encode()}) for key in keys)
    row = {"index": 0, "attempt": 0, "sample_rate_hz": 16000, "num_samples": 16000, "roles": [], "licences": ["CC0"]}
    rows = [row | {"key": key, f"requested_{number}": 1.0} for key in keys]
    reject = {"source": "s", "path": "p", "reason": "missing", "detail": "", "key": keys[0], "attempt": 0}
    return data, ShardRows(shard_name(number), hashlib.sha256(data).hexdigest(), len(data), rows, [reject] * number)


def fill(store, count: int = 3, order=None):
    for number in order or range(count):
        commit_shard(store, shard_name(number), *shard_of(number))
    totals = gather(store, [shard_name(number) for number in range(count)])
    assert finish(store, totals, {"id": dataset_id(shards_of(totals.table))})
    return totals


def test_a_dataset_comes_back_as_it_was_made(tmp_path):
    store = open_store(str(tmp_path / "d"))
    totals = fill(store)
    dataset = open_dataset(store)
    assert dataset.manifest.num_rows == 9
    assert totals.licences == {"CC0": 9}
    assert totals.hours == pytest.approx(9 / 3600)
    assert len(totals.rejects) == 3
    for row in dataset.shards().itertuples():
        assert next(s.key for s in read_shard(store, row.shard, row.shard_sha256, row.num_examples)).startswith("k-")
    assert [found.url for found in find_datasets(open_store(str(tmp_path)))] == [store.url]
    assert [found.url for found in find_datasets(store)] == [store.url]


def test_a_label_that_the_first_example_lacks_is_in_the_manifest(tmp_path):
    store = open_store(str(tmp_path / "d"))
    data, made = shard_of(0)
    last = made.examples[-1] | {"measured_rt60_s": 0.3, "text_caption": "rain"}
    commit_shard(store, shard_name(0), data, msgspec.structs.replace(made, examples=[*made.examples[:-1], last]))
    table = gather(store, [shard_name(0)]).table
    assert table["measured_rt60_s"].to_pylist() == [None, None, 0.3]
    assert table["text_caption"].to_pylist() == [None, None, "rain"]


def test_the_order_of_commits_does_not_show(tmp_path):
    stores = [open_store(str(tmp_path / name)) for name in "ab"]
    fill(stores[0])
    fill(stores[1], order=[2, 0, 1])
    assert stores[0].get(MANIFEST) == stores[1].get(MANIFEST)
    assert stores[0].get(DESCRIPTION) == stores[1].get(DESCRIPTION)


def test_a_shard_without_its_rows_is_not_committed(tmp_path):
    store = open_store(str(tmp_path))
    store.put(shard_name(0), shard_of(0)[0])
    assert committed(store) == set()
    commit_shard(store, shard_name(0), *shard_of(0))
    assert committed(store) == {shard_name(0)}


def test_the_description_is_created_once(tmp_path):
    store = open_store(str(tmp_path))
    totals = fill(store)
    assert not finish(store, totals, {"id": "another"})
    assert open_dataset(store).description["id"] != "another"


def test_an_unfinished_run_is_no_dataset(tmp_path):
    with pytest.raises(ValueError, match="not finished; rerun"):
        open_dataset(open_store(str(tmp_path)))


def test_a_changed_manifest_is_refused(tmp_path):
    store = open_store(str(tmp_path))
    fill(store)
    store.put(MANIFEST, store.get(MANIFEST)[:-1])
    with pytest.raises(ValueError, match=r"manifest\.parquet.*changed or truncated"):
        open_dataset(store)


def test_a_missing_or_cut_shard_is_named(tmp_path):
    store = open_store(str(tmp_path))
    fill(store)
    row = open_dataset(store).shards().iloc[1]
    arguments = (store, row["shard"], row["shard_sha256"], row["num_examples"])
    store.put(row["shard"], store.get(row["shard"])[:-512])
    with pytest.raises(ShardError, match="shard-000001"):
        list(read_shard(*arguments))
    store.delete(row["shard"])
    with pytest.raises(ShardError, match=r"shard-000001.*not there"):
        list(read_shard(*arguments))


def test_no_example_at_all_is_an_error(tmp_path):
    store = open_store(str(tmp_path))
    data = build([])
    commit_shard(store, shard_name(0), data, ShardRows(shard_name(0), "", len(data), [], []))
    with pytest.raises(ValueError, match="no example"):
        gather(store, [shard_name(0)])
