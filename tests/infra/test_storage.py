"""The laws of a store, the same for a folder and for S3, and what only a folder has: disks that are full, files in the way."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.storage import FolderStore, StorageError, Store, open_store

ROOT = Path(__file__).parents[2]
NUM_RACERS = 8


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind."""
    if request.param == "folder":
        return open_store(str(tmp_path / "store"))
    return open_store(request.getfixturevalue("s3")).child(tmp_path.name)


def race(action) -> list:
    """What NUM_RACERS threads return that call `action(number)` at the same moment."""
    gate = threading.Barrier(NUM_RACERS)

    def run(number: int):
        gate.wait()
        return action(number)

    with ThreadPoolExecutor(NUM_RACERS) as pool:
        return list(pool.map(run, range(NUM_RACERS)))


@pytest.mark.parametrize("data", [b"", b"x", os.urandom(300_000)], ids=["empty", "one", "300 kB"])
def test_what_was_put_is_read_back(store, data):
    store.put("a/b.bin", data)
    assert store.get("a/b.bin") == data
    assert store.get_with_tag("a/b.bin")[0] == data
    assert Path(store.local_path("a/b.bin")).read_bytes() == data
    assert store.exists("a/b.bin") and store.list() == {"a/b.bin": len(data)}


def test_the_last_put_counts(store):
    store.put("a", b"first, and longer")
    assert Path(store.local_path("a")).read_bytes() == b"first, and longer"
    store.put("a", b"second")
    assert store.get("a") == b"second" and Path(store.local_path("a")).read_bytes() == b"second"


def test_what_is_not_there_is_said_to_be_not_there(store):
    store.put("folder/a", b"1")
    for name in ("nothing", "folder", "folder/a/b"):
        for read in (store.get, store.get_with_tag, store.local_path):
            with pytest.raises(FileNotFoundError, match=name):
                read(name)
        assert not store.exists(name)
        assert not store.replace(name, b"2", "tag")
    store.delete("nothing")
    assert store.list() == {"folder/a": 1}


def test_a_deleted_object_is_gone_and_its_name_free(store):
    store.put("a", b"1")
    store.delete("a")
    assert not store.exists("a") and store.list() == {}
    assert store.create("a", b"2")


def test_lists_are_sorted_and_by_prefix_of_the_name(store):
    for name in ("b/2", "a", "b/10", "bc", "c/d/e"):
        store.put(name, name.encode())
    assert list(store.list()) == ["a", "b/10", "b/2", "bc", "c/d/e"]
    assert store.list("b") == {"b/10": 4, "b/2": 3, "bc": 2}
    assert list(store.list("b/")) == ["b/10", "b/2"] and list(store.list("b/1")) == ["b/10"]
    assert store.list("x") == {} and store.list("x/y/") == {} and store.list("a/") == {}


def test_a_child_is_the_same_store_further_down(store):
    store.put("a/b/c", b"1")
    child = store.child("a").child("b")
    assert child.get("c") == b"1" and child.list() == {"c": 1}
    child.put("d", b"2")
    assert store.get("a/b/d") == b"2" and open_store(child.url).get("d") == b"2"


def test_spaces_and_foreign_letters_are_fine_in_names(store):
    names = ["two words/a b.flac", "Ünïcode/日本.flac", "q?=&+%20#;'\"*~.txt"]
    for name in names:
        store.put(name, name.encode())
    assert sorted(store.list()) == sorted(names)
    assert [store.get(name).decode() for name in names] == names


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../out", "a/../../out", "a//b", "a/", "./a", "a\nb", "a\0", "a\udcff"])
def test_a_name_that_leaves_the_store_or_no_key_is_refused(store, name):
    for action in (store.get, store.exists, store.delete, store.local_path, store.child):
        with pytest.raises(ValueError, match="names"):
            action(name)
    with pytest.raises(ValueError, match="names"):
        store.put(name, b"1")


@pytest.mark.parametrize("name", [".hidden", "a/.hidden", ".hidden/a"])
def test_a_hidden_name_is_not_written(store, name):
    for write in (store.put, store.create, lambda name, data: store.replace(name, data, "tag")):
        with pytest.raises(ValueError, match="hidden"):
            write(name, b"1")


def test_of_many_who_create_one_wins(store):
    won = race(lambda number: store.create("x/first", f"{number}".encode()))
    assert won.count(True) == 1 and store.get("x/first") == f"{won.index(True)}".encode()
    assert store.list() == {"x/first": 1}


def test_of_many_who_create_the_same_bytes_one_wins(store):
    assert race(lambda _: store.create("first", b"the same")).count(True) == 1


def test_of_many_who_replace_one_wins(store):
    store.put("state", b"before")
    _, tag = store.get_with_tag("state")
    won = race(lambda number: store.replace("state", f"{number}".encode(), tag))
    assert won.count(True) == 1 and store.get("state") == f"{won.index(True)}".encode()
    assert not store.replace("state", b"late", tag)


def test_a_counter_kept_by_replace_loses_no_count(store):
    store.put("deep/count", b"0")

    def add(_: int) -> None:
        while True:
            data, tag = store.get_with_tag("deep/count")
            if store.replace("deep/count", str(int(data) + 1).encode(), tag):
                return

    race(add)
    assert store.get("deep/count") == str(NUM_RACERS).encode()


