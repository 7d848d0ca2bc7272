"""Published test sets as datasets that `make evaluate` judges on: `python -m pipelines.import_testset --format vbd --root DIR`.

Each condition of a set becomes <out>/<format>-<condition>-<fingerprint>/, in the shard format of `make simulate`, split "test".
What cannot serve is in its quarantine.csv, with the reason. A rerun does only what is missing.
"""

import hashlib
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import tyro
from tqdm import tqdm

from infra import versions
from infra.command_line import run
from infra.config import fingerprint, to_json
from infra.dataset import (
    DESCRIPTION,
    QUARANTINE,
    RUN,
    Dataset,
    ShardRows,
    commit_shard,
    committed,
    dataset_id,
    finish,
    gather,
    open_dataset,
    shard_name,
    shards_of,
)
from infra.shards import build, encode_json
from infra.storage import Store, open_store
from pipelines.formats.tree import Tree
from pipelines.rendering import ROOT, Rendered
from pipelines.testsets.items import Item, TestSet, Wanted
from pipelines.testsets.packing import Packing, Refused, key_of, pack
from pipelines.testsets.registry import LAYOUTS, read

CODE = ("pipelines/testsets", "infra/shards.py", "simulation/signals/levels.py")
LIBRARIES = ("numpy", "soxr", "soundfile")


