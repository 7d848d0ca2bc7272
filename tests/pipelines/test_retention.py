"""Old runs lose what is bulky and nothing else; cleaning may be cut off anywhere; models and what decided stay as they were."""

import json
import shutil
import uuid

import pytest

from infra.lease import Lease, LeaseConfig, LeaseLost, acquire
from infra.registry import BOOTSTRAP, PROMOTION, Entry, Registry
from infra.storage import FolderStore, open_store
from pipelines import evaluation_page, retention
from pipelines.retention import abandoned, clean, clean_work, is_bulky
from pipelines.retrain_steps import STEPS

TOLD = {"plan.json", "decision.json", "report.md", "finished.json", *(f"steps/{name}.json" for name in STEPS)}
TABLE = {f"evaluation-0/{name}" for name in ("clips.parquet", "evaluation.json", "run.json", "report.html")}
PART, AUDIO = "evaluation-0/parts/sr-0.parquet", "evaluation-0/sr-0/01-input.flac"
BULKY = {"bundle/lm/model.safetensors", "bundle/bundle.json", PART, AUDIO}


@pytest.fixture
def registry(request, tmp_path):
    """With a first champion that is of the run r0, and the ended runs r0, r1, ... r4."""
    is_on_s3 = getattr(request, "param", "") == "s3"
    url = f"{request.getfixturevalue('s3')}/{uuid.uuid4().hex}" if is_on_s3 else str(tmp_path / "registry")
    found = Registry(url)
    for number in range(5):
        put_run(found, number)
    promote(found, 0)
    return found


@pytest.fixture
def lease(registry):
    return acquire(registry.store, LeaseConfig(0.2))


def put_run(registry: Registry, number: int, without: str = "") -> None:
    """Files of a run that began with the lease's token 10 * number, and ended with the next one."""
    for name in TOLD | TABLE | BULKY:
        token = 10 * number + (name == "finished.json")
        if name != without:
            registry.store.put(f"runs/r{number}/{name}", json.dumps({"token": token}).encode())


def promote(registry: Registry, number: int) -> str:
    source, was = registry.store.child(f"runs/r{number}/bundle"), registry.champion()
    source.put("lm/config.json", str(number).encode())  # so that each is another model
    model = registry.models.add(source, {"run": f"r{number}"})
    source.delete("lm/config.json")
    kind = PROMOTION if was else BOOTSTRAP
    registry.change(Entry(kind, model, was.model if was else "", "better", f"r{number}", 10 * number), was)
    return model


def of_run(registry: Registry, number: int) -> set[str]:
    return set(registry.store.child(f"runs/r{number}").list())


def everything(registry: Registry) -> dict[str, bytes]:
    return {name: registry.store.get(name) for name in registry.store.list() if name != "lease.json"}


@pytest.mark.parametrize("registry", ["folder", pytest.param("s3", marks=pytest.mark.s3)], indirect=True)
def test_of_old_runs_what_is_bulky_goes_and_what_tells_stays(registry, lease):
    before = everything(registry)
    found = clean(registry, lease, keep_runs=2)
    assert found.runs == {"r1", "r2"} and found.num_bytes == sum(
        len(before[f"runs/r{number}/{name}"]) for number in (1, 2) for name in BULKY
    )
    for number in (1, 2):
        assert of_run(registry, number) == TOLD | TABLE
    for number in (0, 3, 4):  # the champion's own, and the last two
        assert of_run(registry, number) == TOLD | TABLE | BULKY
    after = everything(registry)
    assert after.items() <= before.items()
    assert {name for name in before if not name.startswith("runs/")} <= after.keys()
    assert not clean(registry, lease, keep_runs=2).runs and everything(registry) == after


def test_all_champions_can_come_back_whatever_is_cleaned(registry, lease):
    first, second, third = registry.champion().model, promote(registry, 1), promote(registry, 4)
    clean(registry, lease, keep_runs=1)
    assert of_run(registry, 0) == of_run(registry, 1) == TOLD | TABLE
    assert [entry.model for entry in registry.history()] == [first, second, third]
    for model in (first, second, third):
        assert registry.models.fetch(model).is_dir()
    assert registry.rollback(first, "").model == first


def test_what_a_kill_at_the_end_has_left_goes_at_once(registry, lease):
    for name in ("lm/model.safetensors", "checkpoints/step-1/manifest.json"):
        registry.store.put(f"runs/r4/{name}", b"x")
    assert clean(registry, lease, keep_runs=99).runs == {"r4"}
    assert of_run(registry, 4) == TOLD | TABLE | BULKY


