"""The champion changes by compare-and-swap: one winner, nothing of the history lost, wherever a writer is killed."""

import json
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.registry import BOOTSTRAP, CHAMPION, PROMOTION, ROLLBACK, ChampionChanged, Entry, Registry
from infra.storage import FolderStore, open_store
from tests.infra.faulty_proxy import FaultyProxy

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def registry(request, tmp_path):
    url = str(tmp_path / "registry") if request.param == "folder" else f"{request.getfixturevalue('s3')}/{uuid.uuid4().hex}"
    return Registry(url)


def model(registry, number: int, tmp_path) -> str:
    source = open_store(str(tmp_path / f"model{number}"))
    source.put("lm/model.safetensors", str(number).encode())
    return registry.models.add(source, {})


@pytest.fixture
def three(registry, tmp_path) -> list[str]:
    """Models; the first is the champion."""
    ids = [model(registry, number, tmp_path) for number in range(3)]
    registry.change(Entry(BOOTSTRAP, ids[0], "", "first"), None)
    return ids


def promote(registry, new: str) -> None:
    was = registry.champion()
    registry.change(Entry(PROMOTION, new, was.model, "better"), was)


def test_every_change_is_in_the_history(registry, three):
    promote(registry, three[1])
    promote(registry, three[2])
    entries = registry.history()
    assert [(entry.number, entry.kind, entry.model, entry.previous) for entry in entries] == [
        (1, BOOTSTRAP, three[0], ""),
        (2, PROMOTION, three[1], three[0]),
        (3, PROMOTION, three[2], three[1]),
    ]
    assert registry.champion().entry == entries[-1]


def test_rolling_back_twice_goes_back_two_and_is_history_itself(registry, three):
    promote(registry, three[1])
    promote(registry, three[2])
    registry.rollback("", "worse in the field")
    assert registry.champion().model == three[1]
    registry.rollback("", "this one, too")
    champion = registry.champion().entry
    assert (champion.model, champion.previous, champion.kind, champion.reason) == (
        three[0],
        three[1],
        ROLLBACK,
        "this one, too",
    )
    with pytest.raises(ValueError, match="no one earlier champion ''"):
        registry.rollback("", "")
    registry.rollback(three[2][:8], "it was good after all")
    assert [entry.model for entry in registry.history()] == [*three, three[1], three[0], three[2]]


def test_what_cannot_be_the_champion_is_refused(registry, three, tmp_path):
    with pytest.raises(ValueError, match="is the champion already"):
        registry.rollback(three[0], "")
    never = three[1]
    with pytest.raises(ValueError, match=f"no one earlier champion '{never}'; there were {three[0]}"):
        registry.rollback(never, "")
    with pytest.raises(ValueError, match=r"no model\.json here"):
        promote(registry, "0" * 16)
    promote(registry, three[1])
    registry.models.store.child(three[0]).delete("lm/model.safetensors")
    with pytest.raises(ValueError, match="missing"):
        registry.rollback("", "")
    assert registry.champion().model == three[1]


def test_a_tag_read_once_is_worth_nothing_after_any_change(registry, three):
    """Also when the same model is the champion again."""
    before = registry.champion()
    promote(registry, three[1])
    registry.rollback("", "back")
    assert registry.champion().model == before.model
    with pytest.raises(ChampionChanged, match="it was changed by another, it is now"):
        registry.change(Entry(PROMOTION, three[2], before.model, "late"), before)


def test_of_threads_that_promote_at_once_one_wins_each_round(registry, three, tmp_path):
    candidates = [model(registry, number, tmp_path) for number in range(10, 16)]
    for _ in range(3):
        was = registry.champion()
        with ThreadPoolExecutor(6) as pool:
            won = list(pool.map(lambda new, was=was: attempt(registry.url, new, was), candidates))
        assert won.count(True) == 1
    assert [entry.number for entry in registry.history()] == [1, 2, 3, 4]


def attempt(url: str, new: str, was) -> bool:
    try:
        Registry(url).change(Entry(PROMOTION, new, was.model if was else "", "race"), was)
    except ChampionChanged:
        return False
    return True


RACE = """
import sys
from tests.infra.test_registry import attempt
from infra.registry import Registry
was = Registry(sys.argv[1]).champion()
print("ready", flush=True)
sys.stdin.readline()
print(attempt(sys.argv[1], sys.argv[2], was))
"""


@pytest.mark.slow
@pytest.mark.parametrize("is_first", [False, True])
def test_of_processes_that_promote_at_once_one_wins(registry, tmp_path, is_first):
    ids = [model(registry, number, tmp_path) for number in range(4)]
    if not is_first:
        registry.change(Entry(BOOTSTRAP, ids[0], "", "first"), None)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    processes = [subprocess.Popen([sys.executable, "-c", RACE, registry.url, new], **pipes) for new in ids]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    answers = [process.communicate("\n", timeout=60)[0].strip() for process in processes]
    assert sorted(answers) == ["False", "False", "False", "True"]
    assert len(registry.history()) == 2 - is_first


def test_a_writer_killed_before_the_history_entry_loses_nothing(tmp_path, monkeypatch):
    registry = Registry(str(tmp_path / "registry"))
    ids = [model(registry, number, tmp_path) for number in range(3)]
    registry.change(Entry(BOOTSTRAP, ids[0], "", "first"), None)
    with monkeypatch.context() as patch:
        patch.setattr(Registry, "_record", lambda self, champion: None)  # as killed after the swap
        promote(registry, ids[1])
    assert not registry.store.exists("history/000002.json")
    promote(registry, ids[2])
    assert [entry.model for entry in registry.history()] == ids


@pytest.mark.s3
def test_a_promotion_whose_answer_was_lost_was_made_once(s3, s3_server_at, tmp_path, monkeypatch):
    with FaultyProxy(s3_server_at.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        registry = Registry(f"{s3}/{uuid.uuid4().hex}")
        ids = [model(registry, number, tmp_path) for number in range(4)]
        proxy.lose_response()
        registry.change(Entry(BOOTSTRAP, ids[0], "", "first"), None)
        for new in ids[1:]:
            proxy.lose_response(2)
            promote(registry, new)
        assert [entry.model for entry in registry.history()] == ids


def test_a_history_that_was_edited_or_deleted_is_named(tmp_path):
    registry = Registry(str(tmp_path / "registry"))
    ids = [model(registry, number, tmp_path) for number in range(2)]
    registry.change(Entry(BOOTSTRAP, ids[0], "", "first"), None)
    promote(registry, ids[1])
    store, last = registry.store, "history/000002.json"
    good = store.get(last)
    store.put(last, json.dumps(json.loads(good) | {"reason": "edited"}).encode())
    with pytest.raises(ValueError, match=r"000002\.json: not what champion\.json says"):
        registry.history()
    store.put(last, good)
    store.delete("history/000001.json")
    with pytest.raises(ValueError, match=r"000001\.json: it is gone"):
        registry.history()
    store.put(CHAMPION, b"{}")
    with pytest.raises(ValueError, match=r"champion\.json: .*restore it"):
        registry.champion()


def test_nothing_is_made_by_looking(tmp_path):
    registry = Registry(str(tmp_path / "registry"))
    assert registry.champion() is None and registry.history() == [] and registry.models.ids() == []
    with pytest.raises(ValueError, match="there is no champion here"):
        registry.rollback("", "")
    assert not (tmp_path / "registry").exists()
    with pytest.raises(ValueError, match="no registry"):
        Registry("")
    assert isinstance(registry.store, FolderStore)
