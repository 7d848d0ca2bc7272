import os
import time

import pytest
import ray
from ray.exceptions import RayTaskError

from infra import actors, cluster
from infra.actors import ActorsLost, Crew, Resources, said

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module", autouse=True)
def own_ray():
    cluster.start(2)
    yield
    ray.shutdown()


@ray.remote(max_restarts=1, max_task_retries=1)
class Worker:
    """Doubles numbers; some it refuses, and some end it at every try."""

    def __init__(self, deadly: tuple[int, ...] = (), broken: bool = False):
        self.deadly = deadly
        if broken:
            raise ModuleNotFoundError("no such library on this node")

    def double(self, number: int) -> int:
        if number in self.deadly:
            os._exit(1)
        if number == 3:
            raise ValueError("three")
        return 2 * number

    def once(self, mark: str) -> str:
        """Kills its first actor for good, and does well with the next."""
        with open(mark, "a") as file:
            file.write("x")
        if os.path.getsize(mark) <= 2:
            os._exit(1)
        return "done"


def results(crew: Crew, items, method: str = "double") -> dict:
    with crew:
        made = list(crew.work(method, items))
    assert len({item for item, _ in made}) == len(made), "an item came twice"
    return dict(made)


def test_every_item_comes_back_once_and_its_own_exception_with_it():
    made = results(Crew(Worker.options(num_cpus=1).remote, 2), range(10))
    assert isinstance(made[3], RayTaskError) and said(made.pop(3)) == "ValueError: three"
    assert made == {number: 2 * number for number in range(10) if number != 3}
    assert results(Crew(Worker.options(num_cpus=1).remote, 1), []) == {}


def test_an_item_that_kills_its_actors_fails_alone():
    started = []

    def start():
        started.append(1)
        return Worker.options(num_cpus=1).remote((2,))

    made = results(Crew(start, 1), range(6))
    assert isinstance(made[2], ActorsLost) and said(made.pop(2)).startswith("ActorsLost: 2 actors died with it")
    assert made == {0: 0, 1: 2, 4: 8, 5: 10, 3: made[3]} and said(made[3]) == "ValueError: three"
    assert len(started) == 3  # one, and a successor after each of the two deaths


def test_an_item_whose_actor_was_lost_for_good_is_done_by_another(tmp_path):
    assert set(results(Crew(Worker.options(num_cpus=1).remote, 1), [str(tmp_path / "mark")], "once").values()) == {"done"}
    assert (tmp_path / "mark").stat().st_size == 3  # the first actor, itself restarted, its successor


def test_where_no_actor_can_live_every_item_fails_with_the_reason_and_an_end(monkeypatch):
    monkeypatch.setattr(actors, "FEWEST_DEATHS", 0)
    started = []

    def start():
        started.append(1)
        return Worker.options(num_cpus=0, max_restarts=0).remote(broken=True)

    made = results(Crew(start, 1), range(3))
    assert all(isinstance(error, ActorsLost) for error in made.values()) and len(made) == 3
    assert "no such library on this node" in said(made[0])
    assert len(started) == 1 + 2


def test_an_actor_that_has_no_room_yet_gets_no_item_and_the_others_do_them_all():
    places = iter([{}, {"never": 1}])
    started = time.monotonic()
    crew = Crew(lambda: Worker.options(num_cpus=0, resources=next(places)).remote(), 2)
    assert len(results(crew, range(8))) == 8
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"gpus_per_worker": -1.0}, {"max_workers": 0}])
def test_resources_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="--max-workers 1 or more"):
        Resources(**wrong)


def test_on_one_machine_there_are_as_many_actors_as_it_has_room_for(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    num_cpus = int(ray.cluster_resources()["CPU"])
    assert Resources(max_workers=7).count(9) == num_cpus and Resources().count(1) == 1


def test_a_cluster_without_gpus_is_waited_for_only_if_it_may_grow(monkeypatch):
    monkeypatch.setattr(ray, "cluster_resources", dict)  # as of a head without CPUs
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert Resources(gpus_per_worker=1.0, max_workers=4).count(9) == 4
    assert Resources(gpus_per_worker=1.0, max_workers=4).count(3) == 3
    assert Resources().count(9) == 1
    with pytest.raises(ValueError, match="Ray has 0 GPUs here; use 0 for CPUs, or say with --max-workers"):
        Resources(gpus_per_worker=1.0).count(9)
    monkeypatch.delenv("RAY_ADDRESS")
    with pytest.raises(ValueError, match=r"use 0 for CPUs$"):
        Resources(gpus_per_worker=1.0, max_workers=4).count(9)


def test_gpus_that_are_left_idle_are_told_of(monkeypatch, capsys):
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 4.0, "GPU": 1.0})
    assert Resources().count(9) == 4
    assert "--gpus-per-worker 1 uses them" in capsys.readouterr().out
    assert Resources(gpus_per_worker=0.5).count(9) == 2
    assert capsys.readouterr().out == ""


def test_no_gpu_asked_for_is_the_cpu():
    assert (Resources().device, Resources(gpus_per_worker=0.5).device) == ("cpu", "cuda")
