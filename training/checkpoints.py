"""Checkpoints in a folder or on S3: whole, hashed, or not there.

    step-00000500/generator.safetensors     one group of tensors each; what is large continues in generator.1.safetensors ...
    step-00000500/state.json                where the loop and the data stand
    step-00000500/manifest.json             sizes and hashes of the others, configuration, parents; put last: without it there
                                            is no checkpoint
    best.json                               which step was best by a metric

Hashes are checked before anything is parsed, and nothing is ever unpickled. A checkpoint that is damaged is named, and an
older one is used; training never starts anew silently.
"""

import contextlib
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import safetensors.torch
from torch import Tensor

from infra.config import fingerprint
from infra.storage import FolderStore, StorageError, Store
from training.guard import agreed, on_first_rank, rank

logger = logging.getLogger(__name__)

MANIFEST, STATE, BEST = "manifest.json", "state.json", "best.json"
PART_BYTES = 2**30  # of a file: bounds memory, and lies below the 5 GB that one put to S3 takes
REMEDY = "give the same values to go on, or another --out to train anew"
ENDING = ".safetensors"
Files = Iterator[tuple[str, dict[str, Tensor]]]


@dataclass(frozen=True)
class KeepConfig:
    """Which checkpoints stay."""

    last: int = 3
    """So many of the last."""
    best: str = "valid/mel_distance"
    """And the one that is best by this metric, where it was measured at the step of a checkpoint."""
    best_is: Literal["min", "max"] = "min"
    """Whether little or much of the metric is good."""
    max_failed_saves: int = 3
    """Stop when so many checkpoints in a row could not be saved; before that training goes on, with a warning."""

    def __post_init__(self) -> None:
        if self.last < 1 or self.max_failed_saves < 1:
            raise ValueError(f"last is {self.last}, max_failed_saves {self.max_failed_saves}: give 1 or more")


@dataclass(frozen=True)
class Origin:
    """What a checkpoint comes from. Another `config` is refused when it is loaded, other `parents` are only noted."""

    config: dict[str, Any]
    """All that must be the same for a run to go on: shapes, seed, batch."""
    parents: dict[str, Any]
    """Ids of the datasets, hash of the code, settings that may be changed on the way."""

    def __post_init__(self) -> None:
        for name in ("config", "parents"):  # as they are read back
            object.__setattr__(self, name, json.loads(_json(getattr(self, name))))


class Damaged(ValueError):
    """A checkpoint that is not what its manifest says."""


