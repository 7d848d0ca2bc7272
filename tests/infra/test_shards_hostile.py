"""Shards that somebody made to do harm: names, pickles, links, headers that announce too much. Nothing of it gets through."""

import io
import pickle
import struct
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from infra.shards import MAX_DECODED_BYTES, ShardError, build, read
from tests.infra.made_shards import AUDIO, FLAC, RATE_HZ, npy, tar

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
    with pytest.raises(ShardError, match="no array of numbers"):
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
