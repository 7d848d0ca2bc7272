"""A small shard with every kind of member, and tars as others write them."""

import hashlib
import io
import tarfile

import numpy as np

from infra.shards import build, encode_flac, encode_json

RATE_HZ = 16_000
AUDIO = (np.random.default_rng(1).normal(size=(2, 800)) * 3000).astype(np.int16)


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


FLAC = encode_flac(AUDIO, RATE_HZ)
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
