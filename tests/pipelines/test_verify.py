import hashlib
import io
import json
import tarfile

import msgspec
import pyarrow.parquet as pq
import pytest

from infra import corpus_manifest
from infra.dataset import (
    DESCRIPTION,
    MANIFEST,
    RUN,
    ShardRows,
    commit_shard,
    committed,
    dataset_id,
    find_datasets,
    finish,
    gather,
    open_dataset,
    shard_name,
    shard_rows,
    shards_of,
)
from infra.shards import decode_flac, encode_flac, encode_json
from infra.storage import open_store
from pipelines.verify import MARK, Verify, verify, verify_once


def test_a_sound_dataset_passes(dataset, capsys):
    assert verify(Verify(out=dataset.url, rerender=8)) == 0
    said = capsys.readouterr().out
    assert "2 shards, 8 examples" in said
    assert "8 rendered again: all well" in said


def test_what_was_well_once_is_not_read_again(dataset, capsys):
    config = Verify(rerender=2)
    assert verify_once(open_dataset(dataset), config) == 0 and "2 rendered again: all well" in capsys.readouterr().out
    said = json.loads(dataset.get(MARK))
    assert said["id"] == json.loads(dataset.get(DESCRIPTION))["id"] and len(said["code"]) == 12
    dataset.delete(shard_name(1))  # nobody looks
    assert verify_once(open_dataset(dataset), config) == 0 and capsys.readouterr().out == ""
    assert "shard-000001.tar" in culprit(dataset, capsys)  # who asks gets an answer


@pytest.mark.parametrize("mark", [b"", b"[]", b'{"id": "another", "manifest_sha256": ""}'])
def test_a_mark_of_other_data_stands_for_nothing(dataset, capsys, mark):
    dataset.put(MARK, mark)
    dataset.delete(shard_name(1))
    assert verify_once(open_dataset(dataset), Verify(rerender=0)) == 6 and dataset.get(MARK) == mark
    assert "shard-000001.tar" in capsys.readouterr().err


def test_the_mark_is_no_part_of_the_dataset(dataset, tmp_path):
    before = open_dataset(dataset)
    assert verify_once(before, Verify(rerender=0)) == 0
    after = open_dataset(dataset)
    assert (after.description, after.manifest) == (before.description, before.manifest)
    assert [store.url for store in find_datasets(open_store(str(tmp_path)))] == [dataset.url]
    assert committed(dataset) == {shard_name(0), shard_name(1)} and verify(Verify(out=str(tmp_path), rerender=8)) == 0


def culprit(dataset, capsys, **options) -> str:
    assert verify(Verify(out=dataset.url, **options)) == 6
    return capsys.readouterr().err


def test_a_flipped_byte_names_its_shard(dataset, capsys):
    data = bytearray(dataset.get(shard_name(1)))
    data[len(data) // 2] ^= 1
    dataset.put(shard_name(1), bytes(data))
    assert "shard-000001.tar" in culprit(dataset, capsys)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_cut_shard_is_named_wherever_it_is_cut(dataset, capsys, share):
    data = dataset.get(shard_name(0))
    dataset.put(shard_name(0), data[: int(len(data) * share)])
    assert "shard-000000.tar" in culprit(dataset, capsys)


def test_a_missing_shard_is_named(dataset, capsys):
    dataset.delete(shard_name(1))
    assert "shard-000001.tar" in culprit(dataset, capsys)


def rewrite(dataset, change) -> None:
    """Change members of the first shard and give it a manifest that agrees with its new bytes: only content can tell."""
    members = {}
    with tarfile.open(fileobj=io.BytesIO(dataset.get(shard_name(0)))) as tar:
        for info in tar:
            members[info.name] = tar.extractfile(info).read()
    change(members)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    shards = [shard_name(0), shard_name(1)]
    first, _ = shard_rows(dataset, shards)
    data = buffer.getvalue()
    examples = [msgspec.json.decode(example) for example in first.examples]
    rows = ShardRows(first.shard, hashlib.sha256(data).hexdigest(), len(data), examples, first.rejects)
    commit_shard(dataset, shard_name(0), data, rows)
    described = json.loads(dataset.get(DESCRIPTION))
    totals = gather(dataset, shards)
    dataset.delete(DESCRIPTION)
    finish(dataset, totals, described | {"id": dataset_id(shards_of(totals.table))})


def names(members, ending):
    return [name for name in members if name.endswith(ending)]


def test_audio_that_is_not_its_scenes_is_found_by_rendering_again(dataset, capsys):
    def change(members):
        name = names(members, ".target.flac")[0]
        audio, rate = decode_flac(members[name])
        audio[0, 0] += 1
        members[name] = encode_flac(audio, rate)

    rewrite(dataset, change)
    assert "target rendered again differs" in culprit(dataset, capsys, rerender=8)


def test_a_label_that_misses_its_request_is_named(dataset, capsys):
    def change(members):
        for name in names(members, ".json"):
            record = json.loads(members[name])
            if "snr_db" in record["requested"]:
                record["measured"]["snr_db"] += 0.2
                members[name] = encode_json(record)

    rewrite(dataset, change)
    assert "snr_db" in culprit(dataset, capsys, rerender=0)


def test_a_member_that_is_gone_is_named(dataset, capsys):
    rewrite(dataset, lambda members: members.pop(names(members, ".target.flac")[0]))
    assert "manifest says input, target" in culprit(dataset, capsys, rerender=0)


def test_an_id_that_is_not_of_these_shards_is_named(dataset, capsys):
    described = json.loads(dataset.get(DESCRIPTION))
    dataset.put(DESCRIPTION, encode_json(described | {"id": "0" * 64}))
    assert "dataset.json" in culprit(dataset, capsys, rerender=0)


def test_another_corpus_is_refused_for_rendering_again(dataset, own_corpus):
    (own_corpus / "manifest.parquet").unlink()
    half = corpus_manifest.read(json.loads(dataset.get(RUN))["config"]["corpus"])
    corpus_manifest.write(half.table.slice(0, half.table.num_rows - 1), str(own_corpus))
    with pytest.raises(ValueError, match="give that one"):
        verify(Verify(out=dataset.url, corpus=str(own_corpus)))


def test_no_dataset_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no finished dataset"):
        verify(Verify(out=str(tmp_path)))


def test_a_folder_of_datasets_is_checked_whole(dataset, tmp_path, capsys):
    assert verify(Verify(out=str(tmp_path), rerender=1)) == 0
    assert "sr-0" in capsys.readouterr().out


def test_the_manifest_has_a_row_an_example(dataset):
    frame = pq.read_table(io.BytesIO(dataset.get(MANIFEST))).to_pandas()
    assert frame["key"].is_unique
    assert {"requested_lag_samples", "measured_lag_samples", "sources", "licences", "sha256"} <= set(frame.columns)
