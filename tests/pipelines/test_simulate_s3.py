"""The main job onto a real S3 server, with a corpus on it, too, and with a connection that is cut."""

import hashlib
import os
import threading
import time

import pytest

from infra import corpus_manifest
from infra.dataset import DESCRIPTION
from infra.storage import open_store
from tests.infra.faulty_proxy import FaultyProxy
from tests.pipelines.conftest import command, contents, finished
from tests.pipelines.test_simulate import SMALL, dataset_in

pytestmark = [pytest.mark.s3, pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture(scope="module")
def corpus_on_s3(corpus, s3):
    """The corpus copied under a prefix; its manifest says that the audio lies beside it."""
    store, local = open_store(f"{s3}/corpus"), open_store(str(corpus))
    for name in local.list():
        store.put(name, local.get(name))
    return store.url


@pytest.fixture(scope="module")
def on_disk(corpus, tmp_path_factory):
    """The dataset that a run onto this machine's disk makes."""
    out = tmp_path_factory.mktemp("disk")
    code, output = finished(command("pipelines.simulate", "sr", "--corpus", corpus, "--out", out, *SMALL, "--workers", 2))
    assert code == 0, output
    return contents(dataset_in(out))


def on_s3(url: str) -> dict[str, str]:
    """sha256 of every object of the one dataset under the prefix."""
    store = open_store(url)
    found = {name: store.get(name) for name in store.list() if not name.endswith("run.json")}
    return {name.partition("/")[2]: hashlib.sha256(data).hexdigest() for name, data in found.items()}


def simulate(corpus, out, **options):
    return command("pipelines.simulate", "sr", "--corpus", corpus, "--out", out, *SMALL, "--workers", 2, **options)


def test_a_dataset_on_s3_is_the_one_on_disk(on_disk, corpus_on_s3, s3):
    assert corpus_manifest.read(corpus_on_s3).root == corpus_on_s3
    code, output = finished(simulate(corpus_on_s3, f"{s3}/plain"))
    assert code == 0, output
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in output
    assert on_s3(f"{s3}/plain") == on_disk  # no temporary object either
    code, output = finished(command("pipelines.verify", "--out", f"{s3}/plain", "--rerender", 2))
    assert code == 0, output
    assert "2 rendered again: all well" in output


def test_a_connection_cut_in_mid_upload_loses_nothing(on_disk, corpus, s3, s3_server_at):
    proxy = FaultyProxy(s3_server_at.port)
    try:
        proxy.cut_upload(after_bytes=200_000, times=3)
        code, output = finished(simulate(corpus, f"{s3}/cut", environment={"AWS_ENDPOINT_URL": proxy.url}))
    finally:
        proxy.close()
    assert code == 0, output
    assert on_s3(f"{s3}/cut") == on_disk


def test_a_store_that_refuses_for_a_while_is_waited_for(on_disk, corpus, s3, s3_server_at):
    proxy = FaultyProxy(s3_server_at.port)
    proxy.delay_s = 0.02
    process = simulate(corpus, f"{s3}/away", environment={"AWS_ENDPOINT_URL": proxy.url})
    store = open_store(f"{s3}/away")

    def away():
        while process.poll() is None and not any("rows/" in name for name in store.list()):
            time.sleep(0.05)
        proxy.refuse()
        time.sleep(3)
        proxy.accept()

    outage = threading.Thread(target=away)
    outage.start()
    try:
        code, output = finished(process)
    finally:
        outage.join()
        proxy.close()
    assert code == 0, output
    assert on_s3(f"{s3}/away") == on_disk


def test_a_store_that_is_not_there_is_named(corpus, tmp_path):
    environment = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "not-to-be-seen",
    }
    code, output = finished(simulate(corpus, "s3://nowhere/at-all", environment=environment))
    assert code == 5, output
    assert "s3://nowhere/at-all" in output
    assert "127.0.0.1:9" in output
    assert "not-to-be-seen" not in output
    assert "Traceback" not in output


def test_of_two_runs_at_once_one_creates_the_description_and_both_are_right(on_disk, corpus, s3):
    runs = [simulate(corpus, f"{s3}/race") for _ in range(2)]
    for process in runs:
        code, output = finished(process)
        assert code == 0, output
    assert on_s3(f"{s3}/race") == on_disk
    assert sum(name.endswith(DESCRIPTION) for name in open_store(f"{s3}/race").list()) == 1
