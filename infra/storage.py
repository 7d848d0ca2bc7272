"""One small interface to a folder or an S3 prefix: whole objects in and out, atomic puts, and the two conditional puts.

Everything that is committed goes through here in one put: a reader sees the old object, the new one or none, never half.
"""

import contextlib
import errno
import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Protocol


class StorageError(OSError):
    """A store that cannot be reached, or refuses: names the URL and the remedy."""


class Store(Protocol):
    """Objects under one root. Names are relative to it, with forward slashes; ValueError for one that leaves it.

    Any method may raise StorageError.
    """

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
        """Store the object only if it is still the one that `tag` was read with; False if it has changed or gone.

        Of many that replace at once one gets True. Names that are replaced should not be `put` as well: a folder decides
        between replacers only.
        """

    def delete(self, name: str) -> None:
        """Remove the object; nothing happens if there is none."""

    def list(self, prefix: str = "") -> dict[str, int]:
        """Names that start with `prefix`, sorted, with their sizes in bytes; none if there is nothing."""

    def exists(self, name: str) -> bool: ...

    def local_path(self, name: str) -> str:
        """A path on this machine with the object's bytes: itself in a folder, a cached copy from S3. FileNotFoundError."""

    def child(self, name: str) -> "Store":
        """The store rooted one name further down."""


def open_store(url: str) -> Store:
    """The store of `s3://bucket/prefix` or of a local folder, which its first put creates. ValueError for other schemes."""
    if url.startswith("s3://"):
        from infra.s3_store import S3Store  # here, because s3fs takes a second to import

        return S3Store(url)
    if "://" in url and not url.startswith("file://"):
        raise ValueError(f"{url}: give a folder or an s3:// prefix")
    if not url.removeprefix("file://"):
        raise ValueError("an empty place: give a folder or an s3:// prefix")
    return FolderStore(url.removeprefix("file://"))


def check_name(name: str, written: bool = False) -> None:
    """ValueError for a name that leaves the store or cannot be an S3 key, and to be `written` also for a hidden one.

    Spaces and letters of any alphabet are allowed: corpora have them.
    """
    parts = name.split("/")
    if not name or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{name!r}: names are relative, with forward slashes, and stay below their place")
    if any(letter < " " or letter == "\x7f" or "\ud800" <= letter <= "\udfff" for letter in name):
        raise ValueError(f"{name!r}: control characters and what is not valid Unicode are not allowed in names")
    if written and any(part.startswith(".") for part in parts):
        raise ValueError(f"{name!r}: names that start with a dot are hidden from lists; choose another")


