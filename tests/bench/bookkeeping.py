"""The scheduler's own bookkeeping, without the work: `make bench BENCH=bookkeeping`. A million shards, a thousand nodes.

Every phase runs in a process of its own, so that its memory is its own. The rows of a shard are those of one real example, so
that the files of a million shards fit on a disk; `--examples-per-shard 64` measures what the rows themselves cost.
"""

import contextlib
import hashlib
import itertools
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import ray
import tyro

from infra import cluster
from infra.command_line import run
from infra.dataset import ShardRows, commit_shard, committed, dataset_id, finish, gather, open_dataset, shard_name, shards_of
from infra.shards import build, encode_json
from infra.storage import FolderStore, open_store


@dataclass(frozen=True)
class Bench:
    """What to measure."""

    shards: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    """In a folder."""
    s3: str = ""
    """An s3:// prefix to measure on as well."""
    s3_shards: tuple[int, ...] = (1000, 4000)
    examples_per_shard: int = 1
    in_flight: tuple[int, ...] = (100, 2000, 16_000)
    """Unfinished tasks of the driver; 1,000 nodes of 32 cores keep 64,000."""
    folder: str = ""
    """Where to write; a temporary folder if not given."""


EXAMPLE = {
    **{"attempt": 0, "index": 0, "licences": ["CC0 1.0", "CC BY 4.0"], "task": "sr"},
    **{"num_channels": 1, "sample_rate_hz": 16000},
    **{f"measured_{name}_db": 15.72 for name in ("snr", "sir", "gain", "stem_residual", "target_level", "equaliser_gain")},
    **{f"requested_{name}_db": 15.72 for name in ("snr", "sir", "gain", "target_level")},
    **{"num_samples": 80000, "role_num_samples": [80000] * 4, "roles": ["input", "target", "noise", "speech"]},
    **{"measured_rt60_s": 0.31, "requested_rt60_s": 0.3, "sources": ["speech-1089-134686-0003", "noise-free-sound-0012"]},
}


def rows_of(shard: int, examples: int) -> tuple[bytes, ShardRows]:
    """A small shard and rows of the usual size."""
    data = build([(f"sr-s0-{shard:08d}", {"json": b"{}"})])
    keys = (f"sr-s0-{shard * examples + number:08d}" for number in range(examples))
    rows = [EXAMPLE | {"key": key, "sha256": hashlib.sha256(key.encode()).hexdigest()} for key in keys]
    return data, ShardRows(shard_name(shard), hashlib.sha256(data).hexdigest(), len(data), rows, [])


def fill(url: str, shards: range, examples: int) -> None:
    """What so many commits leave; in a folder without flushing each to the disk."""
    store = open_store(url)
    if not isinstance(store, FolderStore):
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda shard: commit_shard(store, shard_name(shard), *rows_of(shard, examples)), shards))
        return
    rows_folder = store.root / "rows"
    rows_folder.mkdir(parents=True, exist_ok=True)
    for shard in shards:
        data, rows = rows_of(shard, examples)
        (store.root / shard_name(shard)).write_bytes(data)
        about = {name: getattr(rows, name) for name in rows.__struct_fields__}
        (rows_folder / f"{shard_name(shard).removesuffix('.tar')}.json").write_bytes(encode_json(about))


def in_own_process(work: Callable[..., dict[str, float]], *arguments: object) -> dict[str, float]:
    """What the work returns, with its seconds and the most memory that its process held."""
    receiver, sender = multiprocessing.get_context("spawn").Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=_measured, args=(sender, work, *arguments))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    finally:
        process.join()


