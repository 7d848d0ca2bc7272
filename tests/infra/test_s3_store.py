"""What goes wrong between here and S3, against a real server behind a faulty proxy: cut, lost, refused, stopped, raced."""

import logging
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra import s3_server, s3_store
from infra.s3_store import S3Store
from infra.storage import StorageError
from tests.infra.faulty_proxy import FaultyProxy

pytestmark = pytest.mark.s3
ROOT = Path(__file__).parents[2]
DATA = bytes(range(256)) * 12_000  # 3 MB
OTHER = bytes(255 - value for value in DATA)


@pytest.fixture
def store(s3: str) -> S3Store:
    """An empty store straight on the server."""
    return S3Store(f"{s3}/{uuid.uuid4().hex}")


@pytest.fixture
def proxy(s3_server_at: s3_server.Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """A proxy before the server, and the AWS variables set to it for this test."""
    with FaultyProxy(s3_server_at.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


def unfinished_uploads(store: S3Store) -> list:
    fs = s3_store._filesystem(0, s3_store._environment())
    return fs.call_s3("list_multipart_uploads", Bucket=store.bucket).get("Uploads", [])


PUT = "import sys; from infra.storage import open_store; open_store(sys.argv[1]).put('a', bytes(20_000_000))"


def test_a_writer_killed_in_mid_upload_leaves_nothing(store, proxy):
    proxy.hold_upload(5_000_000)
    process = subprocess.Popen([sys.executable, "-c", PUT, store.url], cwd=ROOT)
    assert proxy.held.wait(30)
    process.kill()
    process.wait()
    proxy.release()
    time.sleep(0.2)
    assert store.list() == {} and not store.exists("a") and unfinished_uploads(store) == []


@pytest.mark.parametrize("after_bytes", [0, 100, 1_000_000, 2_990_000])
def test_a_connection_cut_in_mid_upload_is_made_good(store, proxy, after_bytes):
    proxy.cut_upload(after_bytes, times=2)
    store.put("a", DATA)
    assert store.get("a") == DATA and store.list() == {"a": len(DATA)}


@pytest.mark.parametrize("after_bytes", [0, 100, 1_000_000, 2_990_000])
def test_a_connection_cut_in_mid_download_is_made_good(store, proxy, after_bytes):
    store.put("a", DATA)
    proxy.cut_download(after_bytes, times=2)
    assert store.get("a") == DATA


@pytest.mark.parametrize("times", [1, 2])
def test_a_put_whose_answer_was_lost_is_right(store, proxy, times):
    proxy.lose_response(times)
    store.put("a", DATA)
    assert store.get("a") == DATA


@pytest.mark.parametrize("times", [1, 2])
def test_a_create_whose_answer_was_lost_has_won(store, proxy, times):
    proxy.lose_response(times)
    assert store.create("a", DATA) and store.get("a") == DATA


def test_a_create_whose_answer_was_lost_has_lost_to_an_earlier_one_even_of_the_same_bytes(store, proxy):
    assert store.create("a", DATA)
    proxy.lose_response()
    assert not store.create("a", DATA)


def test_a_replace_whose_answer_was_lost_has_won(store, proxy):
    store.put("a", DATA)
    _, tag = store.get_with_tag("a")
    proxy.lose_response()
    assert store.replace("a", OTHER, tag) and store.get("a") == OTHER
    proxy.lose_response()
    assert not store.replace("a", DATA, tag) and store.get("a") == OTHER


def test_a_tag_serves_quoted_or_bare(store):
    store.put("a", b"1")
    for number in range(2):
        _, tag = store.get_with_tag("a")
        assert store.replace("a", b"%d" % number, tag.strip('"') if number else f'"{tag.strip(chr(34))}"')


def test_a_stalled_upload_is_given_up_and_tried_again(store, proxy, monkeypatch, caplog):
    monkeypatch.setattr(s3_store, "REQUEST_LIMIT_S", 0.5)
    monkeypatch.setattr(s3_store, "MIN_RATE_BYTES_PER_S", 10_000_000)
    proxy.hold_upload(1_000_000)
    with ThreadPoolExecutor(1) as pool:
        put = pool.submit(store.put, "a", DATA)
        assert proxy.held.wait(10)
        time.sleep(1.0)
        proxy.release()
        put.result(20)
    assert store.get("a") == DATA and "trying again" in caplog.text


def test_an_outage_that_passes_is_waited_for(store, proxy):
    store.put("a", b"1")
    proxy.refuse()
    with ThreadPoolExecutor(3) as pool:
        results = [pool.submit(store.put, "b", DATA), pool.submit(store.get, "a"), pool.submit(store.list)]
        time.sleep(0.7)
        proxy.accept()
        assert results[1].result(20) == b"1" and results[0].result(20) is None and "a" in results[2].result(20)
    assert store.get("b") == DATA


def test_an_outage_that_stays_is_named_in_bounded_time(s3, proxy):
    store = S3Store(f"{s3}/outage", retry_s=0.5)
    proxy.refuse()
    actions = [lambda: store.put("a", b"1"), lambda: store.create("a", b"1"), lambda: store.replace("a", b"1", "tag")]
    for action in (*actions, lambda: store.get("a"), store.list, lambda: store.exists("a"), lambda: store.delete("a")):
        start_s = time.monotonic()
        with pytest.raises(StorageError, match=rf"{store.url}/.*{proxy.url} cannot be reached.*AWS_ENDPOINT_URL.* tries in"):
            action()
        assert time.monotonic() - start_s < 10  # a third of the usual patience


def test_a_server_that_is_stopped_is_named_and_serves_again_when_restarted(store, s3_server_at):
    store.put("a", DATA)
    s3_server_at.stop()
    store.retry_s = 0.5
    try:
        with pytest.raises(StorageError, match=rf"{store.url}/a: {s3_server_at.endpoint_url} cannot be reached"):
            store.get("a")
    finally:
        s3_server_at.start()
    assert store.get("a") == DATA
    store.put("b", OTHER)
    assert store.get("b") == OTHER


@pytest.mark.parametrize(
    ("variable", "code"), [("AWS_SECRET_ACCESS_KEY", "SignatureDoesNotMatch"), ("AWS_ACCESS_KEY_ID", "InvalidAccessKeyId")]
)
def test_a_refusal_names_bucket_and_action_and_no_secret(store, monkeypatch, caplog, variable, code):
    store.put("a", b"1")
    monkeypatch.setenv(variable, "Nq7SecretNq7Secret")
    caplog.set_level(logging.DEBUG, logger="infra")
    caplog.set_level(logging.DEBUG, logger="s3fs")
    for action, run in [
        ("PutObject", lambda: store.put("a", b"2")),
        ("GetObject", lambda: store.get("a")),
        ("ListBucket", store.list),
    ]:
        start_s = time.monotonic()
        with pytest.raises(
            StorageError, match=rf"s3:{action} on bucket '{store.bucket}' refused \(403 {code}\).*AWS_SECRET"
        ) as caught:
            run()
        assert time.monotonic() - start_s < 10  # a refusal is not tried again
        shown = f"{caught.getrepr(style='short')}{caught.value!r}{caught.value.__cause__!r}{caplog.text}"
        for secret in ("Nq7SecretNq7Secret", s3_server.SECRET_KEY, "Signature="):
            assert secret not in shown
    monkeypatch.undo()
    assert store.get("a") == b"1"


def test_missing_credentials_are_named(store, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StorageError, match=rf"{store.url}/a: no credentials; set AWS_ACCESS_KEY_ID"):
        store.get("a")


def test_a_missing_bucket_is_named(s3):
    store = S3Store("s3://no-such-bucket-here/a")
    for action in (store.list, lambda: store.put("b", b"1"), lambda: store.get("b")):
        with pytest.raises(StorageError, match=r"no bucket 'no-such-bucket-here'.*create it"):
            action()


@pytest.mark.parametrize("endpoint", ["localhost:7480", "http://user:hunter2@localhost:1"])
def test_a_wrong_endpoint_is_named_without_its_password(s3, monkeypatch, endpoint):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(StorageError, match=r"check .*AWS_ENDPOINT_URL") as caught:
        S3Store(s3, retry_s=0.1).get("a")
    assert "hunter2" not in str(caught.value)


def test_lists_of_more_than_a_page_are_whole(store):
    names = {f"rows/{number:05d}.json": number % 7 for number in range(1010)}
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: store.put(name, bytes(names[name])), names))
    assert store.list("rows/") == names and list(store.list()) == sorted(names)


