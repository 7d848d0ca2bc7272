import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.storage import open_store
from tests.training.data.conftest import sound, write_corpus
from training.data.config import DataConfig
from training.data.corpus_source import CorpusSource
from training.data.crops import Cropping, centred
from training.data.quarantine import Rejected

TRAIN = ("train",)


def open_all(place: str, config: DataConfig = DataConfig(), splits=TRAIN) -> dict[str, CorpusSource]:  # noqa: B008
    return {source.domain: source for source in CorpusSource.of_corpus(place, config, splits)}


def test_every_role_is_a_source_of_its_clips(corpus_at):
    sources = open_all(corpus_at)
    assert {domain: source.num_clips for domain, source in sources.items()} == {"event": 7, "music": 9, "speech": 24}
    assert sources["music"].table["key"].to_pylist() == [f"music/{number:02d}" for number in range(9)]


def test_a_clip_is_the_file_of_its_row(corpus_at):
    source = open_all(corpus_at)["speech"]
    fetched = source.fetch(np.array([5, 3]))
    assert sorted(fetched) == [3, 5]
    assert fetched[5].key == "speech/05"
    assert np.allclose(centred(fetched[5], Cropping(8000, 10_000))[0], sound(1005, 0.4) / 2**15)


def test_only_the_split_asked_for_is_used(tmp_path):
    files = {f"speech/{number}": sound(number) for number in range(6)}
    place = write_corpus(tmp_path / "corpus", files, split={name: "test" if name[-1] in "45" else "train" for name in files})
    assert open_all(place)["speech"].table["key"].to_pylist() == [f"speech/{number}" for number in range(4)]
    assert open_all(place, splits=("valid", "test"))["speech"].num_clips == 2
    with pytest.raises(ValueError, match=r"no file has split 'valid'.*train \(4 files\)"):
        open_all(place, splits=("valid",))


def test_the_id_and_the_numbers_do_not_depend_on_place_or_order_of_rows(tmp_path):
    files = {f"speech/{number}": sound(number) for number in range(6)}
    one = write_corpus(tmp_path / "one", files)
    other = write_corpus(tmp_path / "other", dict(reversed(files.items())))
    first, second = open_all(one)["speech"], open_all(other)["speech"]
    assert first.id == second.id
    assert first.table["key"].equals(second.table["key"])
    changed = write_corpus(tmp_path / "changed", files | {"speech/0": sound(99)})
    assert open_all(changed)["speech"].id != first.id


def test_files_of_too_low_a_rate_are_left_out(tmp_path, capsys):
    table = pa.concat_tables(
        pq.read_table(f"{write_corpus(tmp_path / 'corpus', {name: sound(0, 0.3, rate)}, rate)}/manifest.parquet")
        for name, rate in (("speech/a", 8000), ("speech/b", 16000))
    )
    pq.write_table(table, tmp_path / "corpus" / "manifest.parquet")
    source = open_all(str(tmp_path / "corpus"), DataConfig(min_source_rate_hz=16000))["speech"]
    assert source.table["key"].to_pylist() == ["speech/b"]
    assert "1 files below 16000 Hz are left out" in capsys.readouterr().out


def test_a_file_that_is_gone_is_named(tmp_path):
    place = write_corpus(tmp_path / "corpus", {"speech/a": sound(0), "speech/b": sound(1)})
    (tmp_path / "corpus" / "speech" / "a.wav").unlink()
    gone, there = open_all(place)["speech"].fetch(np.arange(2)).values()
    assert isinstance(gone, Rejected)
    assert (gone.reason, gone.key, gone.file) == ("missing", "speech/a", f"{place}/speech/a.wav")
    assert not isinstance(there, Rejected)


def test_a_folder_without_a_manifest_says_how_to_make_one(tmp_path):
    with pytest.raises(ValueError, match="make corpus ROOT="):
        open_all(str(tmp_path))


@pytest.mark.s3
def test_files_on_s3_are_those_of_a_folder(corpus_at, s3):
    local, remote = open_store(corpus_at), open_store(f"{s3}/corpus")
    for name in local.list():
        remote.put(name, local.get(name))
    here, there = open_all(corpus_at)["music"], open_all(remote.url)["music"]
    assert here.id == there.id
    for clip, found in there.fetch(np.arange(4)).items():
        assert np.array_equal(
            centred(found, Cropping(8000, 800)), centred(here.fetch(np.array([clip]))[clip], Cropping(8000, 800))
        )
