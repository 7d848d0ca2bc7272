"""Clips in shards: datasets of `make simulate`, and tars of any other WebDataset through an index that is made once.

A window's shards are read whole, held to the sha256 of their manifest, and cut into members; what is in them is decoded later,
and only the crop that is used.
"""

import functools
import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from infra.dataset import Dataset, open_dataset
from infra.shards import ShardError, read_raw
from infra.storage import Store
from training.data import tar_index
from training.data.config import DataConfig
from training.data.crops import Clip
from training.data.quarantine import Rejected
from training.data.shared_shards import SharedShards
from training.data.windows import Order, ShardSizes, shard_windows

SPEECH_TASKS = ("sr", "tse", "rtse", "ss", "vc", "speech_edit", "aec")  # of the others, most clips are events
ALL_ROLES = "all"


@dataclass(frozen=True, eq=False)
class ShardSource:
    """Clips of shards, numbered shard by shard."""

    id: str
    where: str
    domain: str
    split: str
    table: pa.Table  # a row a clip: shard (number), key, member, sample_rate_hz, num_frames; of an index also offset, num_bytes
    shards: pd.DataFrame  # a row a shard: url, sha256, num_bytes, num_clips
    window: tuple[int, float]  # most shards and bytes

    @classmethod
    def of_dataset(cls, store: Store, config: DataConfig, domain: str = "") -> "ShardSource":
        """A dataset of ours; its domain is that of its task, if none is given. ValueError if no clip has one of the roles."""
        dataset = open_dataset(store)
        recipe = dataset.description.get("recipe", {})
        domain = domain or ("speech" if recipe.get("task") in SPEECH_TASKS else "event")
        identity = f"{dataset.description['id'][:12]}:{','.join(sorted(config.roles))}"
        shards = dataset.shards().rename(columns=lambda name: name.removeprefix("shard_"))
        shards["url"] = store.url + "/" + shards["shard"]
        table = _chosen(_clips_of(dataset, shards["shard"]), config, store.url)
        return cls(identity, store.url, domain, recipe.get("split", "train"), table, *_sized(shards, table, config))

    @classmethod
    def of_tars(cls, place: str, config: DataConfig, domain: str, folder: Store) -> "ShardSource":
        """A folder of tars, or tars in braces (x-{000..099}.tar); their index is read from `folder`, or made and put there."""
        index = tar_index.open_index(place, folder, config.max_reject_share)
        table = _chosen(index.clips, config, place)
        identity = f"{index.id}:{','.join(sorted(config.roles))}"
        return cls(identity, place, domain, "train", table, *_sized(index.shards, table, config))

    @property
    def num_clips(self) -> int:
        return self.table.num_rows

    @functools.cached_property
    def shared(self) -> SharedShards:
        """Shards of which only a part was asked for."""
        return SharedShards(self.window[1])

    def windows(self, order: Order) -> list[np.ndarray]:
        num_clips, num_bytes = self.shards["num_clips"].to_numpy(), self.shards["num_bytes"].to_numpy()
        return shard_windows(ShardSizes(num_clips, num_bytes, *self.window), order)

    def fetch(self, clips: np.ndarray) -> dict[int, Clip | Rejected]:
        clips = np.sort(clips)
        rows = self.table.take(pa.array(clips)).to_pylist()
        shards = np.array([row["shard"] for row in rows])
        found: dict[int, Clip | Rejected] = {}
        for shard in np.unique(shards).tolist():
            first, stop = np.searchsorted(shards, [shard, shard + 1])
            found |= zip(clips[first:stop].tolist(), self._cut(shard, rows[first:stop]))
        return found

    def _cut(self, shard: int, rows: list[dict]) -> list[Clip | Rejected]:
        """Clips of one shard; if the shard cannot serve, all are rejected."""
        url, sha256 = self.shards["url"].iat[shard], self.shards["sha256"].iat[shard]
        num_bytes, num_clips = self.shards["num_bytes"].iat[shard], self.shards["num_clips"].iat[shard]
        try:
            used = len(rows), num_clips
            contents = self.shared.get(url, num_bytes, used, lambda: _read_members(self._kept_rows(shard, rows), url, sha256))
        except Rejected as rejected:
            return [rejected] * len(rows)
        return [_clip(row, contents.get(row["member"]), url) for row in rows]

    def _kept_rows(self, shard: int, rows: list[dict]) -> list[dict]:
        """All rows of a shard that may be kept for others, these alone of one that is too large."""
        num_bytes, num_clips = self.shards["num_bytes"].iat[shard], self.shards["num_clips"].iat[shard]
        if len(rows) == num_clips or num_bytes > self.window[1]:
            return rows
        first, stop = np.searchsorted(self.table["shard"].to_numpy(), [shard, shard + 1])
        return self.table.slice(first, stop - first).to_pylist()


