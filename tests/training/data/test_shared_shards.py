import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from training.data.shared_shards import SharedShards


class Reads:
    """Contents that are told apart by when they were read."""

    def __init__(self, wait_s: float = 0.0):
        self.count, self.wait_s, self.lock = 0, wait_s, threading.Lock()

    def __call__(self) -> int:
        time.sleep(self.wait_s)
        with self.lock:
            self.count += 1
            return self.count


def test_a_shard_is_kept_until_all_its_clips_are_taken():
    shards, read = SharedShards(100), Reads()
    assert [shards.get("a", 10, (4, 10), read) for _ in range(2)] == [1, 1]
    assert len(shards) == 1
    assert shards.get("a", 10, (2, 10), read) == 1
    assert len(shards) == 0
    assert shards.get("a", 10, (4, 10), read) == 2


def test_a_shard_that_one_takes_whole_is_not_kept():
    shards = SharedShards(100)
    shards.get("a", 10, (10, 10), Reads())
    assert len(shards) == 0


def test_what_was_used_least_recently_makes_room():
    shards, reads = SharedShards(25), {name: Reads() for name in "abc"}
    for name in "abac":
        shards.get(name, 10, (1, 10), reads[name])
    shards.get("a", 10, (1, 10), reads["a"])
    shards.get("b", 10, (1, 10), reads["b"])
    assert {name: read.count for name, read in reads.items()} == {"a": 1, "b": 2, "c": 1}


def test_a_shard_larger_than_all_room_is_read_and_not_kept():
    shards = SharedShards(5)
    assert shards.get("a", 10, (1, 10), Reads()) == 1
    assert len(shards) == 0


def test_threads_that_want_the_same_shard_at_the_same_time_wait_for_one_read():
    shards, read = SharedShards(100), Reads(wait_s=0.1)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: shards.get("a", 10, (1, 10), read), range(4))) == [1] * 4


def test_an_error_is_raised_and_the_next_one_tries_again():
    shards = SharedShards(100)

    def fails():
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        shards.get("a", 10, (1, 10), fails)
    assert shards.get("a", 10, (1, 10), Reads()) == 1