def test_a_run_that_never_ended_stays_until_enough_later_ones_have(registry, lease):
    registry.store.delete("runs/r2/finished.json")
    assert not clean(registry, lease, keep_runs=4).runs and of_run(registry, 2) >= BULKY
    assert clean(registry, lease, keep_runs=2).runs == {"r1", "r2"}
    assert of_run(registry, 2) == {"plan.json", "steps/simulate.json", "steps/encode.json"} | TABLE


def test_a_run_that_was_killed_after_its_promotion_has_ended(registry, lease):
    registry.store.delete("runs/r2/finished.json")
    promote(registry, 2)
    promote(registry, 4)
    clean(registry, lease, keep_runs=1)
    assert of_run(registry, 2) == TOLD - {"finished.json"} | TABLE


def test_a_run_goes_on_from_the_last_step_that_is_whole_wherever_its_cleaning_was_cut_off():
    kept = {"plan.json", "finished.json", "steps/simulate.json", "steps/encode.json"}  # what these made is not removed
    files = dict.fromkeys([*TOLD, *TABLE, *BULKY, "lm/config.json", "checkpoints/step-1/x"], 1)
    order = abandoned(files)
    assert set(order) == {name for name in files if is_bulky(name)} | TOLD - kept
    places = {name: order.index(name) for name in order}
    for step, made in (("train", "lm/config.json"), ("bundle", "bundle/bundle.json"), ("evaluate", PART)):
        later = list(STEPS)[list(STEPS).index(step) :]
        assert max(places[f"steps/{name}.json"] for name in later) < places[made]  # none is marked as done any more
        earlier = {f"steps/{name}.json" for name in list(STEPS)[: list(STEPS).index(step)]} - kept
        assert all(places[made] < places[mark] for mark in earlier)


def test_cut_off_anywhere_and_done_again_it_ends_as_undisturbed(tmp_path, monkeypatch):
    first = Registry(str(tmp_path / "first"))
    for number in range(3):
        put_run(first, number, without="finished.json" if number == 0 else "")
    first.store.put("runs/r0/lm/config.json", b"x")

    def world(name: str) -> tuple[Registry, Lease]:
        of = Registry(str(shutil.copytree(tmp_path / "first", tmp_path / name)))
        return of, acquire(of.store, LeaseConfig(0.2))

    of, lease = world("undisturbed")
    assert clean(of, lease, keep_runs=1).runs == {"r0", "r1"}
    wanted = everything(of)
    delete, num_deleted = FolderStore.delete, [0]
    for cut in range(20):

        def delete_some(store, name, cut=cut):
            if num_deleted[0] == cut:
                raise KeyboardInterrupt
            num_deleted[0] += 1
            delete(store, name)

        of, lease = world(f"cut-{cut}")
        num_deleted[0] = 0
        with monkeypatch.context() as patch:
            patch.setattr(FolderStore, "delete", delete_some)
            try:
                clean(of, lease, keep_runs=1)
                break
            except KeyboardInterrupt:
                pass
        clean(of, lease, keep_runs=1)
        assert everything(of) == wanted
    assert cut == num_deleted[0] == 15


def test_who_has_lost_the_lease_removes_nothing(tmp_path):
    of = Registry(str(tmp_path))
    for number in range(2):
        put_run(of, number)
    lease = acquire(of.store, LeaseConfig(0.1))
    acquire(of.store, LeaseConfig(0.1))
    before = everything(of)
    with pytest.raises(LeaseLost):
        clean(of, lease, keep_runs=1)
    assert everything(of) == before


def test_models_of_training_go_when_their_run_has_ended(tmp_path):
    of, work = Registry(str(tmp_path / "registry")), open_store(str(tmp_path / "work"))
    put_run(of, 1)
    put_run(of, 2, without="finished.json")
    for run in ("r1", "r2", "by-hand"):
        for name in ("model/model.safetensors", "metrics.jsonl", "finished.json"):
            work.put(f"{run}/{name}", b"x")
    clean_work(str(tmp_path / "work"), of)
    models = {name.partition("/")[0] for name in work.list() if "/model/" in name}
    assert models == {"r2", "by-hand"}
    assert sum("metrics.jsonl" in name or "finished.json" in name for name in work.list()) == 6
    clean_work(str(tmp_path / "none"), of)


def test_the_page_that_stays_is_the_one_that_is_made():
    assert retention.PAGE == evaluation_page.PAGE
