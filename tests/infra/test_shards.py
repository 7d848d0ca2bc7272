"""Shards: same content same bytes, readable by tarfile and webdataset, and nothing hostile or damaged gets through."""

import hashlib
import io
import math
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.shards import (
    MAX_DECODED_BYTES,
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

ROOT = Path(__file__).parents[2]
RATE_HZ = 16_000
AUDIO = (np.random.default_rng(1).normal(size=(2, 800)) * 3000).astype(np.int16)
PLAIN = st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | PLAIN,
    lambda inner: st.lists(inner) | st.dictionaries(PLAIN, inner),
)


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def examples(num: int = 4) -> list[tuple[str, dict[str, bytes]]]:
    """A few small examples with every kind of member."""
    return [
        (
            f"sr-{index:06d}",
            {
                "input.flac": encode_flac(AUDIO[:, index:], RATE_HZ),
                "json": encode_json({"index": index, "snr_db": 1.5, "text": "ü"}),
                "codes.npy": npy(np.arange(6, dtype=np.int16).reshape(2, 3) + index),
                "txt": f"text {index} ü".encode(),
            },
        )
        for index in range(num)
    ]


SHARD = build(examples())
SHA256 = hashlib.sha256(SHARD).hexdigest()


def tar(*members: tuple[tarfile.TarInfo | str, bytes], **options) -> bytes:
    """A tar as others write it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", **({"format": tarfile.USTAR_FORMAT} | options)) as file:
        for info, data in members:
            info = tarfile.TarInfo(info) if isinstance(info, str) else info
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


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
    code = "import hashlib; from tests.infra.test_shards import SHARD; print(hashlib.sha256(SHARD).hexdigest())"
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


NOT_ALLOWED = [
    "a.pyd",
    "a.pkl",
    "a.pth",
    "a.pickle",
    "a.py",
    "a.cls",
    "a",
    "a.",
    ".json",
    "a.json.gz",
    "a..json",
    "a.FLAC",
    "a.x/y.json",
]
NOT_ALLOWED += [
    "../a.json",
    "/a.json",
    "./a.json",
    "b/a.json",
    "a b.json",
    "a\n.json",
    "ä.json",
    "a.Input.flac",
    "a.a.b.flac",
    "a.1x.txt",
]


@pytest.mark.parametrize("member", [*NOT_ALLOWED, "k" * 101 + ".json", "k" * 90 + ".input.flac"])
def test_a_name_that_is_not_allowed_is_neither_written_nor_read(member):
    key, _, extension = member.partition(".")
    with pytest.raises(ShardError, match=r"a new shard: member .* is not allowed; names are"):
        build([(key, {extension: b"{}"})])
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        if form != tarfile.USTAR_FORMAT or len(member) <= 100:
            with pytest.raises(ShardError, match=r"is not allowed|plain file"):
                list(read(tar((member, b"{}"), format=form), "shard"))


def test_a_pickle_is_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return Path(tmp_path / "exploded").touch, ()

    pickled = pickle.dumps(Bomb())
    for name in ("a.pyd", "a.pkl", "a.npy", "a.json", "a.txt", "a.flac"):
        with pytest.raises(ShardError, match=r"a\."):
            list(read(tar((name, pickled + b"\xff")), "shard"))
    with pytest.raises(ShardError, match="numbers are allowed"):
        list(read(tar(("a.npy", npy(np.array([Bomb()], object)))), "shard"))
    assert not (tmp_path / "exploded").exists()


def linked(kind: bytes, target: str = "/etc/passwd") -> tarfile.TarInfo:
    info = tarfile.TarInfo("a.json")
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
)
def test_links_devices_and_folders_are_refused(kind):
    with pytest.raises(ShardError, match=r"shard: at byte 0: 'a.json/?' is not a plain file"):
        list(read(tar((linked(kind), b"")), "shard"))


def test_extended_headers_are_refused():
    long = ("k" * 120 + ".json", b"{}")
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        with pytest.raises(ShardError, match="not a plain file with a short name"):
            list(read(tar(long, format=form), "shard"))
    with pytest.raises(ShardError, match="not a plain file with a short name"):
        list(read(tar(("a.json", b"{}"), format=tarfile.PAX_FORMAT, pax_headers={"path": "b.json"}), "shard"))


def test_a_key_or_member_that_comes_twice_is_refused():
    with pytest.raises(ShardError, match="key 'a' comes twice"):
        build([("a", {"json": b"{}"}), ("a", {"txt": b""})])
    with pytest.raises(ShardError, match="key 'a' has no members"):
        build([("a", {})])
    with pytest.raises(ShardError, match=r"a\.json comes twice"):
        list(read(tar(("a.json", b"1"), ("a.txt", b"1"), ("a.json", b"2")), "shard"))
    with pytest.raises(ShardError, match="key a comes twice"):
        list(read(tar(("a.json", b"1"), ("b.json", b"1"), ("a.txt", b"2")), "shard"))


def announcing(data: bytes, num_frames: int) -> bytes:
    """The FLAC file with another total in its STREAMINFO, 36 bits from the low half of byte 21 on."""
    low = num_frames & 0xFFFFFFFF
    return data[:21] + bytes([data[21] & 0xF0 | num_frames >> 32]) + struct.pack(">I", low) + data[26:]


def header_of(shape: str, dtype: str = "<f8") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


FLAC = encode_flac(AUDIO, RATE_HZ)
BOMBS = {
    "flac of 2^36 frames": ("a.flac", announcing(FLAC, 2**36 - 1)),
    "flac just allowed": ("a.flac", announcing(FLAC, MAX_DECODED_BYTES // 4)),
    "flac of unknown length": ("a.flac", announcing(FLAC, 0)),
    "flac one frame short": ("a.flac", announcing(FLAC, AUDIO.shape[1] + 1)),
    "npy of 2^60 values": ("a.npy", header_of("(1152921504606846976,)")),
    "npy that overflows": ("a.npy", header_of("(4294967296, 4294967296, 16)") + b"12345678"),
    "npy of minus one": ("a.npy", header_of("(-1, -1)") + b"12345678"),
    "npy of empty values": ("a.npy", header_of("(1099511627776,)", "|V0")),
    "npy of long text": ("a.npy", header_of("()", "<U1000000000")),
    "npy nested": ("a.npy", header_of("(" * 100)),
    "json nested": ("a.json", b"[" * 100_000),
    "json number": ("a.json", b"9" * 100_000 + b"x"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_header_that_announces_too_much_costs_nothing(name):
    member, data = BOMBS[name]
    shard = tar((member, data))
    tracemalloc.start()
    try:
        with pytest.raises(ShardError, match=r"shard: a\.\w+: cannot be decoded"):
            list(read(shard, "shard"))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < (10_000_000 if name != "flac just allowed" else 1.01 * MAX_DECODED_BYTES)  # untouched pages


@pytest.mark.parametrize(("form", "subtype"), [("WAV", "PCM_16"), ("OGG", "VORBIS"), ("AIFF", "PCM_16"), ("FLAC", "PCM_24")])
def test_other_audio_under_the_name_of_flac_is_refused_not_rounded(form, subtype):
    buffer = io.BytesIO()
    soundfile.write(buffer, AUDIO.T, RATE_HZ, format=form, subtype=subtype)
    with pytest.raises(ShardError, match="not 16-bit FLAC"):
        list(read(tar(("a.flac", buffer.getvalue())), "shard"))


def test_every_cut_is_found_from_the_manifest_row_before_anything_is_read():
    for cut in np.linspace(0, len(SHARD) - 1, 200).astype(int):
        samples = read(SHARD[:cut], "out/shard-000003.tar", SHA256, 4)
        with pytest.raises(ShardError, match=r"out/shard-000003.tar: \d+ bytes whose sha256 is not the manifest's"):
            next(samples)


def test_every_cut_into_the_content_is_found_without_a_manifest_too():
    end = len(SHARD.rstrip(b"\0")) + 1024  # the rest is padding
    for cut in np.linspace(0, end - 1, 200).astype(int):
        with pytest.raises(ShardError, match="shard: "):
            list(read(SHARD[:cut], "shard"))


def test_another_number_of_examples_than_the_manifest_says_is_refused():
    with pytest.raises(ShardError, match="4 examples, its manifest says 5"):
        list(read(SHARD, "shard", SHA256, 5))


MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert", "delete", "copy"]), st.integers(0, len(SHARD) - 1), st.binary(max_size=600)
    ),
    min_size=1,
    max_size=4,
)


def mutated(mutations: list[tuple[str, int, bytes]]) -> bytes:
    data = SHARD
    for kind, place, piece in mutations:
        place %= max(len(data), 1)
        match kind:
            case "flip":
                data = data[:place] + bytes([data[place] ^ (len(piece) % 255 + 1)]) + data[place + 1 :] if data else data
            case "cut":
                data = data[:place]
            case "insert":
                data = data[:place] + piece + data[place:]
            case "delete":
                data = data[:place] + data[place + 512 :]
            case "copy":
                data = data[:place] + data[place // 2 : place // 2 + 1024] + data[place:]
    return data


@given(MUTATIONS)
@settings(max_examples=600, deadline=None)
def test_a_damaged_shard_raises_nothing_but_shard_error_and_never_passes_its_hash(mutations):
    data = mutated(mutations)
    try:
        samples = list(read(data, "shard"))
    except ShardError as error:
        assert str(error).startswith("shard: ")
    else:
        assert all(sample.members for sample in samples)
    if data != SHARD:
        with pytest.raises(ShardError, match="sha256"):
            next(read(data, "shard", SHA256))


@given(st.binary(max_size=3000), st.sampled_from(["a.flac", "a.json", "a.npy", "a.txt"]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_bytes_under_an_allowed_name_raise_nothing_but_shard_error(data, name, headed):
    magic = {"a.flac": FLAC[:60], "a.npy": b"\x93NUMPY\x01\x00", "a.json": b'{"a":', "a.txt": b""}[name]
    try:
        list(read(tar((name, magic * headed + data)), "shard"))
    except ShardError as error:
        assert str(error).startswith("shard: a.")


def test_a_bit_of_damage_to_a_header_is_found_where_tarfile_sees_the_end():
    second = SHARD.index(b"sr-000001.input.flac")
    damaged = bytearray(SHARD)
    damaged[second] ^= 1
    with tarfile.open(fileobj=io.BytesIO(bytes(damaged))) as file:
        assert len(file.getmembers()) == 4  # of 16, and no error
    with pytest.raises(ShardError, match=f"at byte {second}: not a tar header"):
        list(read(bytes(damaged), "shard"))
