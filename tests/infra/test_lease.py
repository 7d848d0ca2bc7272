"""One holds the lease: of many at once one gets it, a living holder keeps it, a dead one's is taken, and it is told."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.lease import LEASE, Lease, LeaseConfig, LeaseLost, acquire, holder
from infra.storage import open_store
from tests.infra.faulty_proxy import FaultyProxy

ROOT = Path(__file__).parents[2]
FAST = LeaseConfig(ttl_s=0.6)
HOLD = """
import sys, time
from infra.lease import LeaseConfig, acquire
from infra.storage import open_store
lease = acquire(open_store(sys.argv[1]), LeaseConfig(ttl_s=float(sys.argv[2])))
print("held" if lease else "refused", flush=True)
if lease:
    with lease.kept():
        time.sleep(float(sys.argv[3]))
"""


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def store(request, tmp_path):
    url = str(tmp_path) if request.param == "folder" else f"{request.getfixturevalue('s3')}/{uuid.uuid4().hex}"
    return open_store(url)


def hold(store, ttl_s: float, seconds: float) -> subprocess.Popen:
    words = [sys.executable, "-c", HOLD, store.url, str(ttl_s), str(seconds)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def said(store) -> dict:
    return json.loads(store.get(LEASE))


def test_of_many_threads_at_once_one_gets_it(store):
    with ThreadPoolExecutor(8) as pool:
        leases = list(pool.map(lambda _: acquire_kept(store), range(8)))
    assert sum(lease is not None for lease in leases) == 1


def acquire_kept(store) -> Lease | None:
    """Acquire, and renew for longer than any other watches."""
    lease = acquire(store, FAST)
    if lease is not None:
        with lease.kept():
            time.sleep(2.5)
    return lease


@pytest.mark.slow
def test_of_processes_at_once_one_gets_it(store):
    processes = [hold(store, 2.0, 4.0) for _ in range(4)]
    answers = [process.communicate(timeout=60)[0].split()[-1] for process in processes]
    assert sorted(answers) == ["held", "refused", "refused", "refused"]


def test_what_was_given_back_is_taken_at_once_by_a_later_token(store):
    first = acquire(store, LeaseConfig(ttl_s=1000))
    with first.kept():
        first.check()
    second = acquire(store, LeaseConfig(ttl_s=1000))
    assert second.token == first.token + 1
    with pytest.raises(LeaseLost, match="another run has taken the lease over"):
        first.check()
    second.check()


def test_a_living_holder_keeps_it(tmp_path):
    store = open_store(str(tmp_path))
    lease = acquire(store, FAST)
    with lease.kept():
        assert acquire(store, FAST) is None
        lease.check()
    assert said(store)["holder"] == ""


@pytest.mark.slow
def test_a_killed_holder_s_lease_is_taken_after_its_time_to_live(tmp_path):
    store = open_store(str(tmp_path))
    process = hold(store, 1.0, 60)
    assert process.stdout.readline() == "held\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    start_s = time.monotonic()
    lease = acquire(store, LeaseConfig(ttl_s=1000))
    assert lease.token == 2 and 0.9 < time.monotonic() - start_s < 3


@pytest.mark.parametrize("hours", [-48, 48])
def test_clocks_that_differ_do_no_harm(tmp_path, monkeypatch, hours):
    """The wall clock is not asked: a holder that lives is left alone, and a dead one found, whatever it wrote."""
    store = open_store(str(tmp_path))
    lease = acquire(store, FAST)
    wrong = said(store) | {"expires_at": f"20{26 + hours // 24:02d}-01-01T00:00:00+00:00"}
    store.put(LEASE, json.dumps(wrong).encode())
    with lease.kept():
        assert acquire(store, FAST) is None
    lease = acquire(store, FAST)
    store.put(LEASE, json.dumps(said(store) | {"expires_at": wrong["expires_at"]}).encode())
    assert acquire(store, FAST).token == lease.token + 1  # nobody renews it


def test_who_was_paused_learns_that_it_lost(tmp_path):
    store, told = open_store(str(tmp_path)), threading.Event()
    paused = acquire(store, FAST)
    second = acquire(store, FAST)  # takes over what is not renewed
    with paused.kept(told.set):
        assert told.wait(5)
        with pytest.raises(LeaseLost):
            paused.check()
    second.check()  # what the first gave back was no longer its own


def test_who_waits_comes_next(tmp_path):
    store = open_store(str(tmp_path))
    first = acquire(store, FAST)
    with ThreadPoolExecutor(1) as pool:
        with first.kept():
            second = pool.submit(acquire, store, LeaseConfig(0.6, wait=True))
            time.sleep(1.5)
            assert not second.done()
        assert second.result(timeout=5).token == 2


@pytest.mark.s3
def test_a_store_that_is_away_for_a_while_costs_no_lease(s3, s3_server_at, monkeypatch):
    with FaultyProxy(s3_server_at.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        store = open_store(f"{s3}/{uuid.uuid4().hex}")
        lease = acquire(store, FAST)
        with lease.kept():
            proxy.refuse()
            time.sleep(2)
            proxy.accept()
            time.sleep(0.5)
            lease.check()


@pytest.mark.s3
def test_a_renewal_whose_answer_was_lost_keeps_the_lease(s3, s3_server_at, monkeypatch):
    with FaultyProxy(s3_server_at.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        lease = acquire(open_store(f"{s3}/{uuid.uuid4().hex}"), FAST)
        for _ in range(3):
            proxy.lose_response()
            assert lease.renew()
        lease.check()


def test_a_damaged_lease_is_named(tmp_path):
    store = open_store(str(tmp_path))
    store.put(LEASE, b"{")
    with pytest.raises(ValueError, match=r"lease\.json: .*; delete it when no run is going on"):
        acquire(store, FAST)
    with pytest.raises(ValueError, match="give more than 0"):
        LeaseConfig(ttl_s=0)


def test_the_holder_is_named_for_people(tmp_path):
    store = open_store(str(tmp_path))
    assert holder(store) == ""
    lease = acquire(store, FAST)
    assert str(os.getpid()) in said(store)["holder"] and said(store)["expires_at"].startswith("20")
    assert holder(store) == lease.holder
    lease.release()
    assert holder(store) == ""