def test_an_object_too_large_for_one_put_is_refused(store):
    with pytest.raises(StorageError, match=r"5368709121 bytes are more than .* smaller shards"):
        store.put("a", bytes(5 * 2**30 + 1))  # zero pages that are never touched
    assert store.list() == {}


READ = "import sys; from infra.storage import open_store; print(open_store(sys.argv[1]).local_path('a.flac'))"


def test_a_cached_copy_is_fetched_once_for_all_processes(store, proxy, tmp_path, monkeypatch):
    monkeypatch.setenv("QUARKLINE_CACHE", str(tmp_path))
    store.put("a.flac", DATA)
    proxy.cut_download(10**12)  # count from here
    command = [sys.executable, "-c", READ, store.url]
    readers = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(4)]
    answers = [reader.communicate(timeout=60) for reader in readers]
    assert {error for _, error in answers} == {""}
    paths = {path.strip() for path, _ in answers}
    assert len(paths) == 1 and Path(paths.pop()).read_bytes() == DATA
    assert len(DATA) < proxy.downloaded_bytes < 1.1 * len(DATA)
    assert len([path for path in tmp_path.iterdir() if not path.name.startswith(".lock")]) == 1


def test_a_cached_copy_is_used_without_asking_and_compared_again_later(store, proxy, monkeypatch):
    store.put("a.flac", b"first")
    path = store.local_path("a.flac")
    assert path.endswith(".flac") and Path(path).read_bytes() == b"first"
    proxy.refuse()
    assert store.local_path("a.flac") == path
    proxy.accept()
    subprocess.run(
        [sys.executable, "-c", PUT.replace("'a'", "'a.flac'").replace("bytes(20_000_000)", "b'2'"), store.url], check=True
    )
    assert store.local_path("a.flac") == path
    monkeypatch.setattr(s3_store, "FRESH_S", 0.0)
    assert Path(store.local_path("a.flac")).read_bytes() == b"2"


def test_a_copy_that_was_dropped_or_cut_is_fetched_again(store):
    store.put("a", DATA)
    path = Path(store.local_path("a"))
    path.unlink()
    assert Path(store.local_path("a")).read_bytes() == DATA
    path.write_bytes(DATA[:100])
    assert Path(store.local_path("a")).read_bytes() == DATA