class Checkpoint(Mapping[str, dict[str, Tensor]]):
    """A committed checkpoint: groups of tensors by name, each read, checked and parsed when it is asked for."""

    def __init__(self, store: Store, step: int):
        self.step, self._store = step, store.child(folder_of(step))
        try:
            sealed = json.loads(self._store.get(MANIFEST))
            self.manifest: dict[str, Any] = sealed["manifest"]
            intact = sealed["sha256"] == _sha256(_json(self.manifest)) and self.manifest["step"] == step
        except (ValueError, KeyError, TypeError) as error:
            raise Damaged(f"{self.place}/{MANIFEST}: cannot be read ({error})") from error
        if not intact:
            raise Damaged(f"{self.place}/{MANIFEST}: its own hash does not fit")

    @property
    def place(self) -> str:
        return self._store.url

    def state(self) -> dict[str, Any]:
        return json.loads(self._bytes(STATE))

    def verify(self) -> None:
        """Damaged names the first file that is missing or other than it was; one file is in memory at a time."""
        for name in self.manifest["files"]:
            self._bytes(name)

    def __getitem__(self, group: str) -> dict[str, Tensor]:
        names = [name for name, about in self.manifest["files"].items() if about["group"] == group]
        if not names:
            raise KeyError(group)
        return {key: tensor for name in names for key, tensor in safetensors.torch.load(self._bytes(name)).items()}

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(about["group"] for about in self.manifest["files"].values() if about["group"]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _bytes(self, name: str) -> bytes:
        about = self.manifest["files"][name]
        try:
            data = self._store.get(name)
        except FileNotFoundError:
            raise Damaged(f"{self.place}/{name}: missing (all ranks must see the same folder, or use s3://)") from None
        if len(data) != about["num_bytes"]:
            raise Damaged(f"{self.place}/{name}: {len(data)} bytes instead of {about['num_bytes']}")
        if _sha256(data) != about["sha256"]:
            raise Damaged(f"{self.place}/{name}: its bytes have changed (sha256)")
        return data


class Checkpoints:
    """The checkpoints of one run. Rank 0 reads and writes; all ranks call."""

    def __init__(self, store: Store, origin: Origin, keep: KeepConfig | None = None):
        self.store, self.origin, self.keep = store, origin, keep or KeepConfig()
        self._failed = 0

    def newest(self) -> Checkpoint | None:
        """The last whole checkpoint, its hashes checked; None if the run has none yet. Collective.

        ValueError if there are checkpoints and none is whole, or if it is of another configuration; StorageError.
        """
        step = on_first_rank(self._newest_step)
        return None if step is None else Checkpoint(self.store, step)

    def save(self, state: dict[str, Any], files: Files, metrics: dict[str, float], must: bool = False) -> bool:
        """Commit the files (rank 0's tensors; the others' are empty) of `state["step"]`. Collective.

        A save that fails leaves no trace and is False, with a warning; StorageError on all ranks if it `must` succeed, or
        after too many failures in a row.
        """
        error: OSError | None = None
        if rank() == 0:
            error = self._commit(state, files, metrics)
        for _ in files:  # the others of a collective, or what rank 0 did not come to
            pass
        (failed,) = agreed(error is not None)
        self._failed = self._failed + 1 if failed else 0
        if failed and (must or self._failed >= self.keep.max_failed_saves):
            place = f"{self.store.url}/{folder_of(state['step'])}"
            raise error or StorageError(f"{place}: rank 0 could not save it; older checkpoints stay")
        if error is not None:
            logger.warning("no checkpoint at step %d: %s; training goes on", state["step"], error.strerror or error)
        return not failed

    def best(self) -> dict[str, Any] | None:
        """Step, metric and value of the best checkpoint."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            best = json.loads(self.store.get(BEST))
            return best if isinstance(best, dict) and best.keys() >= {"step", "metric", "value"} else None
        return None

    def _newest_step(self) -> int | None:
        found = self._found()
        damage = []
        for step in sorted((step for step, committed in found.items() if committed), reverse=True):
            try:
                checkpoint = Checkpoint(self.store, step)
                checkpoint.verify()
            except (Damaged, FileNotFoundError) as error:
                damage.append(str(error))
                logger.warning("damaged checkpoint: %s; an older one is used if there is one", error)
                continue
            self._compare(checkpoint)
            self._sweep(found, step)
            return step
        if damage or len(found) > 1 or self.best():
            named = "\n  ".join(damage or ["no manifest.json in any of them"])
            remedy = "put back what is missing, or remove the folder to train from the start"
            raise ValueError(f"{self.store.url}: there are checkpoints, but none is whole; {remedy}\n  {named}")
        if found:  # of a run that was killed in its first save
            logger.warning("%s: only a half-written checkpoint; training starts at step 0", self.store.url)
        self._sweep(found, 0)
        return None

    def _found(self) -> dict[int, bool]:
        """Steps that have a folder, and whether it is committed."""
        steps: dict[int, bool] = {}
        for folder, *rest in (name.split("/") for name in self.store.list("step-")):
            step = int(folder[5:]) if folder[5:].isdigit() else -1
            if folder == folder_of(step):
                steps[step] = steps.get(step, False) or rest == [MANIFEST]
        return steps

    def _compare(self, checkpoint: Checkpoint) -> None:
        found = difference(checkpoint.manifest["config"], self.origin.config)
        if found:
            raise ValueError(f"{checkpoint.place} is of another configuration: {found}; {REMEDY}")
        changed = difference(checkpoint.manifest["parents"], self.origin.parents)
        if changed:
            logger.warning("%s: training goes on with a change: %s", checkpoint.place, changed)

    def _sweep(self, found: dict[int, bool], step: int) -> None:
        """Remove what was never committed, and a best one that will be made again."""
        best = self.best()
        if best and best["step"] > step:
            self.store.delete(BEST)
        for other, committed in found.items():
            if not committed:
                self._remove(other)
        if isinstance(self.store, FolderStore):  # folders that hold nothing, or only what a killed put has hidden there
            for folder in self.store.root.glob("step-*"):
                if not any(path.is_file() and not path.name.startswith(".") for path in folder.iterdir()):
                    shutil.rmtree(folder, ignore_errors=True)

    def _commit(self, state: dict[str, Any], files: Files, metrics: dict[str, float]) -> OSError | None:
        """Write all, the manifest last, then delete what is not kept. The error if it could not be committed."""
        step, place = state["step"], self.store.child(folder_of(state["step"]))
        about: dict[str, Any] = {}

        def put(name: str, data: bytes, group: str) -> None:
            place.put(name, data)
            about[name] = {"group": group, "num_bytes": len(data), "sha256": _sha256(data)}

        try:
            place.delete(MANIFEST)  # of a damaged one of the same step
            for group, tensors in files:
                for number, part in enumerate(parts(tensors)):
                    put(f"{group}.{number}{ENDING}" if number else group + ENDING, safetensors.torch.save(part), group)
            put(STATE, _json(state), "")
            origin = {"config": self.origin.config, "config_fingerprint": fingerprint(self.origin.config)}
            manifest = {"step": step, "metrics": metrics, **origin, "parents": self.origin.parents, "files": about}
            place.put(MANIFEST, _json({"manifest": manifest, "sha256": _sha256(_json(manifest))}))
        except OSError as error:
            with contextlib.suppress(OSError):
                self._remove(step)
            return error
        try:
            self._rotate(step, metrics)
        except OSError as error:
            logger.warning("old checkpoints stay: %s", error)
        return None

    def _rotate(self, step: int, metrics: dict[str, float]) -> None:
        """Note the best, keep it and the last ones; later steps were damaged, or this one would not have been made."""
        best, value = self.best(), metrics.get(self.keep.best)
        sign = 1 if self.keep.best_is == "min" else -1
        if best and best["metric"] != self.keep.best:
            best = None
        if value is not None and (best is None or sign * value < sign * best["value"]):
            best = {"step": step, "metric": self.keep.best, "value": value}
            self.store.put(BEST, _json(best))
        found = self._found()
        last = sorted(other for other, committed in found.items() if committed and other <= step)[-self.keep.last :]
        for other in sorted(found.keys() - set(last) - ({best["step"]} if best else set())):
            self._remove(other)

    def _remove(self, step: int) -> None:
        """The manifest first: from then on there is no checkpoint."""
        place = self.store.child(folder_of(step))
        for name in sorted(place.list(), key=lambda name: name != MANIFEST):
            place.delete(name)
        if isinstance(place, FolderStore):  # and what a killed process has left under hidden names
            shutil.rmtree(place.root, ignore_errors=True)


def folder_of(step: int) -> str:
    return f"step-{step:08d}"


def parts(tensors: dict[str, Tensor], limit_bytes: int | None = None) -> Iterator[dict[str, Tensor]]:
    """The tensors in dictionaries of at most PART_BYTES, or one tensor; at least one dictionary."""
    limit_bytes = limit_bytes or PART_BYTES
    part: dict[str, Tensor] = {}
    num_bytes = 0
    for name, tensor in tensors.items():
        if part and num_bytes + tensor.nbytes > limit_bytes:
            yield part
            part, num_bytes = {}, 0
        part[name] = tensor.contiguous()
        num_bytes += tensor.nbytes
    yield part


def difference(before: Any, now: Any, path: str = "") -> str:
    """The first field that differs, with both values; "" if none does."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted(before.keys() | now.keys()):
            found = difference(before.get(name), now.get(name), f"{path}.{name}" if path else name)
            if found:
                return found
        return ""
    return "" if before == now else f"{path} was {before!r} and is now {now!r}"


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
