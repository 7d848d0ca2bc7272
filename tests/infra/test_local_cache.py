"""The cache of remote objects: each fetched once, whole or absent, bounded."""

import multiprocessing
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra import local_cache
from infra.local_cache import LocalCache
from infra.storage import StorageError


def copies(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".lock"))


def grow_old(folder: Path, age_s: float = 10_000.0) -> None:
    for path in copies(folder):
        os.utime(path, (time.time() - age_s, time.time() - age_s))


def test_a_copy_is_fetched_once_and_keeps_its_suffix(tmp_path):
    fetched = []
    for _ in range(3):
        path = LocalCache(tmp_path).path("s3://b/a.flac tag", "x/a.flac", 3, lambda: fetched.append(1) or b"abc")
        assert Path(path).read_bytes() == b"abc" and path.endswith(".flac")
    assert fetched == [1]


def test_another_tag_is_another_copy(tmp_path):
    cache = LocalCache(tmp_path)
    first = cache.path("a tag1", "a", 1, lambda: b"1")
    second = cache.path("a tag2", "a", 1, lambda: b"2")
    assert (Path(first).read_bytes(), Path(second).read_bytes()) == (b"1", b"2")


def test_threads_that_ask_at_once_fetch_once(tmp_path):
    fetched, gate = [], threading.Barrier(8)

    def fetch() -> bytes:
        fetched.append(1)
        time.sleep(0.05)
        return b"abc"

    def ask(_: int) -> str:
        gate.wait()
        return LocalCache(tmp_path).path("a", "a", 3, fetch)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1
    assert fetched == [1] and len(copies(tmp_path)) == 1


def _fill(folder: Path, start: int) -> None:
    cache = LocalCache(folder, limit_bytes=5_000_000)
    for number in range(start, start + 40):
        data = bytes([number]) * 200_000
        assert Path(cache.path(str(number), "a", len(data), lambda data=data: data)).read_bytes() == data


def test_processes_that_fill_and_drop_at_once_read_only_whole_copies(tmp_path, monkeypatch):
    monkeypatch.setattr(local_cache, "KEEP_S", 1.0)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_fill, args=(tmp_path, start)) for start in (0, 10, 20, 60)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4


def test_the_least_recently_used_goes_first_and_the_limit_holds(tmp_path):
    cache = LocalCache(tmp_path, limit_bytes=1_000_000)
    paths = [cache.path(str(number), "a", 100_000, lambda: bytes(100_000)) for number in range(9)]
    grow_old(tmp_path)
    cache.touch(paths[0], 100_000)
    for number in range(9, 12):
        cache.path(str(number), "a", 100_000, lambda: bytes(100_000))
    assert Path(paths[0]).exists()
    assert sum(path.stat().st_size for path in copies(tmp_path)) <= 1_000_000


def test_what_was_just_asked_for_stays_even_over_the_limit(tmp_path):
    cache = LocalCache(tmp_path, limit_bytes=100)
    paths = [cache.path(str(number), "a", 80, lambda: bytes(80)) for number in range(5)]
    assert all(Path(path).exists() for path in paths)


def test_what_a_killed_process_left_goes_when_it_is_old(tmp_path):
    (tmp_path / ".new-1-old").write_bytes(b"half")
    (tmp_path / ".new-2-young").write_bytes(b"half")
    os.utime(tmp_path / ".new-1-old", (1, 1))
    LocalCache(tmp_path).path("a", "a", 1, lambda: b"1")
    assert [path.name for path in tmp_path.glob(".new-*")] == [".new-2-young"]


def test_a_fetch_that_fails_leaves_nothing(tmp_path):
    def fail() -> bytes:
        raise StorageError("the server is gone")

    with pytest.raises(StorageError, match="the server is gone"):
        LocalCache(tmp_path).path("a", "a", 1, fail)
    assert copies(tmp_path) == []


def test_a_folder_that_cannot_be_one_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match=r"file/cache: Not a directory; .* set QUARKLINE_CACHE"):
        LocalCache(tmp_path / "file/cache").path("a", "a", 1, lambda: b"1")


def test_the_environment_names_folder_and_size(tmp_path, monkeypatch):
    monkeypatch.setenv("QUARKLINE_CACHE", str(tmp_path / "here"))
    monkeypatch.setenv("QUARKLINE_CACHE_GB", "0.5")
    cache = LocalCache()
    assert cache.folder == tmp_path / "here" and cache.limit_bytes == 500_000_000
    for wrong in ("much", "0", "-1", "nan", "inf"):
        monkeypatch.setenv("QUARKLINE_CACHE_GB", wrong)
        with pytest.raises(ValueError, match=f"QUARKLINE_CACHE_GB={wrong}: give"):
            LocalCache()
