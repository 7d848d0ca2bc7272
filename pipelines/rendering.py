"""From a recipe and an index to one example's bytes, and from a range of indices to a shard. No Ray in here."""

import functools
import hashlib
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from infra import versions
from infra.dataset import ShardRows, shard_name
from infra.shards import build, encode_flac
from infra.storage import Store, open_store
from simulation.bank import Bank
from simulation.clips import read
from simulation.example import Clip, Example, Load, SourceError
from simulation.labels import disagreements
from simulation.registry import task
from simulation.seeds import Rng

ROOT = Path(__file__).resolve().parents[1]
CODE = ("simulation", "pipelines/rendering.py", "infra/shards.py")  # what the bytes of an example come from
MAX_ATTEMPTS = 4  # draws of one index before it is given up


@functools.cache
def code_version() -> str:
    """The hash of the code that examples come from, as it is on this machine."""
    return versions.code_hash(ROOT, CODE)


class LabelError(Exception):
    """An example whose measured labels are not the requested ones."""


@dataclass(frozen=True)
class Recipe:
    """Everything that the bytes of a dataset depend on, but for the corpus and the code."""

    task: str
    config: Any
    seed: int
    count: int
    first: int
    sample_rate_hz: int
    examples_per_shard: int
    stems: bool
    split: str
    min_source_rate_hz: int
    gate: Literal["fail", "redraw"]

    def key(self, index: int) -> str:
        return f"{self.task}-s{self.seed}-{index:08d}"

    def num_shards(self) -> int:
        return -(-self.count // self.examples_per_shard)

    def indices(self, shard: int) -> range:
        """The example numbers of a shard; the last one may be short."""
        start = shard * self.examples_per_shard
        return range(self.first + start, self.first + min(start + self.examples_per_shard, self.count))


@dataclass(frozen=True)
class Rendered:
    """One example as it goes into a shard, and its manifest row."""

    key: str
    members: dict[str, bytes]
    row: dict[str, Any]


@dataclass
class Loader:
    """Reads clips of the corpus at one rate; a file is hashed at its first use in this process. SourceError `changed`."""

    store: Store
    sample_rate_hz: int
    checked: set[tuple[str, int, int]] = field(default_factory=set)

    def __call__(self, clip: Clip) -> np.ndarray:
        return read(clip, partial(self._open, clip), self.sample_rate_hz)

    def _open(self, clip: Clip, path: str) -> str:
        place = self.store.local_path(path)
        found = os.stat(place)
        version = (place, found.st_size, found.st_mtime_ns)
        if clip.sha256 and version not in self.checked:
            with open(place, "rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            if sha256 != clip.sha256:
                raise SourceError(clip.id, path, "changed", f"its sha256 is {sha256[:12]}, the manifest's {clip.sha256[:12]}")
            self.checked.add(version)
        return place


def loader(corpus_root: str, sample_rate_hz: int) -> Load:
    """Reads clips of the corpus at one rate."""
    return Loader(open_store(corpus_root), sample_rate_hz)


def scene_of(recipe: Recipe, bank: Bank, index: int, attempt: int) -> Any:
    """The scene of this index: the same wherever it is drawn."""
    return task(recipe.task).draw(recipe.config, bank, Rng(recipe.seed, recipe.task, index, attempt))


def scene_from(record: dict[str, Any]) -> Any:
    """The scene of a stored example's json. ValueError if it is not one of its task's."""
    try:
        return msgspec.convert(record["scene"], task(record["task"]).Scene)
    except msgspec.ValidationError as error:
        raise ValueError(
            f"{record['key']}: its scene is not one that this version of {record['task']} knows: {error}"
        ) from error


def render(recipe: Recipe, bank: Bank, load: Load, index: int, attempt: int = 0) -> Rendered:
    """Draw and render one example. SourceError if a source cannot serve, LabelError if a label misses its request."""
    scene = scene_of(recipe, bank, index, attempt)
    example = task(recipe.task).render(scene, load)
    missed = disagreements(example.requested, example.measured)
    if missed:
        raise LabelError(f"{recipe.key(index)} (attempt {attempt}): {'; '.join(missed)}")
    return pack(recipe, index, attempt, scene, example)


def pack(recipe: Recipe, index: int, attempt: int, scene: Any, example: Example) -> Rendered:
    """Encode an example and describe it."""
    key = recipe.key(index)
    audio = example.signals | (example.stems if recipe.stems else {})
    clips = list(clips_of(scene))
    record = {
        "key": key,
        "task": recipe.task,
        "attempt": attempt,
        "sample_rate_hz": recipe.sample_rate_hz,
        "requested": example.requested,
        "measured": example.measured,
        "texts": example.texts,
        "mixture_parts": example.mixture_parts,
        "scene": scene,
    }
    members = {f"{role}.flac": encode_flac(signal, recipe.sample_rate_hz) for role, signal in audio.items()}
    members["json"] = msgspec.json.encode(record, order="sorted")
    row = {
        "key": key,
        "index": index,
        "attempt": attempt,
        "task": recipe.task,
        "sample_rate_hz": recipe.sample_rate_hz,
        "num_samples": audio["target" if "target" in audio else "input"].shape[1],
        "num_channels": next(iter(audio.values())).shape[0],
        "roles": list(audio),
        "role_num_samples": [signal.shape[1] for signal in audio.values()],
        "sha256": _digest(members),
        "sources": [clip.id for clip in clips],
        "licences": [clip.licence for clip in clips],
        **{f"requested_{label}": value for label, value in example.requested.items()},
        **{f"measured_{label}": value for label, value in example.measured.items()},
        **{f"text_{name}": value for name, value in example.texts.items()},
    }
    return Rendered(key, members, row)


def clips_of(scene: Any) -> Iterator[Clip]:
    """Every corpus clip that a scene names, in the order of its fields."""
    if isinstance(scene, Clip):
        yield scene
    elif isinstance(scene, msgspec.Struct):
        for name in scene.__struct_fields__:
            yield from clips_of(getattr(scene, name))
    elif isinstance(scene, tuple | list):
        for part in scene:
            yield from clips_of(part)


def _digest(members: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for extension, data in members.items():
        digest.update(f"{extension} {len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()


Attempt = Callable[[int, int], Rendered]
"""(index, attempt) -> example."""


def make_shard(recipe: Recipe, shard: int, attempt: Attempt) -> tuple[bytes, ShardRows]:
    """One shard with its rows. An index whose sources fail is drawn again, each failure a reject row that names them."""
    examples, rejects = [], []
    for index in recipe.indices(shard):
        rendered, failures = _settle(recipe, index, attempt)
        rejects += failures
        if rendered:
            examples.append(rendered)
    data = build((example.key, example.members) for example in examples)
    rows = [example.row for example in examples]
    return data, ShardRows(shard_name(shard), hashlib.sha256(data).hexdigest(), len(data), rows, rejects)


def _settle(recipe: Recipe, index: int, attempt: Attempt) -> tuple[Rendered | None, list[dict]]:
    """The first attempt at an index that succeeds, and a row for each that did not; None if all failed."""
    rejects = []
    for number in range(MAX_ATTEMPTS):
        try:
            return attempt(index, number), rejects
        except SourceError as error:
            where = {"source": error.source_id, "path": error.path, "reason": error.reason, "detail": error.detail}
        except LabelError as error:
            if recipe.gate == "fail":
                raise
            where = {"source": "", "path": "", "reason": "labels", "detail": str(error)}
        rejects.append(where | {"key": recipe.key(index), "attempt": number})
    return None, rejects


class Isolated:
    """Attempts in a process of their own, for a shard that has killed its worker: the culprit becomes a SourceError `crash`."""

    def __init__(self, recipe: Recipe, bank: Bank, corpus_root: str):
        self.recipe, self.bank = recipe, bank
        self._start = partial(
            ProcessPoolExecutor,
            max_workers=1,
            mp_context=multiprocessing.get_context("spawn"),  # a fork of Ray's threads may hang
            initializer=_remember,
            initargs=(recipe, bank, corpus_root),
        )
        self._pool = self._start()

    def __enter__(self) -> "Isolated":
        return self

    def __exit__(self, *_) -> None:
        self._pool.shutdown(cancel_futures=True)

    def __call__(self, index: int, attempt: int) -> Rendered:
        try:
            return self._pool.submit(_render_here, index, attempt).result()
        except BrokenProcessPool:
            self._pool = self._start()
            clips = list(clips_of(scene_of(self.recipe, self.bank, index, attempt)))
            names = " + ".join(clip.id for clip in clips)
            raise SourceError(names, " + ".join(clip.path for clip in clips), "crash", "rendering killed the process") from None


_here: dict[str, Any] = {}


def _remember(recipe: Recipe, bank: Bank, corpus_root: str) -> None:
    _here.update(recipe=recipe, bank=bank, load=loader(corpus_root, recipe.sample_rate_hz))


def _render_here(index: int, attempt: int) -> Rendered:
    return render(_here["recipe"], _here["bank"], _here["load"], index, attempt)