class FolderStore:
    """A folder. An object is written beside its place under a hidden name, flushed to the disk, then renamed.

    What a killed process leaves under a hidden name is never listed; the next process that writes into the same folder
    removes it once it is STALE_S old.
    """

    STALE_S = 3600.0
    TEMPORARY = ".new-"

    _swept: ClassVar[set[str]] = set()  # folders that this process has cleared of stale temporaries

    def __init__(self, path: str | Path):
        self.root = Path(path).absolute()  # stays the same place when the working folder changes
        self.url = str(path)

    def get(self, name: str) -> bytes:
        with self._reading(name) as place:
            return place.read_bytes()

    def get_with_tag(self, name: str) -> tuple[bytes, str]:
        data = self.get(name)
        return data, hashlib.sha256(data).hexdigest()

    def put(self, name: str, data: bytes) -> None:
        with self._written(name, data) as (temporary, place):
            os.replace(temporary, place)

    def create(self, name: str, data: bytes) -> bool:
        with self._written(name, data) as (temporary, place):
            try:
                os.link(temporary, place)  # unlike rename, fails if the name is taken
            except FileExistsError:
                return False
        return True

    def replace(self, name: str, data: bytes, tag: str) -> bool:
        check_name(name, written=True)
        with self._locked(self.root / name):
            try:
                if self.get_with_tag(name)[1] != tag:
                    return False
            except FileNotFoundError:
                return False
            self.put(name, data)
        return True

    def delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError), self._reading(name) as place:
            place.unlink()

    def list(self, prefix: str = "") -> dict[str, int]:
        folder = prefix.rpartition("/")[0]
        if folder:
            check_name(folder)
        found = {}
        for name, entry in _files(self.root / folder, f"{folder}/" if folder else ""):
            if name.startswith(prefix):
                with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                    found[name] = entry.stat().st_size
        return dict(sorted(found.items()))

    def exists(self, name: str) -> bool:
        check_name(name)
        return (self.root / name).is_file()

    def local_path(self, name: str) -> str:
        if not self.exists(name):
            raise FileNotFoundError(f"{self.root / name}: no such file")
        return str(self.root / name)

    def child(self, name: str) -> "FolderStore":
        check_name(name)
        return FolderStore(Path(self.url) / name)

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[Path]:
        """The place of an object, errors named. A folder of that name is no object."""
        check_name(name)
        place = self.root / name
        try:
            yield place
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise FileNotFoundError(f"{place}: no such file") from None
        except OSError as error:
            raise _failure(place, error) from error

    @contextlib.contextmanager
    def _written(self, name: str, data: bytes) -> Iterator[tuple[Path, Path]]:
        """The data in a temporary file beside its place, and the place; the folder is flushed after, the temporary gone."""
        check_name(name, written=True)
        place = self.root / name
        temporary = place.parent / f"{self.TEMPORARY}{uuid.uuid4().hex}"
        try:
            _make_folder(place.parent)
            self._sweep(place.parent)
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield temporary, place
            _flush_folder(place.parent)
        except OSError as error:
            raise _failure(place, error) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()

    def _sweep(self, folder: Path) -> None:
        """Remove what killed processes left in the folder, once a process."""
        if str(folder) in self._swept:
            return
        self._swept.add(str(folder))
        for entry in os.scandir(folder):
            if entry.name.startswith(self.TEMPORARY):
                with contextlib.suppress(OSError):  # another process was quicker
                    if time.time() - entry.stat().st_mtime > self.STALE_S:
                        os.unlink(entry.path)

    @contextlib.contextmanager
    def _locked(self, place: Path) -> Iterator[None]:
        """Alone among those that replace in this folder, on this machine and over NFS."""
        import fcntl

        if not place.parent.is_dir():
            yield
            return
        try:
            handle = os.open(place.parent / ".lock", os.O_WRONLY | os.O_CREAT, 0o666)
        except OSError as error:
            raise _failure(place, error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


_REMEDIES = {
    errno.ENOSPC: "free some space or choose another place",
    errno.EDQUOT: "the quota is used up: free some space or choose another place",
    errno.EACCES: "choose a place that you may use, or change its permissions",
    errno.EPERM: "choose a place that you may use, or change its permissions",
    errno.EROFS: "choose a place that can be written",
    errno.EEXIST: "a file is in the way of a folder: move it or choose another place",
    errno.ENOTDIR: "a file is in the way of a folder: move it or choose another place",
    errno.EISDIR: "a folder has this name: move it or choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def _failure(place: Path, error: OSError) -> StorageError:
    if isinstance(error, StorageError):
        return error
    remedy = _REMEDIES.get(error.errno or 0, "check the disk or choose another place")
    return StorageError(error.errno, f"{place}: {error.strerror or error}; {remedy}")


def _files(folder: Path | str, below: str) -> Iterator[tuple[str, os.DirEntry]]:
    """All files below the folder, hidden files and folders apart, and their names, which start with `below`."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if not entry.is_dir():
                    yield below + entry.name, entry
                elif not entry.is_symlink():
                    yield from _files(entry.path, f"{below}{entry.name}/")
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise _failure(Path(folder), error) from error  # what cannot be listed must not look empty


def _make_folder(folder: Path) -> None:
    """Make the folder and its parents, each name flushed to the disk."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _flush_folder(folder.parent)


def _flush_folder(folder: Path) -> None:
    """Put the folder's names on the disk, so that a commit outlives a power cut in the order it was made."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that cannot flush a folder
            raise
    finally:
        os.close(handle)
