"""Shards: same content same bytes, and tarfile, tar and webdataset read them, too."""

import ast
import hashlib
import io
import math
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.shards import (
    MTIME_S,
    ShardError,
    build,
    decode_flac,
    decode_member,
    decode_npy,
    encode_flac,
    encode_json,
    encode_npy,
    read,
    read_raw,
)
from tests.infra.made_shards import AUDIO, RATE_HZ, SHA256, SHARD, examples, npy

ROOT = Path(__file__).parents[2]
PLAIN = st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | PLAIN,
    lambda inner: st.lists(inner) | st.dictionaries(PLAIN, inner),
)


def test_what_was_built_is_read_back():
    samples = list(read(SHARD, "shard", SHA256, 4))
    assert [sample.key for sample in samples] == [key for key, _ in examples()]
    for index, sample in enumerate(samples):
        audio, rate_hz = sample.members["input.flac"]
        assert np.array_equal(audio, AUDIO[:, index:]) and audio.dtype == np.int16 and rate_hz == RATE_HZ
        assert sample.members["json"] == {"index": index, "snr_db": 1.5, "text": "ü"}
        assert sample.members["codes.npy"].tolist() == [[index, index + 1, index + 2], [index + 3, index + 4, index + 5]]
        assert sample.members["txt"] == f"text {index} ü"


def test_undecoded_members_are_the_bytes_that_were_built_and_decode_to_the_same():
    assert list(read_raw(SHARD, "shard", SHA256, 4)) == examples()
    with pytest.raises(ShardError, match="manifest says 5"):
        list(read_raw(SHARD, "shard", None, 5))
    codes = np.arange(6, dtype=np.int16).reshape(2, 3)
    assert np.array_equal(decode_member("codes.npy", encode_npy(codes), "here"), codes)
    with pytest.raises(ShardError, match="here: cannot be decoded"):
        decode_member("codes.npy", b"no array", "here")


def test_the_same_content_has_the_same_bytes():
    assert build(examples()) == SHARD
    code = "import hashlib; from tests.infra.made_shards import SHARD; print(hashlib.sha256(SHARD).hexdigest())"
    elsewhere = os.environ | {"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"}
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=elsewhere, cwd=ROOT)
    assert other.stdout.strip() == SHA256
    headers = build([("a", {"json": b"{}", "input.txt": b"x" * 600})])
    assert (
        hashlib.sha256(headers).hexdigest() == "e09bb4235f1cdeec1773ab00d4dcda4daad009494302afbee1905629e8912116"
    )  # of the tar format itself


def test_tarfile_reads_it():
    with tarfile.open(fileobj=io.BytesIO(SHARD)) as file:
        members = {info.name: file.extractfile(info).read() for info in file.getmembers()}
        info = file.getmembers()[0]
    assert members == {f"{key}.{ext}": data for key, contents in examples() for ext, data in contents.items()}
    assert (info.mtime, info.mode, info.uid, info.uname, info.type) == (MTIME_S, 0o644, 0, "", b"0")
    assert len(SHARD) % 10_240 == 0


def test_gnu_tar_reads_it():
    listed = subprocess.run(["tar", "-tf", "-"], input=SHARD, capture_output=True, check=True)
    assert len(listed.stdout.split()) == 16 and not listed.stderr


def test_plain_webdataset_reads_it(tmp_path):
    (tmp_path / "shard.tar").write_bytes(SHARD)
    raw = list(webdataset.WebDataset(str(tmp_path / "shard.tar"), shardshuffle=False))
    assert [sample["__key__"] for sample in raw] == [key for key, _ in examples()]
    for sample, (_, contents) in zip(raw, examples(), strict=True):
        assert {name: value for name, value in sample.items() if not name.startswith("__")} == contents
    flac = webdataset.handle_extension("flac", lambda data: soundfile.read(io.BytesIO(data), dtype="int16"))
    decoded = list(webdataset.WebDataset(str(tmp_path / "shard.tar"), shardshuffle=False).decode(flac))
    for index, sample in enumerate(decoded):
        assert np.array_equal(sample["input.flac"][0].T, AUDIO[:, index:]) and sample["input.flac"][1] == RATE_HZ
        assert sample["json"]["index"] == index and sample["txt"] == f"text {index} ü"


