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

    for item, reference in cluster.bounded(submit, range(10), limit=3):
        try:
            results[item] = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            results[item] = str(error.cause)
    assert results == {number: number**2 for number in range(10)} | {3: "three"}
    assert most <= 3


def test_nothing_to_do_ends_at_once():
    assert list(cluster.bounded(square.remote, [], limit=3)) == []
