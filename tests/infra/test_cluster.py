import time

import pytest
import ray

from infra import cluster

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module", autouse=True)
def own_ray():
    assert cluster.start(2) == 2
    assert cluster.start(1) == 2  # already connected
    yield
    ray.shutdown()


@ray.remote
def square(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number**2


def test_every_item_comes_back_once_failed_ones_too():
    submitted = []
    most = 0
    results = {}

    def submit(number):
        nonlocal most
        submitted.append(number)
        most = max(most, len(submitted) - len(results))
        return square.remote(number)

    for item, reference in cluster.bounded(submit, range(10), limit=lambda: 3):
        try:
            results[item] = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            results[item] = str(error.cause)
    assert results == {number: number**2 for number in range(10)} | {3: "three"}
    assert most <= 3


def test_nothing_to_do_ends_at_once():
    assert list(cluster.bounded(square.remote, [], limit=lambda: 3)) == []


@ray.remote(num_cpus=0)
def meet(folder, number: int) -> int:
    """Ends when all three are there at once."""
    (folder / str(number)).touch()
    end = time.monotonic() + 30
    while len(list(folder.iterdir())) < 3:
        assert time.monotonic() < end, "the others were not given in hand"
        time.sleep(0.05)
    return number


def test_a_cluster_that_has_grown_gets_more_before_anything_has_finished(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "LOOK_S", 0.2)
    started = time.monotonic()
    found = cluster.bounded(lambda number: meet.remote(tmp_path, number), range(3), lambda: 1 + int(time.monotonic() - started))
    assert sorted(ray.get(reference) for _, reference in found) == [0, 1, 2]


@pytest.mark.parametrize(
    ("address", "there", "tasks"),
    [
        ("", {"CPU": 2.0}, 6),  # this machine alone: as ever
        ("10.0.0.1:6379", {"memory": 1.0}, cluster.FEWEST_WAITING),  # a head without CPUs
        ("10.0.0.1:6379", {"CPU": 3.0}, cluster.FEWEST_WAITING),
        ("10.0.0.1:6379", {"CPU": 500.0}, 1002),  # more wait than run, however large it is
    ],
)
def test_on_a_cluster_more_tasks_wait_than_there_are_cpus(address, there, tasks, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(ray, "cluster_resources", lambda: there)
    assert cluster.in_flight() == tasks
