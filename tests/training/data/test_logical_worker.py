import functools

import pytest

from infra.storage import open_store
from training.data.config import DataConfig, DomainWeights
from training.data.crops import Cropping
from training.data.cursor import Readers
from training.data.logical_worker import LogicalWorker, check_states
from training.data.quarantine import Quarantine
from training.data.sources import Mixture, open_sources
from training.data.stream import cut


@pytest.fixture
def sources(corpus_at, tmp_path):
    return open_sources(DataConfig(corpora=(corpus_at,)), open_store(str(tmp_path)))


@pytest.fixture
def readers():
    readers = Readers(functools.partial(cut, Cropping(8000, 800)), 2)
    yield readers
    readers.close()


def take(worker: LogicalWorker, count: int, ahead: int = 3) -> list[str]:
    keys = []
    for _ in range(count):
        worker.schedule(ahead)
        keys.append(worker.take(Quarantine(40, 0.0)).key)
    return keys


def test_clips_follow_the_mixture_and_each_source_its_own_order(sources, readers):
    mixture = Mixture(sources, DomainWeights(), 0)
    keys = take(LogicalWorker(1, 4, mixture, readers=readers, state=None), 30)
    assert [key.partition("/")[0] for key in keys] == [sources[mixture(1, number)].domain for number in range(30)]
    speech = [key for key in keys if key.startswith("speech")]
    assert len(set(speech[:6])) == 6  # its part of an epoch


def test_how_far_it_reads_ahead_changes_nothing_of_clips_and_state(sources, readers):
    mixture = Mixture(sources, DomainWeights(), 0)
    near, far = (LogicalWorker(1, 4, mixture, readers=readers, state=None) for _ in range(2))
    assert take(near, 15, ahead=1) == take(far, 15, ahead=9)
    assert near.state() == far.state()


def test_a_worker_goes_on_behind_its_state(sources, readers):
    mixture = Mixture(sources, DomainWeights(), 0)
    worker = LogicalWorker(1, 4, mixture, readers=readers, state=None)
    take(worker, 7)
    state = worker.state()
    assert take(LogicalWorker(1, 4, mixture, readers=readers, state=state), 9) == take(worker, 9)


def test_states_must_be_those_of_all_workers_on_the_same_sources(sources):
    states = {str(number): {"clips": 0, "sources": {source.id: [0, 0] for source in sources}} for number in range(4)}
    check_states(states, sources, 4)
    with pytest.raises(ValueError, match="of 4 logical workers, not of 8"):
        check_states(states, sources, 8)
    with pytest.raises(ValueError, match="some are missing"):
        check_states(states, sources[1:], 4)
    del states["0"]["sources"][sources[0].id]
    with pytest.raises(ValueError, match=f"new or changed: {sources[0].where}"):
        check_states(states, sources, 4)