def _measured(sender, work: Callable[..., dict[str, float]], *arguments: object) -> None:
    started, cpu = time.perf_counter(), time.process_time()
    found = work(*arguments)
    used = {"s": time.perf_counter() - started, "cpu_s": time.process_time() - cpu}
    sender.send(used | {"megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3} | found)


def resume(url: str, count: int) -> dict[str, float]:
    """What a rerun does before its first task: list, compare."""
    there = committed(open_store(url))
    missing = [n for n in range(count) if shard_name(n) not in there]
    return {"there": len(there), "missing": len(missing)}


def commits(url: str, first: int, examples: int) -> dict[str, float]:
    """Milliseconds of one commit beside all that are there; what it wrote goes again."""
    store, times = open_store(url), []
    for shard in range(first, first + 50):
        rows = rows_of(shard, examples)
        started = time.perf_counter()
        commit_shard(store, shard_name(shard), *rows)
        times.append(time.perf_counter() - started)
        store.delete(shard_name(shard))
        store.delete(f"rows/{shard_name(shard).removesuffix('.tar')}.json")
    return {"commit_ms": sorted(times)[25] * 1e3}


def conclude(url: str, count: int) -> dict[str, float]:
    """Rows to manifest and description."""
    store = open_store(url)
    totals = gather(store, [shard_name(n) for n in range(count)])
    finish(store, totals, {"id": dataset_id(shards_of(totals.table))})
    return {"rows": totals.table.num_rows, "manifest_megabytes": store.list("manifest")["manifest.parquet"] / 1e6}


def reopen(url: str) -> dict[str, float]:
    """What every reader of the dataset does first."""
    return {"shards": len(open_dataset(open_store(url)).shards())}


def bench_store(url: str, count: int, done: int, examples: int) -> None:
    """One row for each phase at so many shards."""
    filled = in_own_process(_fill, url, done, count, examples)
    print(f"| {url.partition(':')[0] if '://' in url else 'folder'} | {count:,} | fill | {filled['s']:.1f} | | |", flush=True)
    phases = {"resume": (resume, count), "commit": (commits, count, examples), "conclude": (conclude, count), "open": (reopen,)}
    for name, (work, *arguments) in phases.items():
        found = in_own_process(work, url, *arguments)
        took, cpu, megabytes = (found.pop(key) for key in ("s", "cpu_s", "megabytes"))
        others = ", ".join(f"{key} {value:,.1f}" for key, value in found.items())
        kind = "s3" if "://" in url else "folder"
        print(f"| {kind} | {count:,} | {name} | {took:.1f} (CPU {cpu:.1f}) | {megabytes:.0f} | {others} |", flush=True)
    store = open_store(url)
    for name in ("dataset.json", "manifest.parquet"):
        store.delete(name)


def _fill(url: str, done: int, count: int, examples: int) -> dict[str, float]:
    fill(url, range(done, count), examples)
    return {}


def one_by_one(references: list) -> int:
    """How `bounded` once looked at tasks in flight: one finished task a look."""
    pending, looks = list(references), 0
    while pending and looks < 50:
        _, pending = ray.wait(pending, num_returns=1)
        looks += 1
    return looks


def bench_driver(in_flight: int) -> None:
    """What the driver pays for each finished task with so many in flight, one by one and by `bounded`."""
    os.environ["RAY_SCHEDULER_EVENTS"] = "0"
    cluster.start(2)

    @ray.remote(num_cpus=1)
    def nothing(number: int) -> int:
        return number

    ray.get([nothing.remote(n) for n in range(20)])
    waiting = [nothing.options(resources={"never": 1}).remote(0) for _ in range(in_flight)]
    done = [nothing.remote(n) for n in range(50)]
    ray.get(done)
    started = time.perf_counter()
    looks = one_by_one(waiting + done)
    before_ms = (time.perf_counter() - started) / looks * 1e3
    del waiting, done
    ray.shutdown()
    cluster.start(2)
    ray.get([nothing.remote(n) for n in range(20)])
    total, limit = max(2000, in_flight // 4), in_flight
    started = time.perf_counter()
    count = sum(1 for _ in itertools.islice(cluster.bounded(nothing.remote, range(total), lambda: limit), total))
    after_ms = (time.perf_counter() - started) / count * 1e3
    print(f"| {in_flight:,} | {before_ms:.2f} | {after_ms:.2f} | {1e3 / after_ms:,.0f} |", flush=True)
    ray.shutdown()


def main(argv: list[str]) -> None:
    config = tyro.cli(Bench, args=argv, prog="tests.bench.bookkeeping")
    folder = tempfile.mkdtemp(prefix="bookkeeping-", dir=config.folder or None)
    print("| store | shards | phase | s | MB | |\n|---|---|---|---|---|---|")
    try:
        for url, counts in ((f"{folder}/d", config.shards), (config.s3, config.s3_shards)):
            for done, count in itertools.pairwise((0, *counts) if url else ()):
                bench_store(url, count, done, config.examples_per_shard)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\n| tasks in flight | ms a finished task, looked at one by one | by `bounded`, task included | tasks/s |")
    print("|---|---|---|---|")
    with contextlib.suppress(KeyboardInterrupt):
        for in_flight in config.in_flight:
            bench_driver(in_flight)


if __name__ == "__main__":
    from tests.bench import bookkeeping  # by its name: what is sent to other processes is found there

    run(bookkeeping.main)
