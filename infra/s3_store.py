"""An S3 prefix as a store, through s3fs. Endpoint, region and credentials come from the usual AWS variables, files or roles.

Every object is one PutObject (5 GB at most), which S3 makes atomic. An exception inside `with s3fs.open(..., "wb")` commits
half an object, so that interface is not used. A request that fails for a passing reason is tried again here, and only here:
the retries of s3fs and botocore, which multiply, are off.
"""

import asyncio
import contextlib
import functools
import itertools
import logging
import os
import random
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import botocore.exceptions
import botocore.parsers
import fsspec.asyn
import s3fs

from infra.local_cache import LocalCache
from infra.storage import StorageError, check_name

logger = logging.getLogger(__name__)

MAX_PUT_BYTES = 5 * 2**30
CONNECT_TIMEOUT_S, READ_TIMEOUT_S, REQUEST_LIMIT_S = 5, 60, 120.0
MIN_RATE_BYTES_PER_S = 200_000  # an upload slower than this is given up and tried again
MIN_TRIES, FIRST_WAIT_S, MAX_WAIT_S = 3, 0.1, 5.0
FRESH_S = 600.0  # a cached copy is compared with the server once in this time
RETRIED_CODES = {"SlowDown", "RequestTimeout", "InternalError", "ConditionalRequestConflict", "OperationAborted"}
RETRIED_STATUS = {409, 429, 500, 502, 503, 504}
REFUSED_CODES = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}

Request = Callable[[s3fs.S3FileSystem], Awaitable[Any]]


class _Conflict(Exception):
    """The condition of a conditional put did not hold."""


