import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.data.windows import CLIPS_PER_WINDOW, Order, ShardSizes, file_windows, shard_windows

SIZES = st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any)
WORKERS, EPOCHS, SEEDS = st.integers(1, 9), st.integers(0, 50), st.integers(0, 2**40)


def sizes_of(counts, max_shards=3, max_bytes=1e9) -> ShardSizes:
    counts = np.array(counts)
    return ShardSizes(counts, 100 * counts, max_shards, max_bytes)


def orders(num_workers, epoch=0, seed=0):
    return [Order(seed, "source", epoch, worker, num_workers) for worker in range(num_workers)]


@given(SIZES, WORKERS, EPOCHS, SEEDS)
def test_all_workers_together_have_every_clip_of_shards_once(counts, num_workers, epoch, seed):
    given = [
        clip
        for order in orders(num_workers, epoch, seed)
        for window in shard_windows(sizes_of(counts), order)
        for clip in window
    ]
    assert sorted(given) == list(range(sum(counts)))


@given(st.integers(1, 300), WORKERS, EPOCHS, SEEDS)
def test_all_workers_together_have_every_file_once(num_clips, num_workers, epoch, seed):
    given = [clip for order in orders(num_workers, epoch, seed) for window in file_windows(num_clips, order) for clip in window]
    assert sorted(given) == list(range(num_clips))


@given(SIZES, WORKERS, EPOCHS)
def test_parts_are_equally_long_to_one_clip_and_every_worker_gets_a_clip_in_some_epoch(counts, num_workers, epoch):
    def lengths(order):
        return sum(len(window) for window in shard_windows(sizes_of(counts), order))

    parts = [lengths(order) for order in orders(num_workers, epoch)]
    assert max(parts) - min(parts) <= 1
    assert any(lengths(Order(0, "source", later, 0, num_workers)) for later in range(epoch, epoch + num_workers))


@given(SIZES, st.integers(1, 4), st.floats(100, 3000))
def test_a_window_keeps_its_limits_or_has_a_single_shard(counts, max_shards, max_bytes):
    shard_of = np.repeat(np.arange(len(counts)), counts)
    for window in shard_windows(sizes_of(counts, max_shards, max_bytes), Order(0, "source", 0, 0, 1)):
        shards = set(shard_of[window])
        assert len(window)
        assert len(shards) == 1 or (len(shards) <= max_shards and 100 * len(window) <= max_bytes * 1.000001)


def test_order_changes_with_seed_source_and_epoch_and_with_nothing_else():
    keys = [(0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1)]
    ways = {tuple(np.concatenate(shard_windows(sizes_of([8] * 8), Order(*key, 0, 1)))) for key in keys}
    again = {tuple(np.concatenate(shard_windows(sizes_of([8] * 8), Order(*key, 0, 1)))) for key in keys}
    assert len(ways) == 4
    assert again == ways


def test_shards_and_the_clips_of_a_window_are_mixed():
    first = shard_windows(sizes_of([16] * 40, max_shards=4), Order(0, "source", 0, 0, 1))[0]
    assert len(set(first // 16)) == 4
    assert (np.diff(first) != 1).mean() > 0.8
    assert not np.array_equal(np.sort(first), np.arange(64))


def test_files_are_fetched_a_few_at_a_time():
    windows = file_windows(1000, Order(0, "source", 0, 1, 4))
    assert [len(window) for window in windows] == [CLIPS_PER_WINDOW] * 3 + [250 - 3 * CLIPS_PER_WINDOW]
