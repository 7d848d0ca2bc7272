"""Shards: tars that plain `webdataset.WebDataset` reads. Writer and strict reader in one place.

A shard is built whole in memory and has the same bytes wherever it is built: members in key order, fixed times and owners.
A truncated tar can read as complete, so the reader takes the size and hash from the manifest first. It decodes flac, json,
npy (no pickle) and txt and refuses anything else; no key is ever used as a path.
"""

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile

KEY = re.compile(r"^[A-Za-z0-9_-]{1,100}$")
ROLE = re.compile(r"^[a-z][a-z0-9_]{0,39}$")
MTIME_S = 1_000_000_000  # any fixed time will do


class ShardError(ValueError):
    """A shard that is not what its manifest says, or holds what a shard may not hold. Names the shard and the member."""


@dataclass(frozen=True)
class Sample:
    """One example of a shard: its key and its members, extension ("input.flac", "json") -> decoded value."""

    key: str
    members: dict[str, Any]


def encode_flac(audio: np.ndarray, sample_rate_hz: int) -> bytes:
    """int16 `(channels, samples)` to FLAC bytes."""
    assert audio.dtype == np.int16, audio.dtype  # converted before, so that what was measured is what is stored
    buffer = io.BytesIO()
    soundfile.write(buffer, audio.T, sample_rate_hz, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def decode_flac(data: bytes) -> tuple[np.ndarray, int]:
    """FLAC bytes to int16 `(channels, samples)` and the sample rate in Hz."""
    frames, sample_rate_hz = soundfile.read(io.BytesIO(data), dtype="int16", always_2d=True)
    return np.ascontiguousarray(frames.T), sample_rate_hz


def encode_json(value: Any) -> bytes:
    """Canonical JSON: sorted keys, no NaN, one spelling of each value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


def build(examples: Iterable[tuple[str, dict[str, bytes]]]) -> bytes:
    """The shard of `(key, {extension: bytes})` pairs, in the order given. ValueError for a key or extension that is not allowed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for key, members in examples:
            for extension, data in members.items():
                _check_name(key, extension, "a new shard")
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size, info.mtime, info.mode = len(data), MTIME_S, 0o644
                tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def read(data: bytes, name: str, sha256: str | None = None, num_examples: int | None = None) -> Iterator[Sample]:
    """The samples of a shard's bytes, checked against its manifest row where given. ShardError names what is wrong."""
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise ShardError(f"{name}: {len(data)} bytes whose sha256 is not the manifest's: truncated or changed, make it again")
    count, key, members = 0, None, {}
    for member_key, extension, content in _members(data, name):
        if member_key != key and key is not None:
            count += 1
            yield Sample(key, members)
            members = {}
        key = member_key
        if extension in members:
            raise ShardError(f"{name}: {key}.{extension} is there twice")
        members[extension] = _decode(extension, content, f"{name}: {key}.{extension}")
    if key is not None:
        count += 1
        yield Sample(key, members)
    if num_examples is not None and count != num_examples:
        raise ShardError(f"{name}: {count} examples, its manifest says {num_examples}")


def _members(data: bytes, name: str) -> Iterator[tuple[str, str, bytes]]:
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for info in tar:
                key, _, extension = info.name.partition(".")
                if not info.isfile():
                    raise ShardError(f"{name}: {info.name[:120]!r} is not a plain file")
                _check_name(key, extension, name)
                content = tar.extractfile(info).read()
                if len(content) != info.size:
                    raise ShardError(f"{name}: {info.name} ends early")
                yield key, extension, content
    except tarfile.TarError as error:
        raise ShardError(f"{name}: not a whole tar: {error}") from error


def _check_name(key: str, extension: str, shard: str) -> None:
    role, _, kind = extension.rpartition(".")
    if not KEY.match(key) or kind not in DECODERS or (role and not ROLE.match(role)):
        allowed = f"[A-Za-z0-9_-]{{1,100}} . role . {'|'.join(DECODERS)}"
        raise ShardError(f"{shard}: member {f'{key}.{extension}'[:120]!r} is not allowed; names are {allowed}")


def _decode(extension: str, content: bytes, where: str) -> Any:
    try:
        return DECODERS[extension.rpartition(".")[2]](content)
    except (ValueError, soundfile.LibsndfileError, EOFError) as error:
        raise ShardError(f"{where}: cannot be decoded: {error}") from error


DECODERS = {
    "flac": decode_flac,
    "json": lambda content: json.loads(content),
    "npy": lambda content: np.load(io.BytesIO(content), allow_pickle=False),
    "txt": lambda content: content.decode("utf-8"),
}
