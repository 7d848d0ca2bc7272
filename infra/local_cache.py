"""Copies of remote objects on this machine: shared by its processes, whole or absent, the least recently used dropped first.

`QUARKLINE_CACHE` names the folder (~/.cache/quarkline), `QUARKLINE_CACHE_GB` its size (20).
"""

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from infra.storage import StorageError

DEFAULT_GB = 20.0
KEEP_S = 60.0  # what was asked for so recently may be about to be opened: it stays, over the limit if need be
STALE_S = 3600.0  # a temporary this old was left by a killed process


class LocalCache:
    """A folder of copies, each named by the hash of what identifies it (URL, tag, size)."""

    def __init__(self, folder: str | Path | None = None, limit_bytes: int | None = None):
        default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quarkline"
        self.folder = Path(folder or os.environ.get("QUARKLINE_CACHE") or default).absolute()
        self.limit_bytes = _limit_bytes() if limit_bytes is None else limit_bytes
        self._added_bytes = self.limit_bytes  # since the folder was last measured; the first copy measures it

    def path(self, identity: str, name: str, num_bytes: int, fetch: Callable[[], bytes]) -> str:
        """The copy's path; fetched if it is not there, once for all processes. StorageError if the folder cannot take it."""
        place = self.folder / (hashlib.sha256(identity.encode()).hexdigest()[:40] + Path(name).suffix)
        try:
            if not self.touch(str(place), num_bytes):
                with self._locked(place.name[:2]):
                    if not self.touch(str(place), num_bytes):
                        self._add(place, fetch())
        except (StorageError, FileNotFoundError):
            raise  # of fetch
        except OSError as error:
            where = f"{self.folder}: {error.strerror or error}"
            raise StorageError(f"{where}; free space there, or set QUARKLINE_CACHE to another folder") from error
        return str(place)

    def touch(self, path: str, num_bytes: int) -> bool:
        """Mark a copy as just used; False if it is not there, whole."""
        try:
            os.utime(path)
            return os.stat(path).st_size == num_bytes
        except FileNotFoundError:
            return False

    def _add(self, place: Path, data: bytes) -> None:
        self._added_bytes += len(data)
        if self._added_bytes > self.limit_bytes / 20:
            self._drop_oldest(len(data))
        temporary = self.folder / f".new-{os.getpid()}-{place.name}"
        try:
            temporary.write_bytes(data)
            os.replace(temporary, place)
        finally:
            temporary.unlink(missing_ok=True)

    def _drop_oldest(self, needed_bytes: int) -> None:
        """Make room down to nine tenths of the limit, and remove what killed processes left."""
        now, copies = time.time(), []
        for entry in os.scandir(self.folder):
            with contextlib.suppress(FileNotFoundError):  # another process drops too
                status = entry.stat()
                if entry.name.startswith(".new-") and now - status.st_mtime > STALE_S:
                    os.unlink(entry.path)
                elif not entry.name.startswith("."):
                    copies.append((status.st_mtime, status.st_size, entry.path))
        surplus = sum(size for _, size, _ in copies) + needed_bytes - self.limit_bytes
        if surplus > 0:
            surplus += self.limit_bytes // 10
        for used, size, path in sorted(copies):
            if surplus <= 0 or now - used < KEEP_S:
                break
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            surplus -= size
        self._added_bytes = 0

    @contextlib.contextmanager
    def _locked(self, stripe: str) -> Iterator[None]:
        """Alone, among all processes, with the copies whose names start so: each is fetched once."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(self.folder / f".lock-{stripe}", "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _limit_bytes() -> int:
    text = os.environ.get("QUARKLINE_CACHE_GB", str(DEFAULT_GB))
    try:
        limit_bytes = int(float(text) * 1e9)
    except (ValueError, OverflowError):
        limit_bytes = 0
    if limit_bytes <= 0:
        raise ValueError(f"QUARKLINE_CACHE_GB={text}: give a number of GB above 0, such as {DEFAULT_GB:g}")
    return limit_bytes
