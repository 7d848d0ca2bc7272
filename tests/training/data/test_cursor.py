import functools

import numpy as np
import pytest

from infra.storage import open_store
from training.data.crops import Cropping
from training.data.cursor import Cursor, Readers
from training.data.quarantine import Quarantine
from training.data.shard_source import ShardSource
from training.data.stream import cut
from training.data.windows import Order


@pytest.fixture
def source(dataset_at, config):
    return ShardSource.of_dataset(open_store(str(dataset_at)), config)


@pytest.fixture
def readers():
    readers = Readers(functools.partial(cut, Cropping(8000, 800)), 2)
    yield readers
    readers.close()


def take(cursor: Cursor, count: int) -> list[str]:
    for _ in range(count):
        cursor.schedule()
    return [cursor.take(Quarantine(32, 0.0)).key for _ in range(count)]


def order_of(source, epoch=0, worker=1):
    return Order(0, source.id, epoch, worker, 4)


def test_clips_come_in_the_order_of_the_windows_epoch_after_epoch(source, readers):
    keys = source.table["key"].to_pylist()
    expected = [keys[clip] for epoch in range(3) for clip in np.concatenate(source.windows(order_of(source, epoch)))]
    assert take(Cursor(source, order_of(source), 0, readers), 24) == expected


def test_a_mark_is_behind_the_last_clip_taken_not_the_last_scheduled(source, readers):
    cursor = Cursor(source, order_of(source), 0, readers)
    for _ in range(12):
        cursor.schedule()
    assert cursor.mark == (0, 0)
    for _ in range(10):
        cursor.take(Quarantine(32, 0.0))
    assert cursor.mark == (1, 2)


@pytest.mark.parametrize("done", [0, 3, 8, 13])
def test_a_cursor_goes_on_from_a_mark(source, readers, done):
    whole = take(Cursor(source, order_of(source), 0, readers), 20)
    cursor = Cursor(source, order_of(source), 0, readers)
    take(cursor, done)
    epoch, position = cursor.mark
    assert take(Cursor(source, order_of(source, epoch), position, readers), 20 - done) == whole[done:]


def test_a_crop_and_its_draws_are_those_of_clip_and_epoch_whoever_cuts_it(source, readers):
    def crops(worker, num_workers):
        cursor, found = Cursor(source, Order(0, source.id, 0, worker, num_workers), 0, readers), {}
        for _ in range(32 // num_workers):
            cursor.schedule()
            crop = cursor.take(Quarantine(32, 0.0))
            found[crop.key] = (crop.wave.tobytes(), crop.draws.tobytes())
        return found

    assert crops(0, 1) == crops(0, 2) | crops(1, 2)


def test_encoded_bytes_are_given_up_with_the_clip(source, readers):
    window = readers.fetch(source, np.arange(32))
    crops = [readers.decode(window, clip, order_of(source)) for clip in range(32)]
    assert len({crop.result().key for crop in crops}) == 32
    assert window.result() == {}


class Asked:
    """Readers that note the clips of each window that is asked for."""

    def __init__(self, readers: Readers):
        self.readers, self.fetched = readers, []

    def fetch(self, source, clips):
        self.fetched.append(tuple(clips.tolist()))
        return self.readers.fetch(source, clips)

    def __getattr__(self, name):
        return getattr(self.readers, name)


def test_the_next_window_is_fetched_before_this_one_ends_also_where_an_epoch_does(source, readers):
    asked = Asked(readers)
    cursor = Cursor(source, order_of(source), 0, asked)
    windows = [tuple(window.tolist()) for epoch in range(3) for window in source.windows(order_of(source, epoch))]
    ends = np.cumsum([len(window) for window in windows])
    for scheduled in range(1, 20):
        cursor.schedule()
        here = int(np.searchsorted(ends, scheduled, "left"))
        past = scheduled - (ends[here] - len(windows[here]))
        assert asked.fetched[: here + 1] == windows[: here + 1]
        if past >= len(windows[here]) // 2 + 1:
            assert asked.fetched == windows[: here + 2], "read ahead, once, and no further"
        assert len(asked.fetched) <= here + 2


def test_nothing_is_read_ahead_for_the_first_clip_of_a_window(source, readers):
    asked = Asked(readers)
    Cursor(source, order_of(source), 0, asked).schedule()
    assert len(asked.fetched) == 1