def test_a_shard_that_webdataset_wrote_with_whole_times_is_read(tmp_path):
    path = str(tmp_path / "shard.tar")
    with webdataset.TarWriter(path, mtime=MTIME_S) as writer:  # fractions of a second take an extended header
        for key, contents in examples():
            writer.write({"__key__": key} | contents)
    assert [sample.key for sample in read(Path(path).read_bytes(), path)] == [key for key, _ in examples()]


def test_an_empty_shard_holds_nothing():
    assert list(read(build([]), "shard", num_examples=0)) == []


@given(VALUES)
def test_json_comes_back_as_it_was(value):
    (sample,) = read(build([("a", {"json": encode_json(value)})]), "shard")
    assert sample.members["json"] == value and encode_json(sample.members["json"]) == encode_json(value)


def test_json_has_one_spelling_and_no_nan():
    assert encode_json({"b": 1, "a": [1.5, "ü"]}) == encode_json({"a": [1.5, "ü"], "b": 1}) == '{"a":[1.5,"ü"],"b":1}'.encode()
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="JSON"):
            encode_json(value)


@pytest.mark.parametrize(
    "array", [np.zeros((0, 3)), np.float32(3), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.ones(2, bool)]
)
def test_arrays_come_back_as_they_were(array):
    again = decode_npy(npy(array))
    assert again.dtype == array.dtype and again.shape == array.shape and np.array_equal(again, array) and again.flags.writeable


def test_an_array_is_read_without_python_s_parser(monkeypatch):
    """Which in Python 3.11 may fail while another thread is in it, too rarely for a test to wait for that."""

    def fails(*_, **__):
        raise SystemError("AST constructor recursion depth mismatch")

    monkeypatch.setattr(ast, "parse", fails)
    with pytest.raises(SystemError):
        np.load(io.BytesIO(npy(np.ones(3))))
    assert decode_npy(npy(np.ones(3))).tolist() == [1, 1, 1]


@given(
    st.sampled_from([*"?bBhHiIlLqQefdFD"]),
    st.sampled_from("<>="),
    st.lists(st.integers(0, 3), max_size=5),
    st.sampled_from("CF"),
    st.sampled_from([(1, 0), (2, 0)]),
)
def test_what_numpy_writes_is_read_as_numpy_reads_it(kind, order, shape, layout, version):
    array, buffer = np.ones(shape, np.dtype(kind).newbyteorder(order), layout), io.BytesIO()
    np.lib.format.write_array(buffer, array, version)
    again = decode_npy(buffer.getvalue())
    assert (again.dtype, again.shape) == (array.dtype, array.shape) and np.array_equal(again, array)


@pytest.mark.parametrize("change", [(b"'<i2'", b"'<i3'"), (b"(3, 4)", b"(3,-4)"), (b"False", b"Wrong"), (b"descr", b"dtype")])
def test_a_header_of_another_form_is_told(change):
    with pytest.raises(ValueError, match="no array of numbers"):
        decode_npy(npy(np.ones((3, 4), "<i2")).replace(*change))


@pytest.mark.parametrize(
    ("shape", "rate_hz"), [((1, 0), 16_000), ((0, 5), 16_000), ((9, 5), 16_000), ((5,), 16_000), ((1, 5), 0), ((1, 5), 700_000)]
)
def test_audio_that_flac_cannot_hold_is_refused(shape, rate_hz):
    with pytest.raises(ValueError, match="FLAC holds"):
        encode_flac(np.zeros(shape, np.int16), rate_hz)


@given(st.integers(1, 8), st.integers(1, 5000), st.sampled_from([8000, 16_000, 44_100, 48_000]), st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_flac_is_lossless(num_channels, num_samples, rate_hz, seed):
    audio = np.random.default_rng(seed).integers(-32768, 32768, (num_channels, num_samples), np.int16)
    again, found_hz = decode_flac(encode_flac(audio, rate_hz))
    assert np.array_equal(again, audio) and found_hz == rate_hz and again.flags.c_contiguous
