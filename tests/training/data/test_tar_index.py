import io
import tarfile

import pytest
import soundfile
import webdataset

from infra.command_line import TooManyRejects
from infra.storage import open_store
from tests.training.data.conftest import RATE_HZ, sound
from training.data import tar_index
from training.data.tar_index import open_index


def audio(seed: int, kind: str = "FLAC") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, sound(seed), RATE_HZ, format=kind)
    return buffer.getvalue()


@pytest.fixture
def tars(tmp_path):
    """Three tars as webdataset's own writer makes them: one clip without a role, one with, and what is no audio."""
    folder = tmp_path / "tars"
    folder.mkdir()
    with webdataset.ShardWriter(f"file:{folder}/x-%03d.tar", maxcount=4, verbose=0) as writer:
        for number in range(12):
            sample = {"__key__": f"train/{number:03d}", "flac": audio(number), "mix.wav": audio(100 + number, "WAV")}
            writer.write(sample | {"json": {"number": number}, "txt": "text", "pth": b"never unpickled"})
    return folder


def test_every_audio_member_is_found_where_it_is(tars, tmp_path):
    index = open_index(str(tars), open_store(str(tmp_path / "run")), 0.0)
    rows = index.clips.to_pylist()
    assert [row["key"] for row in rows] == [f"train/{n:03d}{role}" for n in range(12) for role in ("", ".mix")]
    assert {(row["role"], row["sample_rate_hz"], row["num_frames"]) for row in rows} == {
        ("", RATE_HZ, 2400),
        ("mix", RATE_HZ, 2400),
    }
    for row in rows:
        data = tar_index.read_object(index.shards["url"][row["shard"]])
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            assert tar.extractfile(row["member"]).read() == data[row["offset"] : row["offset"] + row["num_bytes"]]


def test_braces_and_folders_name_the_same_tars(tars, tmp_path):
    store = open_store(str(tmp_path / "run"))
    braces = open_index(f"{tars}/x-{{000..002}}.tar", store, 0.0)
    assert braces.id == open_index(str(tars), store, 0.0).id
    with pytest.raises(ValueError, match=r"x-003.tar: no such file \(1 of the 4"):
        open_index(f"{tars}/x-{{000..003}}.tar", store, 0.0)
    with pytest.raises(ValueError, match="no tars here"):
        open_index(str(tmp_path / "empty"), store, 0.0)


def test_an_index_is_made_once_and_again_when_tars_change(tars, tmp_path, monkeypatch):
    store = open_store(str(tmp_path / "run"))
    first = open_index(str(tars), store, 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(tar_index, "read_object", lambda url: pytest.fail(f"{url} is read again"))
        again = open_index(str(tars), store, 0.0)
    assert again.clips.equals(first.clips)
    assert again.shards.equals(first.shards)
    (tars / "x-002.tar").unlink()
    assert open_index(str(tars), store, 0.0).clips.num_rows == 16


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.8])
def test_a_cut_tar_is_left_out_or_too_many(tars, tmp_path, capsys, kept):
    tar = tars / "x-001.tar"
    tar.write_bytes(tar.read_bytes()[: int(tar.stat().st_size * kept)])
    index = open_index(str(tars), open_store(str(tmp_path / "run")), 0.4)
    assert set(index.clips["shard"].to_pylist()) == {0, 2}
    assert "1 of 3 tars and 0 clips cannot serve" in capsys.readouterr().out
    with pytest.raises(TooManyRejects, match=r"x-001.tar: (changed|undecodable).*--clips.max-reject-share, which is 0.1"):
        open_index(str(tars), open_store(str(tmp_path / "other")), 0.1)


def test_an_empty_tar_and_a_broken_clip_are_left_out(tars, tmp_path, capsys):
    (tars / "x-001.tar").write_bytes(b"")
    with tarfile.open(tars / "x-003.tar", "w") as tar:
        for name, content in (("a.flac", b"no audio"), ("b.flac", audio(1))):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    index = open_index(str(tars), open_store(str(tmp_path / "run")), 0.4)
    assert index.clips["key"].to_pylist()[-1] == "b"
    assert "1 of 4 tars and 1 clips cannot serve" in capsys.readouterr().out