class S3Store:
    """`s3://bucket/prefix`. Safe in threads, after a fork and pickled: it holds names, no connection.

    A request is tried for `retry_s` seconds (at least MIN_TRIES times) before StorageError.
    """

    def __init__(self, url: str, retry_s: float = 30.0):
        place, self.retry_s = url.removeprefix("s3://").rstrip("/"), retry_s
        self.url = f"s3://{place}"
        self.bucket, _, self.prefix = place.partition("/")
        if not self.bucket:
            raise ValueError(f"{url}: give s3://bucket/prefix")
        if self.prefix:
            check_name(self.prefix)

    def get(self, name: str) -> bytes:
        return self.get_with_tag(name)[0]

    def get_with_tag(self, name: str) -> tuple[bytes, str]:
        key = self._key(name)

        async def read(fs: s3fs.S3FileSystem) -> tuple[bytes, str]:
            response = await fs._call_s3("get_object", Bucket=self.bucket, Key=key)
            async with response["Body"] as body:
                data = await body.read()
            if len(data) != response["ContentLength"]:
                raise ConnectionError(f"{len(data)} of {response['ContentLength']} bytes came")
            return data, response["ETag"]

        return self._request("GetObject", name, read, limit_s=None)  # botocore's read timeout sees a stalled download

    def put(self, name: str, data: bytes) -> None:
        self._put(name, data)

    def create(self, name: str, data: bytes) -> bool:
        return self._put(name, data, IfNoneMatch="*")

    def replace(self, name: str, data: bytes, tag: str) -> bool:
        bare = tag.strip('"')
        try:
            if self._put(name, data, IfMatch=bare):
                return True
            # Ceph compares the bare tag, HTTP wants it in quotes: a refusal counts only if the object has indeed changed.
            return self._head(name)["ETag"].strip('"') == bare and self._put(name, data, IfMatch=f'"{bare}"')
        except FileNotFoundError:
            return False

    def delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._call("delete_object", "DeleteObject", name)
        _checked.pop(self._where(name), None)

    def list(self, prefix: str = "") -> dict[str, int]:
        root = f"{self.prefix}/" if self.prefix else ""
        found: dict[str, int] = {}
        page: dict[str, Any] = {}
        while page.get("IsTruncated", True):
            after = {"ContinuationToken": page["NextContinuationToken"]} if page else {}
            arguments = {"Bucket": self.bucket, "Prefix": root + prefix, **after}
            page = self._request("ListBucket", prefix, lambda fs, a=arguments: fs._call_s3("list_objects_v2", **a))
            for item in page.get("Contents", []):
                if not item["Key"].endswith("/"):  # what consoles make to show an empty folder
                    found[item["Key"][len(root) :]] = item["Size"]
        return dict(sorted(found.items()))

    def exists(self, name: str) -> bool:
        try:
            self._head(name)
        except FileNotFoundError:
            return False
        return True

    def local_path(self, name: str) -> str:
        where, cache = self._where(name), _cache()
        path, num_bytes, checked_s = _checked.get(where, ("", 0, 0.0))
        if path and time.monotonic() - checked_s < FRESH_S and cache.touch(path, num_bytes):
            return path
        for _ in range(10):
            head = self._head(name)
            with contextlib.suppress(_Conflict):
                identity, num_bytes = f"{where} {head['ETag']} {head['ContentLength']}", head["ContentLength"]
                path = cache.path(identity, name, num_bytes, lambda tag=head["ETag"]: self._get_tagged(name, tag))
                if len(_checked) > 100_000:
                    _checked.clear()
                _checked[where] = path, num_bytes, time.monotonic()
                return path
        raise StorageError(f"{self.url}/{name}: it changes while it is read; read it when its writers are done")

    def child(self, name: str) -> "S3Store":
        check_name(name)
        return S3Store(f"{self.url}/{name}", self.retry_s)

    def _get_tagged(self, name: str, tag: str) -> bytes:
        """The object's bytes if they are still the ones that were announced."""
        data, found = self.get_with_tag(name)
        if found != tag:
            raise _Conflict
        return data

    def _where(self, name: str) -> str:
        return f"{_endpoint()} {self.url}/{name}"

    def _key(self, name: str) -> str:
        check_name(name)
        return f"{self.prefix}/{name}" if self.prefix else name

    def _head(self, name: str) -> dict[str, Any]:
        return self._call("head_object", "GetObject", name)

    def _call(self, method: str, action: str, name: str, **arguments: Any) -> dict[str, Any]:
        key = self._key(name)
        return self._request(action, name, lambda fs: fs._call_s3(method, Bucket=self.bucket, Key=key, **arguments))

    def _put(self, name: str, data: bytes, **condition: str) -> bool:
        """One PutObject; False if its condition does not hold.

        When the response is lost, the put is sent again and then meets its own first try: the writer's mark tells.
        """
        check_name(name, written=True)
        if len(data) > MAX_PUT_BYTES:
            size = f"{len(data)} bytes are more than the {MAX_PUT_BYTES} that one put takes"
            raise StorageError(f"{self.url}/{name}: {size}; make smaller shards")
        key, writer, limit_s = self._key(name), uuid.uuid4().hex, REQUEST_LIMIT_S + len(data) / MIN_RATE_BYTES_PER_S
        arguments = {"Bucket": self.bucket, "Key": key, "Body": data, "Metadata": {"writer": writer}, **condition}
        try:
            self._request("PutObject", name, lambda fs: fs._call_s3("put_object", **arguments), limit_s)
        except _Conflict:
            with contextlib.suppress(FileNotFoundError):
                return self._head(name)["Metadata"].get("writer") == writer
            return False
        finally:
            _checked.pop(self._where(name), None)
        return True

    def _request(self, action: str, name: str, request: Request, limit_s: float | None = REQUEST_LIMIT_S) -> Any:
        """One S3 action, tried again while the fault may pass. FileNotFoundError, _Conflict or StorageError in the end."""
        where, start_s, wait_s = f"{self.url}/{name}", time.monotonic(), FIRST_WAIT_S
        for number in itertools.count(1):
            try:
                fs = _filesystem(os.getpid(), _environment())
                return fsspec.asyn.sync(fs.loop, request, fs, timeout=limit_s)
            except (OSError, ValueError, aiohttp.ClientError, *_BOTO_ERRORS) as error:
                failure, passing = self._judge(error, action, where)
            used_s = time.monotonic() - start_s
            if not passing or (number >= MIN_TRIES and used_s + wait_s > self.retry_s):
                raise StorageError(f"{failure} ({number} tries in {used_s:.0f} s)") if passing else failure
            logger.warning("%s; trying again", failure)
            time.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(2 * wait_s, MAX_WAIT_S)

    def _judge(self, error: Exception, action: str, where: str) -> tuple[Exception, bool]:
        """What to raise for an error of s3fs, and whether it may pass. Never quotes a server on a refusal: it echoes keys."""
        answer = error if isinstance(error, botocore.exceptions.ClientError) else error.__cause__
        if not isinstance(answer, botocore.exceptions.ClientError):
            return self._judge_connection(error, where)
        code = str(answer.response.get("Error", {}).get("Code", ""))
        status = int(answer.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code == "NoSuchBucket":
            return StorageError(f"{where}: no bucket {self.bucket!r} at {_endpoint()}; create it, or correct the URL"), False
        if code in RETRIED_CODES or status in RETRIED_STATUS:
            return StorageError(f"{where}: {_endpoint()} answers {status} {code}; it is overloaded or failing, try later"), True
        if status == 412 or code == "PreconditionFailed":
            return _Conflict(), False
        if status == 404:
            return FileNotFoundError(f"{where}: no such object"), False
        if status == 403 or code in REFUSED_CODES:
            remedy = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the bucket's policy and this machine's clock"
            return StorageError(f"{where}: s3:{action} on bucket {self.bucket!r} refused ({status} {code}); {remedy}"), False
        message = str(answer.response.get("Error", {}).get("Message"))[:300]
        return StorageError(f"{where}: {status} {code}: {message}; check the region, the endpoint and the name"), False

    def _judge_connection(self, error: Exception, where: str) -> tuple[Exception, bool]:
        if isinstance(error, botocore.exceptions.NoCredentialsError | botocore.exceptions.PartialCredentialsError):
            return StorageError(f"{where}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role"), False
        text = re.sub(r"//[^/@\s]*@", "//", " ".join(f"{type(error).__name__}: {error}".split()))
        if isinstance(error, _PASSING):
            remedy = "check that the server runs, AWS_ENDPOINT_URL and the network"
            return StorageError(f"{where}: {_endpoint()} cannot be reached ({text[:300]}); {remedy}"), True
        return StorageError(f"{where}: {text[:300]}; check AWS_ENDPOINT_URL, the bucket and the AWS_ variables"), False


_BOTO_ERRORS = (
    botocore.exceptions.BotoCoreError,
    botocore.exceptions.ClientError,
    botocore.parsers.ResponseParserError,
)
_PASSING = (
    OSError,
    aiohttp.ClientError,
    asyncio.TimeoutError,
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.ConnectionError,
    botocore.exceptions.IncompleteReadError,
    botocore.parsers.ResponseParserError,
)

_checked: dict[str, tuple[str, int, float]] = {}  # endpoint and URL -> its cached copy, that one's size, when it was compared


@functools.lru_cache(maxsize=4)
def _cache_of(pid: int, folder: str | None, limit_gb: str | None) -> LocalCache:
    return LocalCache()


def _cache() -> LocalCache:
    return _cache_of(os.getpid(), os.environ.get("QUARKLINE_CACHE"), os.environ.get("QUARKLINE_CACHE_GB"))


def _endpoint() -> str:
    url = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "https://s3.amazonaws.com"
    return re.sub(r"//[^/@\s]*@", "//", url)


def _environment() -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))


@functools.lru_cache(maxsize=4)
def _filesystem(pid: int, environment: tuple[tuple[str, str], ...]) -> s3fs.S3FileSystem:
    """The process's client for the AWS variables as they are: a forked child makes its own, and changed keys count at once."""
    fs = s3fs.S3FileSystem(
        endpoint_url=os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"),
        use_listings_cache=False,
        skip_instance_cache=True,
        config_kwargs={
            "retries": {"total_max_attempts": 1},
            "connect_timeout": CONNECT_TIMEOUT_S,
            "read_timeout": READ_TIMEOUT_S,
            "max_pool_connections": 32,
            "request_checksum_calculation": "when_required",  # servers other than AWS do not know the newer checksums
            "response_checksum_validation": "when_required",
        },
    )
    fs.retries = 1
    return fs
