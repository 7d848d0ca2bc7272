import dataclasses
import io
import tarfile

import numpy as np
import pytest

from infra.storage import open_store
from tests.training.data.conftest import sound, write_dataset
from training.data import shard_source
from training.data.config import DataConfig
from training.data.crops import Clip, Cropping, centred
from training.data.quarantine import Rejected
from training.data.shard_source import ShardSource
from training.data.windows import Order

WHOLE = Cropping(8000, 2400)


def open_at(place, **options) -> ShardSource:
    return ShardSource.of_dataset(open_store(str(place)), DataConfig(**options))


def test_clips_are_the_signals_of_the_roles_asked_for(dataset_at):
    assert open_at(dataset_at).table["key"].to_pylist()[:3] == [
        "sr-s0-00000000.input",
        "sr-s0-00000000.target",
        "sr-s0-00000001.input",
    ]
    assert open_at(dataset_at).num_clips == 2 * 16
    assert open_at(dataset_at, roles=("noise",)).num_clips == 16
    assert open_at(dataset_at, roles=("all",)).num_clips == 3 * 16
    with pytest.raises(ValueError, match=r"no clip with a role of voice.*roles 'input', 'target', 'noise'"):
        open_at(dataset_at, roles=("voice",))
    with pytest.raises(ValueError, match="at least 16000 Hz"):
        open_at(dataset_at, min_source_rate_hz=16000)


def test_a_clip_is_the_member_of_its_row(dataset_at):
    source = open_at(dataset_at)
    fetched = source.fetch(np.array([31, 0, 13, 1]))  # of three shards
    assert sorted(fetched) == [0, 1, 13, 31]
    for clip, found in fetched.items():
        example, role = divmod(clip, 2)
        assert found.key == f"sr-s0-{example:08d}.{('input', 'target')[role]}"
        assert np.array_equal(centred(found, WHOLE)[0], sound(10 * example + role) / np.float32(2**15))


def test_the_task_says_the_domain_unless_a_person_does(tmp_path):
    store = write_dataset(open_store(str(tmp_path / "lass-0")), (2,), task="lass")
    assert ShardSource.of_dataset(store, DataConfig()).domain == "event"
    assert ShardSource.of_dataset(store, DataConfig(), "music").domain == "music"
    assert open_at(tmp_path / "lass-0").split == "train"


def test_the_id_is_that_of_the_content_and_roles(dataset_at, own_dataset):
    assert open_at(dataset_at).id == open_at(own_dataset).id
    assert open_at(dataset_at).id != open_at(dataset_at, roles=("target",)).id


def damage(folder, kept: float) -> None:
    shard = folder / "shard-000001.tar"
    shard.write_bytes(shard.read_bytes()[: int(shard.stat().st_size * kept)])


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.99])
def test_all_clips_of_a_shard_with_other_bytes_are_refused_and_no_others(own_dataset, kept):
    source = open_at(own_dataset)
    damage(own_dataset, kept)
    fetched = source.fetch(np.arange(32))
    refused = {clip for clip, found in fetched.items() if isinstance(found, Rejected)}
    assert refused == set(range(12, 18))
    assert {(fetched[clip].reason, fetched[clip].file, fetched[clip].key) for clip in refused} == {
        ("changed", f"{own_dataset}/shard-000001.tar", "")
    }


def test_a_flipped_bit_is_found(own_dataset):
    shard = own_dataset / "shard-000001.tar"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert open_at(own_dataset).fetch(np.array([12]))[12].reason == "changed"


def test_a_lost_shard_and_a_member_that_never_was_are_missing(own_dataset):
    source = open_at(own_dataset)
    (own_dataset / "shard-000001.tar").unlink()
    assert source.fetch(np.array([12]))[12].reason == "missing"
    lying = dataclasses.replace(source, table=source.table.set_column(2, "member", [["x.input.flac"] * 32]))
    found = lying.fetch(np.array([0]))[0]
    assert (found.reason, found.file) == ("missing", f"{own_dataset}/shard-000000.tar/x.input.flac")


@pytest.fixture
def tars(dataset_at, tmp_path):
    """The same shards without a manifest, under names that ours do not have."""
    folder = tmp_path / "tars"
    folder.mkdir()
    for number, path in enumerate(sorted(dataset_at.glob("*.tar"))):
        with tarfile.open(path) as shard, tarfile.open(folder / f"part {number}.tar", "w", format=tarfile.PAX_FORMAT) as tar:
            for member in shard:
                content = shard.extractfile(member).read()
                member.name = f"some/long folder/{member.name}"
                tar.addfile(member, io.BytesIO(content))
    return folder


def test_plain_tars_give_what_a_dataset_gives(dataset_at, tars, tmp_path):
    ours = open_at(dataset_at)
    plain = ShardSource.of_tars(str(tars), DataConfig(), "speech", open_store(str(tmp_path / "run")))
    assert plain.table["key"].to_pylist() == [f"some/long folder/{key}" for key in ours.table["key"].to_pylist()]
    assert plain.shards["num_clips"].tolist() == ours.shards["num_clips"].tolist()
    for clip, found in plain.fetch(np.arange(32)).items():
        assert found.file == ours.fetch(np.array([clip]))[clip].file


def test_a_tar_that_is_no_longer_what_was_indexed_is_refused(tars, tmp_path):
    plain = ShardSource.of_tars(str(tars), DataConfig(), "speech", open_store(str(tmp_path / "run")))
    shard = tars / "part 1.tar"
    shard.write_bytes(shard.read_bytes().replace(b"fLaC", b"fLaX"))
    found = plain.fetch(np.array([0, 12]))
    assert not isinstance(found[0], Rejected)
    assert (found[12].reason, found[12].file) == ("changed", str(shard))


def test_workers_that_share_a_shard_read_it_once(dataset_at, monkeypatch):
    source = open_at(dataset_at)
    read, urls = shard_source._read, []
    monkeypatch.setattr(shard_source, "_read", lambda url: urls.append(url) or read(url))
    clips = [np.concatenate(source.windows(Order(0, source.id, 0, worker, 5))) for worker in range(5)]
    found = [source.fetch(part) for part in clips]
    assert sorted(urls) == sorted(source.shards["url"])
    assert sorted(number for part in found for number in part) == list(range(source.num_clips))
    assert all(isinstance(clip, Clip) for part in found for clip in part.values())


def test_of_a_shard_too_large_to_be_kept_only_what_is_used_is_held(dataset_at):
    source = open_at(dataset_at, window_mb=1e-6)
    assert len(source.fetch(np.arange(3))) == 3 and len(source.shared) == 0
    rows = source.table.slice(0, 3).to_pylist()
    assert source._kept_rows(0, rows) == rows
