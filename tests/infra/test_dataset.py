import hashlib
import io
import json

import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from tests.bytes_mutations import MUTATIONS, mutated


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


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A finished dataset's folder, description and manifest; what a test changes it puts back."""
    folder = tmp_path_factory.mktemp("sound")
    fill(open_store(str(folder)))
    return folder, (folder / DESCRIPTION).read_bytes(), (folder / MANIFEST).read_bytes()


def assert_opens_or_names(folder) -> None:
    store = open_store(str(folder))
    try:
        shards = open_dataset(store).shards()
        for row in shards.itertuples():
            list(read_shard(store, row.shard, row.shard_sha256, row.num_examples))
    except ValueError as error:  # ShardError is one
        assert str(folder) in str(error) or "names are relative" in str(error)


@given(st.sampled_from([DESCRIPTION, MANIFEST]), MUTATIONS, st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_damaged_dataset_raises_nothing_but_a_named_value_error(sound, name, mutations, rehashed):
    """Also where a forger has put the damaged manifest's own hash into the description."""
    folder, description, manifest = sound
    data = mutated({DESCRIPTION: description, MANIFEST: manifest}[name], mutations)
    described = description
    if name == MANIFEST and rehashed:
        described = json.dumps(json.loads(description) | {"manifest_sha256": hashlib.sha256(data).hexdigest()}).encode()
    (folder / DESCRIPTION).write_bytes(data if name == DESCRIPTION else described)
    (folder / MANIFEST).write_bytes(data if name == MANIFEST else manifest)
    assert_opens_or_names(folder)


@pytest.mark.parametrize("description", [b"[]", b"5", b"null", b"[" * 100_000, b"\xff", b'{"manifest_sha256": 5}'])
def test_any_other_description_is_refused_by_name(sound, description):
    folder, _, manifest = sound
    (folder / MANIFEST).write_bytes(manifest)
    (folder / DESCRIPTION).write_bytes(description)
    with pytest.raises(ValueError, match=str(folder)):
        open_dataset(open_store(str(folder)))


def test_a_manifest_of_other_columns_or_of_shards_elsewhere_is_refused(sound, tmp_path):
    _, description, manifest = sound
    table = pq.read_table(io.BytesIO(manifest))
    outside = table.set_column(table.column_names.index("shard"), "shard", [["../../etc/passwd"] * table.num_rows])
    for changed, message in ((table.drop_columns(["shard_sha256"]), "no column shard_sha256"), (outside, "names are relative")):
        buffer = io.BytesIO()
        pq.write_table(changed, buffer)
        sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
        (tmp_path / MANIFEST).write_bytes(buffer.getvalue())
        (tmp_path / DESCRIPTION).write_text(json.dumps(json.loads(description) | {"manifest_sha256": sha256}))
        with pytest.raises(ValueError, match=message):
            row = open_dataset(open_store(str(tmp_path))).shards().iloc[0]
            list(read_shard(open_store(str(tmp_path)), row["shard"], row["shard_sha256"], row["num_examples"]))


@given(MUTATIONS)
@settings(max_examples=80, deadline=None)
def test_damaged_rows_raise_nothing_but_a_named_value_error(sound, mutations):
    folder = sound[0]
    place = folder / "rows/shard-000000.json"
    before = place.read_bytes()
    place.write_bytes(mutated(before, mutations))
    try:
        gather(open_store(str(folder)), [shard_name(0)])
    except ValueError as error:
        assert "rows/shard-000000.json" in str(error) or "no example" in str(error)
    finally:
        place.write_bytes(before)


def test_a_text_that_looks_like_a_time_stays_a_text(tmp_path):
    store = open_store(str(tmp_path))
    data, made = shard_of(0)
    rows = [row | {"text_caption": "2026-11-28", "sources": ["2026-11-28 10:00:00"]} for row in made.examples]
    commit_shard(store, shard_name(0), data, msgspec.structs.replace(made, examples=rows))
    table = gather(store, [shard_name(0)]).table
    assert table["text_caption"].to_pylist() == ["2026-11-28"] * 3
    assert table["sources"].to_pylist() == [["2026-11-28 10:00:00"]] * 3


def test_rows_that_are_sound_json_and_no_rows_are_named(tmp_path):
    store = open_store(str(tmp_path))
    for number in range(3):
        commit_shard(store, shard_name(number), *shard_of(number))
    data, made = shard_of(1)
    for wrong in ({"key": None}, {"num_samples": "many"}, {"licences": 5}):
        rows = [made.examples[0] | wrong, *made.examples[1:]]
        commit_shard(store, shard_name(1), data, msgspec.structs.replace(made, examples=rows))
        with pytest.raises(ValueError, match=r"rows/shard-000001\.json: not the rows of a shard .* delete it and rerun"):
            gather(store, [shard_name(number) for number in range(3)])