def test_a_reader_never_sees_half_an_object(store):
    versions = {bytes([65 + i]) * size for i, size in enumerate([1_000_000, 10, 700_000])}
    store.put("a", next(iter(versions)))
    done = threading.Event()

    def write() -> None:
        for _ in range(6):
            for version in versions:
                store.put("a", version)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = [store.get("a")]
    while not done.is_set():
        seen.append(store.get("a"))
        assert set(store.list()) == {"a"}
    writer.join()
    assert set(seen) <= versions and len(seen) > 5


def test_a_store_works_pickled_and_after_a_fork(store):
    store.put("a", b"1")
    again = pickle.loads(pickle.dumps(store))
    assert again.get("a") == b"1" and again.url == store.url
    child = multiprocessing.get_context("fork").Process(target=store.put, args=("b", b"2"))
    child.start()
    child.join(30)
    assert child.exitcode == 0 and store.get("b") == b"2"


def test_another_scheme_is_refused():
    for url in ("gs://bucket/a", "http://host/a", "", "file://", "s3://"):
        with pytest.raises(ValueError, match="give"):
            open_store(url)


def test_a_file_url_is_its_folder(tmp_path):
    open_store(f"file://{tmp_path}/a").put("b", b"1")
    assert (tmp_path / "a/b").read_bytes() == b"1"


def test_a_folder_stays_where_it_was_when_the_working_folder_changes(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store = open_store("here")
    monkeypatch.chdir(tmp_path / "elsewhere")
    store.put("a", b"1")
    assert (tmp_path / "here/a").exists() and store.url == "here"


@pytest.fixture
def small_disk(tmp_path: Path):
    """A real file system of 1 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk: mount says {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_named_and_what_was_there_stays(small_disk):
    store = FolderStore(small_disk)
    store.put("a", b"old")
    for write in (store.put, store.create, lambda name, data: store.replace(name, data, store.get_with_tag("a")[1])):
        with pytest.raises(StorageError, match=r"disk/a: No space left on device; free some space") as caught:
            write("a", bytes(2_000_000))
        assert caught.value.errno == 28
    assert store.get("a") == b"old" and store.list() == {"a": 3}
    assert {path.name for path in small_disk.iterdir()} <= {"a", ".lock"}
    store.put("b", bytes(500_000))


def test_a_place_that_cannot_be_written_is_named(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for name in ("a", "folder/a"):
        with pytest.raises(StorageError, match=rf"disk/{name}: Read-only file system; choose a place that can be written"):
            FolderStore(small_disk).put(name, b"1")


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path):
    store = FolderStore(tmp_path)
    store.put("a", b"1")
    store.put("folder/b", b"1")
    with pytest.raises(StorageError, match=r"a/b/c: .*; a file is in the way of a folder"):
        store.put("a/b/c", b"2")
    with pytest.raises(StorageError, match=r"folder: Is a directory; a folder has this name"):
        store.put("folder", b"2")
    with pytest.raises(StorageError, match=r"File name too long; choose a shorter name"):
        store.put("x" * 300, b"2")
    with pytest.raises(StorageError, match=r"File name too long"):
        store.list("x" * 300 + "/")
    assert store.list() == {"a": 1, "folder/b": 1}


WRITE_FOR_EVER = """
import sys
from infra.storage import FolderStore
store, data = FolderStore(sys.argv[1]), bytes(40_000_000)
print("ready", flush=True)
while True:
    store.put("a/big", data)
"""


def test_a_killed_writer_leaves_the_object_whole_and_nothing_listed(tmp_path):
    store = FolderStore(tmp_path)
    for wait_s in (0.01, 0.06):
        process = subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, tmp_path], stdout=subprocess.PIPE, cwd=ROOT)
        process.stdout.readline()
        while not list(tmp_path.glob("a/.new-*")):
            time.sleep(0.001)
        time.sleep(wait_s)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert store.list() in ({}, {"a/big": 40_000_000})


def test_what_a_killed_writer_left_goes_when_it_is_old(tmp_path, monkeypatch):
    monkeypatch.setattr(FolderStore, "_swept", set())
    (tmp_path / "a").mkdir()
    old, young, other = (tmp_path / "a" / name for name in (".new-old", ".new-young", ".lock"))
    for path in (old, young, other):
        path.write_bytes(b"half")
    hours_ago = time.time() - 2 * FolderStore.STALE_S
    os.utime(old, (hours_ago, hours_ago))
    os.utime(other, (hours_ago, hours_ago))
    store = FolderStore(tmp_path)
    assert store.list() == {}
    store.put("a/b", b"1")
    assert not old.exists() and young.exists() and other.exists() and store.list() == {"a/b": 1}


def test_new_objects_have_the_permissions_that_the_umask_leaves(tmp_path):
    mask = os.umask(0o027)
    try:
        FolderStore(tmp_path).put("a", b"1")
    finally:
        os.umask(mask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_broken_link_and_hidden_files_are_not_listed(tmp_path):
    (tmp_path / "broken").symlink_to(tmp_path / "nothing")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/config").write_text("x")
    (tmp_path / "a").write_text("x")
    assert FolderStore(tmp_path).list() == {"a": 1}
