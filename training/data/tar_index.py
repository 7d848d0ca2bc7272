"""An index of the tars of any WebDataset, read once through the `webdataset` library, kept as Parquet beside the run.

What a dataset of ours knows from its manifest is found out here: which clips there are, where in their tar, how long, and the
sha256 of every tar, so that later reads are held to what was indexed. Only audio is looked into; nothing is unpickled.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from tqdm import tqdm
from webdataset.shardlists import expand_urls
from webdataset.tariterators import group_by_keys, tar_file_expander

from infra.command_line import TooManyRejects
from infra.storage import Store, open_store
from training.data.quarantine import Rejected

AUDIO = ("flac", "wav", "ogg", "opus", "mp3")
END = bytes(1024)  # two blocks of zeros end a whole tar
SCHEMA = pa.schema(
    [
        ("shard", pa.int32()),
        ("key", pa.string()),
        ("member", pa.string()),
        ("role", pa.string()),
        ("sample_rate_hz", pa.int32()),
        ("num_frames", pa.int64()),
        ("offset", pa.int64()),
        ("num_bytes", pa.int64()),
    ]
)
SHARDS_KEY = b"quarkline.shards"


@dataclass(frozen=True, eq=False)
class TarIndex:
    """Clips of tars: `clips` has SCHEMA, `shards` a row a tar: url, num_bytes, sha256; a tar that cannot serve has no clips."""

    clips: pa.Table
    shards: pd.DataFrame

    @property
    def id(self) -> str:
        return hashlib.sha256("".join(self.shards["sha256"]).encode()).hexdigest()[:12]


def open_index(place: str, folder: Store, max_reject_share: float) -> TarIndex:
    """The index of the tars at a place: from `folder` if these tars, by name and size, were indexed there before; else made.

    ValueError if there are none; TooManyRejects if more than this share of them cannot serve.
    """
    sizes = _sizes(place)
    name = f"tars-{hashlib.sha256(place.encode()).hexdigest()[:12]}.parquet"
    if folder.exists(name):
        table = pq.read_table(pa.BufferReader(folder.get(name)))
        shards = pd.DataFrame(json.loads((table.schema.metadata or {}).get(SHARDS_KEY, b"[]")))
        if len(shards) and dict(zip(shards["url"], shards["num_bytes"])) == sizes:
            return TarIndex(table, shards)
    index, rejects = _make(place, sizes)
    _settle(place, len(sizes), rejects, max_reject_share)
    buffer = io.BytesIO()
    described = json.dumps(index.shards.to_dict("records"))
    pq.write_table(index.clips.replace_schema_metadata({SHARDS_KEY: described}), buffer, compression="zstd")
    folder.put(name, buffer.getvalue())
    return index


def read_object(url: str) -> bytes:
    """The bytes at a path or s3:// URL. FileNotFoundError, StorageError."""
    folder, _, name = url.rpartition("/")
    return open_store(folder or ("/" if url.startswith("/") else ".")).get(name)


def _sizes(place: str) -> dict[str, int]:
    """URL -> size in bytes of every tar that the place names, in order. ValueError if one is not there."""
    if "{" not in place and not place.endswith(".tar"):
        store = open_store(place)
        sizes = {f"{store.url}/{name}": size for name, size in store.list().items() if name.endswith(".tar")}
        if not sizes:
            raise ValueError(f"{place}: no tars here")
        return sizes
    urls = expand_urls(place)
    there: dict[str, int] = {}
    for folder in dict.fromkeys(url.rpartition("/")[0] for url in urls):
        there |= {f"{folder}/{name}" if folder else name: size for name, size in open_store(folder or ".").list().items()}
    missing = [url for url in urls if url not in there]
    if missing:
        raise ValueError(f"{missing[0]}: no such file ({len(missing)} of the {len(urls)} that {place} names are not there)")
    return {url: there[url] for url in urls}


def _make(place: str, sizes: dict[str, int]) -> tuple[TarIndex, list[Rejected]]:
    """The index, and what could not be read."""
    rows: list[dict[str, Any]] = []
    shards, rejects = [], []
    with ThreadPoolExecutor(4) as pool:
        read = tqdm(pool.map(_look_into, sizes), desc=f"index {place}", total=len(sizes), unit="tar", disable=None)
        for number, (url, (sha256, entries)) in enumerate(zip(sizes, read)):
            shards.append({"url": url, "num_bytes": sizes[url], "sha256": sha256})
            rejects += [entry for entry in entries if isinstance(entry, Rejected)]
            rows += [entry | {"shard": number} for entry in entries if not isinstance(entry, Rejected)]
    return TarIndex(pa.Table.from_pylist(rows, schema=SCHEMA), pd.DataFrame(shards)), rejects


def _settle(place: str, num_shards: int, rejects: list[Rejected], max_share: float) -> None:
    """Say what is left out. TooManyRejects."""
    if not rejects:
        return
    shards = [rejected for rejected in rejects if not rejected.key]
    text = f"{place}: {len(shards)} of {num_shards} tars and {len(rejects) - len(shards)} clips cannot serve: {rejects[0]}"
    if len(shards) > max_share * num_shards:
        raise TooManyRejects(f"{text}; mend or remove them, or raise --clips.max-reject-share, which is {max_share}")
    print(f"{text} (and {len(rejects) - 1} more)" if len(rejects) > 1 else text)


def _look_into(url: str) -> tuple[str, list[dict[str, Any] | Rejected]]:
    """The sha256 of a tar, and a row for each clip in it or the reason why it cannot serve."""
    data = read_object(url)
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        places = _places(data, url)
        return sha256, list(_clips(data, places, url))
    except Rejected as rejected:
        return sha256, [rejected]
    except (ValueError, tarfile.TarError) as error:  # names that come twice
        return sha256, [Rejected("undecodable", str(error), file=url)]


def _places(data: bytes, url: str) -> dict[str, tuple[int, int]]:
    """Offset and size in bytes of every plain file in a tar, by name. Rejected if it is no whole tar."""
    if not data.endswith(END):
        raise Rejected("changed", f"{len(data)} bytes without the end of a tar: it is cut", file=url)
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            return {member.name: (member.offset_data, member.size) for member in tar if member.isreg()}
    except tarfile.TarError as error:
        raise Rejected("undecodable", str(error), file=url) from error


def _clips(data: bytes, places: dict[str, tuple[int, int]], url: str) -> Iterator[dict[str, Any] | Rejected]:
    """Every audio member of every sample, as webdataset groups them."""
    files = tar_file_expander([{"stream": io.BytesIO(data), "url": url}])
    for sample in group_by_keys(files, lcase=False):
        for extension, content in sample.items():
            role, _, kind = extension.rpartition(".")
            if kind.lower() not in AUDIO:
                continue
            member = f"{sample['__key__']}.{extension}"
            key = f"{sample['__key__']}.{role}" if role else sample["__key__"]
            try:
                found = soundfile.info(io.BytesIO(content))
            except soundfile.LibsndfileError as error:
                yield Rejected("undecodable", str(error), file=f"{url}/{member}", key=key)
                continue
            offset, num_bytes = places[member]
            about = {"sample_rate_hz": found.samplerate, "num_frames": found.frames}
            yield {"key": key, "member": member, "role": role, "offset": offset, "num_bytes": num_bytes, **about}
