"""One small interface to a folder or an S3 prefix: whole objects in and out, atomic puts, and the two conditional puts.

Everything that is committed goes through here in one put: a reader sees the old object, the new one or none, never half.
"""

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import botocore.exceptions
import s3fs


class StorageError(OSError):
    """A store that cannot be reached, or refuses: names the URL and the remedy."""


class Store(Protocol):
    """Objects under one root; names are relative to it, with forward slashes."""

    url: str

    def get(self, name: str) -> bytes:
        """The object's bytes. FileNotFoundError if there is none."""

    def get_with_tag(self, name: str) -> tuple[bytes, str]:
        """The object's bytes and the tag that `replace` wants."""

    def put(self, name: str, data: bytes) -> None:
        """Store the object, whole or not at all, over whatever has the name."""

    def create(self, name: str, data: bytes) -> bool:
        """Store the object only if the name is free; False if it is taken. Of many writers at once one gets True."""

    def replace(self, name: str, data: bytes, tag: str) -> bool:
        """Store the object only if it is still the one that `tag` was read with; False if it has changed or gone."""

    def delete(self, name: str) -> None:
        """Remove the object; nothing happens if there is none."""

    def list(self, prefix: str = "") -> dict[str, int]:
        """Names that start with `prefix`, sorted, with their sizes in bytes."""

    def exists(self, name: str) -> bool: ...

    def local_path(self, name: str) -> str:
        """A path on this machine with the object's bytes: itself in a folder, a cached copy from S3. FileNotFoundError."""

    def child(self, name: str) -> "Store":
        """The store rooted one name further down."""


def open_store(url: str) -> Store:
    """The store of `s3://bucket/prefix` or of a local folder, which its first put creates. ValueError for other schemes."""
    if url.startswith("s3://"):
        return S3Store(url)
    if "://" in url and not url.startswith("file://"):
        raise ValueError(f"{url}: give a folder or an s3:// prefix")
    return FolderStore(url.removeprefix("file://"))


class FolderStore:
    """A folder. An object is written beside its place under a hidden name, flushed, then renamed."""

    def __init__(self, path: str | Path):
        self.root = Path(path)
        self.url = str(path)

    def get(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def get_with_tag(self, name: str) -> tuple[bytes, str]:
        data = self.get(name)
        return data, hashlib.sha256(data).hexdigest()

    def put(self, name: str, data: bytes) -> None:
        with self._written(name, data) as temporary:
            os.replace(temporary, self.root / name)

    def create(self, name: str, data: bytes) -> bool:
        with self._written(name, data) as temporary:
            try:
                os.link(temporary, self.root / name)  # unlike rename, fails if the name is taken
            except FileExistsError:
                return False
        return True

    def replace(self, name: str, data: bytes, tag: str) -> bool:
        with self._locked(name):
            try:
                if self.get_with_tag(name)[1] != tag:
                    return False
            except FileNotFoundError:
                return False
            self.put(name, data)
        return True

    def delete(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def list(self, prefix: str = "") -> dict[str, int]:
        start = self.root / prefix.rpartition("/")[0]
        found = {}
        for folder, _, files in os.walk(start):
            for file in files:
                name = (Path(folder) / file).relative_to(self.root).as_posix()
                if name.startswith(prefix) and not file.startswith("."):
                    found[name] = (Path(folder) / file).stat().st_size
        return dict(sorted(found.items()))

    def exists(self, name: str) -> bool:
        return (self.root / name).is_file()

    def local_path(self, name: str) -> str:
        if not self.exists(name):
            raise FileNotFoundError(f"{self.root / name}: no such file")
        return str(self.root / name)

    def child(self, name: str) -> "FolderStore":
        return FolderStore(self.root / name)

    @contextlib.contextmanager
    def _written(self, name: str, data: bytes) -> Iterator[str]:
        """The data in a temporary file of the same folder, on the disk; gone at the end unless it was renamed."""
        place = self.root / name
        temporary = ""
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            yield temporary
        except OSError as error:
            raise StorageError(error.errno, f"{place}: {error.strerror}; free space or choose another place") from error
        finally:
            if temporary:
                Path(temporary).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        import fcntl

        lock = self.root / f".{name.replace('/', '_')}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with open(lock, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class S3Store:
    """An S3 prefix through s3fs; endpoint, region and credentials come from the usual AWS variables, files or roles.

    Every object is one PutObject (5 GB at most), which S3 makes atomic. An exception inside `with s3fs.open(..., "wb")`
    would commit half an object, so that interface is not used.
    """

    MAX_PUT_BYTES = 5 * 2**30

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        self.bucket, _, self.prefix = self.url.removeprefix("s3://").partition("/")
        if not self.bucket:
            raise ValueError(f"{url}: give s3://bucket/prefix")
        self.fs = s3fs.S3FileSystem(
            endpoint_url=os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"),
            use_listings_cache=False,
            config_kwargs={"retries": {"max_attempts": 6, "mode": "standard"}, "connect_timeout": 5, "read_timeout": 60},
        )

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    def _call(self, method: str, name: str, **arguments):
        """One S3 request. Conditional refusals come back as None, a missing object as FileNotFoundError."""
        try:
            return self.fs.call_s3(method, Bucket=self.bucket, Key=self._key(name), **arguments)
        except FileNotFoundError:
            raise FileNotFoundError(f"{self.url}/{name}: no such object") from None
        except botocore.exceptions.ClientError as error:
            if error.response["Error"]["Code"] in ("PreconditionFailed", "412", "ConditionalRequestConflict"):
                return None
            raise self._failure(name, error) from error
        except (OSError, botocore.exceptions.BotoCoreError) as error:
            raise self._failure(name, error) from error

    def _failure(self, name: str, error: Exception) -> StorageError:
        return StorageError(f"{self.url}/{name}: {error}; check the endpoint, the bucket, its policy and the AWS_ variables")