def _clips_of(dataset: Dataset, shards: pd.Series) -> pa.Table:
    """A row for each signal of each example: the columns of `ShardSource.table`, and its role."""
    columns = ["shard", "key", "roles", "role_num_samples", "sample_rate_hz"]
    manifest = dataset.manifest.select(columns).combine_chunks()
    roles, lengths = pc.list_flatten(manifest["roles"]), pc.list_flatten(manifest["role_num_samples"])
    if len(roles) != len(lengths):
        raise ValueError(f"{dataset.store.url}: its manifest has {len(roles)} roles and {len(lengths)} lengths; make it again")
    rows = manifest.take(pc.list_parent_indices(manifest["roles"]))
    table = pa.table(
        {
            "shard": pc.index_in(rows["shard"], value_set=pa.array(shards)),
            "key": pc.binary_join_element_wise(rows["key"], roles, "."),
            "member": pc.binary_join_element_wise(rows["key"], roles, "flac", "."),
            "role": roles,
            "sample_rate_hz": rows["sample_rate_hz"],
            "num_frames": lengths,
        }
    )
    return table.take(np.argsort(table["shard"].to_numpy(), kind="stable"))


def _chosen(table: pa.Table, config: DataConfig, where: str) -> pa.Table:
    """The clips of the roles and rates asked for. In plain tars a clip may have no role: it is taken whatever is asked for."""
    there = pc.unique(table["role"]).to_pylist()
    roles = there if ALL_ROLES in config.roles else ["", *config.roles]
    kept = table.filter(pc.is_in(table["role"], value_set=pa.array(roles)))
    kept = kept.filter(pc.greater_equal(kept["sample_rate_hz"], config.min_source_rate_hz))
    if not kept.num_rows:
        raise ValueError(
            f"{where}: no clip with a role of {', '.join(config.roles)} and at least {config.min_source_rate_hz} Hz;"
            f" there are the roles {', '.join(map(repr, there)) or 'none'}: choose with --clips.roles"
        )
    return kept.drop_columns("role").combine_chunks()


def _sized(shards: pd.DataFrame, table: pa.Table, config: DataConfig) -> tuple[pd.DataFrame, tuple[int, float]]:
    """The shards with their numbers of chosen clips, and the limits of a window."""
    num_clips = np.bincount(table["shard"].to_numpy(), minlength=len(shards))
    shards = shards[["url", "sha256", "num_bytes"]].assign(num_clips=num_clips).reset_index(drop=True)
    return shards, (config.window_shards, config.window_mb * 1e6)


def read_whole(url: str, sha256: str) -> dict[str, dict[str, bytes]]:
    """Undecoded members of a shard of ours: key -> extension -> bytes. Rejected if it is gone or has changed."""
    try:
        return dict(read_raw(_read(url), url, sha256))
    except ShardError as error:
        raise Rejected("changed", str(error), file=url) from None


def _read_members(rows: list[dict], url: str, sha256: str) -> dict[str, bytes]:
    return _read_indexed(rows, url, sha256) if "offset" in rows[0] else _read_shard(rows, url, sha256)


def _read_shard(rows: list[dict], url: str, sha256: str) -> dict[str, bytes]:
    """Undecoded members by name, of a shard of ours."""
    wanted = {row["member"] for row in rows}
    return {
        name: content
        for key, contents in read_whole(url, sha256).items()
        for kind, content in contents.items()
        if (name := f"{key}.{kind}") in wanted
    }


def _read_indexed(rows: list[dict], url: str, sha256: str) -> dict[str, bytes]:
    """Undecoded members by name, from where the index says that they are in a tar. Rejected if it is gone or has changed."""
    data = _read(url)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise Rejected("changed", f"{len(data)} bytes, no longer those that were indexed", file=url)
    return {row["member"]: data[row["offset"] : row["offset"] + row["num_bytes"]] for row in rows}


def _read(url: str) -> bytes:
    try:
        return tar_index.read_object(url)
    except FileNotFoundError:
        raise Rejected("missing", "the manifest names it", file=url) from None


def _clip(row: dict, content: bytes | None, url: str) -> Clip | Rejected:
    where = f"{url}/{row['member']}"
    if content is None:
        return Rejected("missing", "the manifest names it, the shard has no such member", file=where, key=row["key"])
    return Clip(row["key"], content, where, row["sample_rate_hz"], row["num_frames"])
