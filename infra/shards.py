"""Shards: tars that plain `webdataset.WebDataset` reads. Writer and strict reader in one place.

A shard is built whole in memory and has the same bytes wherever it is built: members in the order given, fixed times and
owners. The tar headers (POSIX ustar) are written and read here: `tarfile` writes them differently from version to version,
and takes a damaged one for the end of the archive. The reader decodes flac, json, npy (no pickle) and txt, refuses anything
else, links and extended headers included, and no key is ever used as a path.
"""

import hashlib
import io
import json
import math
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import soundfile

KEY = re.compile(r"[A-Za-z0-9_-]{1,100}")
ROLE = re.compile(r"[a-z][a-z0-9_]{0,39}")
MTIME_S = 1_000_000_000  # any fixed time will do
MAX_NAME_BYTES = 100  # of key.role.kind: what a ustar header holds
MAX_DECODED_BYTES = 2**30  # of one member, whatever its header announces
MAX_FLAC_CHANNELS, MAX_FLAC_RATE_HZ = 8, 655_350
# As numpy writes it. Its own reader has Python parse the header, and Python 3.11 fails at that now and then when some threads
# do so at once (cpython issue 106905): a good example would be rejected, and not in every run.
NPY_HEADER = re.compile(
    rb"\{'descr': '(?P<dtype>[<>|=]?[biufc]\d{1,2})', 'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<shape>(?:\d{1,18}(?:, \d{1,18})*,?)?)\), \}\s*"
)

BLOCK_BYTES, RECORD_BYTES = 512, 10_240
HEADER = struct.Struct(
    "100s 8s 8s 8s 12s 12s 8s c 100s 6s 2s 247x"
)  # name mode uid gid size mtime checksum type link magic version
CHECKSUM = slice(148, 156)
OCTAL = re.compile(rb" *([0-7]{1,11})[ \0]*")


class ShardError(ValueError):
    """A shard that is not what its manifest says, or holds what a shard may not hold. Names the shard and the member."""


@dataclass(frozen=True)
class Sample:
    """One example of a shard: its key and its members, extension ("input.flac", "json") -> decoded value."""

    key: str
    members: dict[str, Any]