@dataclass(frozen=True)
class ImportTestset:
    """Which set, where it lies, where its datasets go."""

    format: str = ""
    """vbd, dns2020, libri2mix, vctk-vc, audiocaps-lass, esc50-lass, seed-tts-edit, musdb18, audioset-eval, librispeech-test."""
    root: str = ""
    """Folder or s3:// prefix of the unpacked set."""
    out: str = "data/testsets"
    """Folder or s3:// prefix for the datasets."""
    condition: str = ""
    """Only this one of the set's conditions."""
    sample_rate_hz: int = 16000
    """Of all audio; a file of less than nine tenths of it is refused."""
    count: int = 0
    """Examples of each condition, the first ones; 0: all."""
    examples_per_shard: int = 64
    excerpt_s: float = 30.0
    """musdb18: seconds from the middle of each track."""
    transcripts: str = ""
    """libri2mix: the LibriSpeech folder whose .trans.txt files say what is said."""
    licence: str = ""
    """Instead of the one that the set states."""
    threads: int = 2

    def __post_init__(self) -> None:
        if not self.format or not self.root:
            raise ValueError(f"--format and --root are needed; formats are {', '.join(LAYOUTS)}")
        for name, least in (("sample_rate_hz", 8000), ("count", 0), ("examples_per_shard", 1), ("threads", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}: give {least} or more")
        if not self.excerpt_s > 0:
            raise ValueError(f"--excerpt-s is {self.excerpt_s}: give more than 0")


def import_testset(config: ImportTestset) -> list[Dataset]:
    """The finished datasets, a condition each. ValueError for what a person can mend, OSError."""
    tree = Tree(open_store(config.root))
    transcripts = Tree(open_store(config.transcripts)) if config.transcripts else None
    sets = read(config.format, tree, Wanted(config.excerpt_s, transcripts))
    chosen = [one for one in sets if config.condition in ("", one.condition)]
    if not chosen:
        raise ValueError(f"--condition {config.condition!r}: there are {', '.join(one.condition for one in sets)}")
    return [_imported(config, tree, one) for one in chosen]


def _imported(config: ImportTestset, tree: Tree, test_set: TestSet) -> Dataset:
    items = distinct(test_set.items[: config.count or None])
    described = describe(config, tree, test_set, items)
    condition = re.sub(r"[^A-Za-z0-9]+", "-", test_set.condition).strip("-").lower()
    store = open_store(f"{config.out.rstrip('/')}/{config.format}-{condition}-{fingerprint(described)}")
    for note in test_set.notes:
        print(f"{test_set.name}: {note}")
    starts = range(0, len(items), config.examples_per_shard)
    shards = [shard_name(number) for number in range(len(starts))]
    there = committed(store)
    if not store.exists(DESCRIPTION) or not there.issuperset(shards):
        store.put(RUN, encode_json({"task": "import_testset", "config": to_json(config)}))
        packing = Packing(tree.store, config.format, config.sample_rate_hz, config.licence or test_set.licence)
        with tqdm(total=len(items), unit="ex", desc=test_set.name, dynamic_ncols=True, mininterval=0.5) as bar:
            for shard, start in zip(shards, starts):
                part = items[start : start + config.examples_per_shard]
                if shard not in there:
                    commit_shard(store, shard, *_shard(packing, test_set, part, (shard, start, config.threads)))
                bar.update(len(part))
        _conclude(store, described, shards, len(items))
    return open_dataset(store)


def distinct(items: Sequence[Item]) -> list[Item]:
    """The items, those refused whose name an earlier one has: the key of an example is its name."""
    first: dict[str, int] = {}
    for number, item in enumerate(items):
        first.setdefault(item.name, number)
    twice = ("duplicate", "an earlier example has this name")
    return [item if first[item.name] == number else replace(item, refused=twice) for number, item in enumerate(items)]


def describe(config: ImportTestset, tree: Tree, test_set: TestSet, items: Sequence[Item]) -> dict[str, Any]:
    """What is known before any audio is read; the fingerprint of this names the folder. Files are known by name and size."""
    paths = sorted({sound.path for item in items for sound in item.sounds.values()})
    listing = encode_json([to_json(item) for item in items]) + encode_json([[path, tree.sizes.get(path, 0)] for path in paths])
    names = {"name": test_set.name, "condition": test_set.condition}
    recipe = {"task": test_set.task, "split": "test", "test_set": names, "format": config.format}
    recipe |= {"sample_rate_hz": config.sample_rate_hz, "examples_per_shard": config.examples_per_shard, "count": len(items)}
    return {
        "recipe": recipe,
        "test_set": {**names, "published": test_set.published, "licence": config.licence or test_set.licence},
        "parents": {"listing": hashlib.sha256(listing).hexdigest(), "code": versions.code_hash(ROOT, CODE)},
        "libraries": versions.libraries(LIBRARIES),
    }


def _shard(packing: Packing, test_set: TestSet, items: list[Item], place: tuple[str, int, int]) -> tuple[bytes, ShardRows]:
    """One shard; what cannot serve becomes a reject row."""
    shard, first, threads = place
    with ThreadPoolExecutor(threads) as pool:
        tried = list(pool.map(partial(_tried, packing, test_set), items, range(first, first + len(items))))
    made = [one for one in tried if isinstance(one, Rendered)]
    rejects = [one for one in tried if not isinstance(one, Rendered)]
    data = build((one.key, one.members) for one in made)
    rows = [one.row for one in made]
    return data, ShardRows(shard, hashlib.sha256(data).hexdigest(), len(data), rows, rejects)


def _tried(packing: Packing, test_set: TestSet, item: Item, index: int) -> Rendered | dict[str, Any]:
    try:
        return pack(packing, test_set, item, index)
    except Refused as error:
        where = {"source": item.name, "path": error.path, "reason": error.reason, "detail": error.detail}
        return where | {"key": key_of(packing.prefix, item.name), "attempt": 0}


def _conclude(store: Store, described: dict[str, Any], shards: list[str], asked: int) -> None:
    totals = gather(store, shards)
    counts = {
        "examples": totals.table.num_rows,
        "given_up": asked - totals.table.num_rows,
        "hours": round(totals.hours, 6),
        "shards": len(shards),
        "num_bytes": totals.num_bytes,
        "clips_by_licence": totals.licences,
        "rejects_by_reason": totals.rejects["reason"].value_counts().sort_index().to_dict(),
    }
    identity = dataset_id(shards_of(totals.table))
    finish(store, totals, {"id": identity, **described, "commit": versions.git_commit(ROOT), "totals": counts})


def summary(dataset: Dataset) -> str:
    """What is there beside what the set's authors say."""
    about, totals = dataset.description["test_set"], dataset.description["totals"]
    published, count = about["published"], totals["examples"]
    said = f"{published} published" if published else "no published count"
    what = f"{about['name']}: {count} examples ({said}), {totals['hours']:.2f} hours, {about['licence']}"
    lines = [f"{dataset.store.url}: {what}"]
    if published and count != published:
        lines.append(f"  warning: {count} of {published}: figures on it are not those of the whole set")
    if totals["given_up"]:
        reasons = ", ".join(f"{reason} {number}" for reason, number in totals["rejects_by_reason"].items())
        lines.append(f"  {totals['given_up']} could not serve ({reasons}): {dataset.store.url}/{QUARANTINE}")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    config = tyro.cli(ImportTestset, args=argv, prog="pipelines.import_testset")
    for dataset in import_testset(config):
        print(summary(dataset))
    print(f"judge: make evaluate MODEL=... DATA={config.out}")
    return 0


if __name__ == "__main__":
    run(main)