def encode_flac(audio: np.ndarray, sample_rate_hz: int) -> bytes:
    """int16 `(channels, samples)` to FLAC bytes. ValueError for what FLAC cannot hold, no samples included."""
    assert audio.dtype == np.int16, audio.dtype  # converted before, so that what was measured is what is stored
    fits = audio.ndim == 2 and 1 <= audio.shape[0] <= MAX_FLAC_CHANNELS and 1 <= sample_rate_hz <= MAX_FLAC_RATE_HZ
    if not fits or not audio.shape[1]:  # libsndfile writes a file of 0 bytes then
        limits = f"1-{MAX_FLAC_CHANNELS} channels, 1 sample or more, 1-{MAX_FLAC_RATE_HZ} Hz"
        raise ValueError(f"audio of shape {audio.shape} at {sample_rate_hz} Hz: FLAC holds {limits}")
    buffer = io.BytesIO()
    soundfile.write(buffer, audio.T, sample_rate_hz, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def decode_flac(data: bytes) -> tuple[np.ndarray, int]:
    """16-bit FLAC bytes to int16 `(channels, samples)` and the rate in Hz. ValueError for anything else, cut or damaged."""
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if (file.format, file.subtype) != ("FLAC", "PCM_16"):
                raise ValueError(f"{file.format} {file.subtype}, not 16-bit FLAC")
            num_samples, sample_rate_hz = file.frames, file.samplerate
            _check_size(num_samples * file.channels * 2)
            frames = file.read(dtype="int16", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"not a whole FLAC file: {error}") from error
    if len(frames) != num_samples:
        raise ValueError(f"{len(frames)} samples, its header says {num_samples}")
    return np.ascontiguousarray(frames.T), sample_rate_hz


def encode_json(value: Any) -> bytes:
    """Canonical JSON: sorted keys, no NaN, one spelling of each value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


def decode_npy(data: bytes) -> np.ndarray:
    """A plain numeric array of exactly the bytes its header says. ValueError for pickles, archives, any other length."""
    size_bytes = {b"\x01\x00": 2, b"\x02\x00": 4}.get(data[6:8], 0)
    if data[:6] != b"\x93NUMPY" or not size_bytes:
        raise ValueError(f"no npy of version 1 or 2: it begins with {data[:8]!r}")
    start = 8 + size_bytes + int.from_bytes(data[8 : 8 + size_bytes], "little")
    header = NPY_HEADER.fullmatch(data[8 + size_bytes : start])
    if not header or len(data) < start:
        raise ValueError(f"no array of numbers: its npy header is {data[8 + size_bytes : start][:80]!r}")
    shape = tuple(map(int, re.findall(rb"\d+", header["shape"])))
    try:
        dtype = np.dtype(header["dtype"].decode())
    except TypeError as error:  # such as three bytes
        raise ValueError(f"no array of numbers: {error}") from None
    content = data[start:]
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"{len(content)} bytes, its header says {dtype} {shape}")
    order = "F" if header["fortran"] == b"True" else "C"
    return np.frombuffer(content, dtype).reshape(shape, order=order).copy(order="K")


def encode_npy(array: np.ndarray) -> bytes:
    """A numeric array to npy bytes, row by row."""
    assert array.dtype.kind in "biufc", array.dtype
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def build(examples: Iterable[tuple[str, dict[str, bytes]]]) -> bytes:
    """The shard of `(key, {extension: bytes})` pairs, in the order given. ShardError for a name not allowed or there twice."""
    parts: list[bytes] = []
    keys: set[str] = set()
    for key, members in examples:
        if key in keys or not members:
            raise ShardError(f"a new shard: key {key[:120]!r} " + ("comes twice" if members else "has no members"))
        keys.add(key)
        for extension, data in members.items():
            _check_name(key, extension, "a new shard")
            parts += _header(f"{key}.{extension}", len(data)), data, bytes(-len(data) % BLOCK_BYTES)
    num_bytes = sum(map(len, parts)) + 2 * BLOCK_BYTES
    parts.append(bytes(2 * BLOCK_BYTES + -num_bytes % RECORD_BYTES))
    return b"".join(parts)


def read(data: bytes, name: str, sha256: str | None = None, num_examples: int | None = None) -> Iterator[Sample]:
    """The samples of a shard's bytes, checked against its manifest row where given. ShardError names what is wrong.

    With `sha256` nothing is yielded of a shard that differs in a bit; without, damage is found where it is reached.
    """
    for key, contents in read_raw(data, name, sha256, num_examples):
        yield Sample(key, {ext: decode_member(ext, content, f"{name}: {key}.{ext}") for ext, content in contents.items()})


def read_raw(
    data: bytes, name: str, sha256: str | None = None, num_examples: int | None = None
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Like `read`, for who decodes little of it: key and `{extension: undecoded bytes}`, to be decoded by `decode_member`."""
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise ShardError(f"{name}: {len(data)} bytes whose sha256 is not the manifest's: truncated or changed, make it again")
    count = 0
    for example in _examples(data, name):
        count += 1
        yield example
    if num_examples is not None and count != num_examples:
        raise ShardError(f"{name}: {count} examples, its manifest says {num_examples}")


def decode_member(extension: str, content: bytes, where: str) -> Any:
    """The value of a member's bytes, by the last part of its extension. ShardError naming `where` if they are not one."""
    try:
        return DECODERS[extension.rpartition(".")[2]](content)
    except Exception as error:  # which errors a decoder raises on hostile bytes is not documented: recursion, memory, tokens
        raise ShardError(f"{where}: cannot be decoded: {error}") from error


def _examples(data: bytes, name: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Members gathered by key; each key in one place, each extension once."""
    keys: set[str] = set()
    key, contents = "", {}
    for member_key, extension, content in _members(data, name):
        if member_key != key:
            if contents:
                yield key, contents
            if member_key in keys:
                raise ShardError(f"{name}: key {member_key} comes twice")
            keys.add(member_key)
            key, contents = member_key, {}
        if extension in contents:
            raise ShardError(f"{name}: {key}.{extension} comes twice")
        contents[extension] = content
    if contents:
        yield key, contents


def _members(data: bytes, name: str) -> Iterator[tuple[str, str, bytes]]:
    """Key, extension and bytes of each member, up to the two blocks of zeros that end a whole tar."""
    start = 0
    while any(header := data[start : start + BLOCK_BYTES]):
        member, num_bytes = _parse_header(header, f"{name}: at byte {start}")
        key, _, extension = member.partition(".")
        _check_name(key, extension, name)
        end = start + BLOCK_BYTES + num_bytes
        start = end + -num_bytes % BLOCK_BYTES
        if start > len(data) or any(data[end:start]):
            raise ShardError(f"{name}: {member}: {num_bytes} bytes announced, the shard is cut or damaged there")
        yield key, extension, data[end - num_bytes : end]
    if len(data) - start < 2 * BLOCK_BYTES or any(data[start:]):
        raise ShardError(f"{name}: no end after {start} of {len(data)} bytes: the shard is cut or damaged")


def _header(member: str, num_bytes: int) -> bytes:
    if num_bytes >= 8**11:
        raise ShardError(f"a new shard: {member}: {num_bytes} bytes are more than a tar header can say")
    size, mtime = b"%011o" % num_bytes, b"%011o" % MTIME_S
    fields = member.encode(), b"0000644", b"0000000", b"0000000", size, mtime, b" " * 8, b"0", b"", b"ustar\0", b"00"
    header = HEADER.pack(*fields)
    return b"%b%06o\0 %b" % (header[: CHECKSUM.start], sum(header), header[CHECKSUM.stop :])


def _parse_header(header: bytes, where: str) -> tuple[str, int]:
    """Name and size of a plain file's header; nothing but plain files with short names is allowed."""
    if len(header) < BLOCK_BYTES:
        raise ShardError(f"{where}: the shard ends in a header")
    name, _, _, _, size, _, checksum, kind, link, magic, _ = HEADER.unpack(header)
    said, length = OCTAL.fullmatch(checksum), OCTAL.fullmatch(size)
    blank = header[: CHECKSUM.start] + b" " * 8 + header[CHECKSUM.stop :]
    if not magic.startswith(b"ustar") or not said or int(said[1], 8) != sum(blank):
        raise ShardError(f"{where}: not a tar header: the shard is cut or damaged, or no tar")
    member = name.rstrip(b"\0").decode("ascii", "replace")
    if kind not in b"0\0" or any(link) or any(header[345:500]):  # the last: a path before the name
        raise ShardError(f"{where}: {member[:120]!r} is not a plain file with a short name")
    if not length:
        raise ShardError(f"{where}: {member[:120]!r} has no size")
    return member, int(length[1], 8)


def _check_name(key: str, extension: str, shard: str) -> None:
    role, _, kind = extension.rpartition(".")
    member = f"{key}.{extension}"
    fits = KEY.fullmatch(key) and kind in DECODERS and (ROLE.fullmatch(role) or extension == kind)
    if not fits or len(member) > MAX_NAME_BYTES:
        allowed = f"key.role.kind or key.kind of at most {MAX_NAME_BYTES} bytes, key {KEY.pattern}, kind {'|'.join(DECODERS)}"
        raise ShardError(f"{shard}: member {member[:120]!r} is not allowed; names are {allowed}")


def _check_size(num_bytes: int) -> None:
    if num_bytes > MAX_DECODED_BYTES:
        raise ValueError(f"its header announces {num_bytes} bytes, {MAX_DECODED_BYTES} are allowed")


DECODERS = {
    "flac": decode_flac,
    "json": msgspec.json.decode,
    "npy": decode_npy,
    "txt": lambda content: content.decode("utf-8"),
}
