"""One run at a time: whoever creates the lease on a store, or takes it over, by a conditional put, holds it.

No clock of another machine is believed. The holder renews the lease three times in its time to live. Whoever else wants it
watches it for a whole time to live by a clock of its own, and takes it over only if nothing has changed meanwhile: clocks
that differ by hours do no harm, and a holder that lives is left alone. `expires_at` is for people.

A lease saves work, it protects nothing: a process that was paused for an hour still believes that it holds one. What it
guards must be changed by compare-and-swap, after `check`. The token grows with each holder and names it in what it leaves.
"""

import contextlib
import datetime
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from infra.command_line import Stopped
from infra.shards import encode_json
from infra.storage import StorageError, Store

logger = logging.getLogger(__name__)

LEASE = "lease.json"
BEATS = 3  # renewals in a time to live
LOOKS = 20  # of who waits, in a time to live


class LeaseLost(Stopped):
    """Another has taken the lease over; what is committed stays."""


@dataclass(frozen=True)
class LeaseConfig:
    """How a run keeps others from doing the same work at once."""

    ttl_s: float = 120.0
    """A holder that has not renewed its lease for so long is taken for dead."""
    wait: bool = False
    """Wait until another run has ended, instead of ending at once."""

    def __post_init__(self) -> None:
        if not self.ttl_s > 0:
            raise ValueError(f"--lease.ttl-s is {self.ttl_s}: give more than 0")


class Holding(msgspec.Struct, frozen=True):
    """What lease.json says. No holder: it was given back."""

    holder: str
    token: int
    ttl_s: float
    renewals: int = 0
    expires_at: str = ""


class Lease:
    """A lease that is held. `token` is larger than that of every earlier holder."""

    def __init__(self, store: Store, held: Holding):
        self.store, self.holder, self.token, self.ttl_s = store, held.holder, held.token, held.ttl_s
        self._lost = threading.Event()
        self._ended = threading.Event()

    def check(self) -> None:
        """LeaseLost if another holds it now, or has."""
        if self._lost.is_set() or not self._is_mine(_read(self.store)):
            self._lost.set()
            raise LeaseLost(f"{self.store.url}/{LEASE}: another run has taken the lease over; rerun to see how things stand")

    def renew(self) -> bool:
        """Say that the holder lives; False if another has taken the lease."""
        held = _read(self.store)
        if not self._is_mine(held):
            return False
        return self.store.replace(LEASE, _bytes(_renewed(held[0])), held[1])

    def release(self) -> None:
        """Give it back, if it is still held; the next holder need not wait."""
        held = _read(self.store)
        if self._is_mine(held):
            self.store.replace(LEASE, _bytes(msgspec.structs.replace(held[0], holder="", expires_at="")), held[1])

    @contextlib.contextmanager
    def kept(self, on_lost: Callable[[], None] = lambda: None) -> Iterator["Lease"]:
        """Renewed by a thread while inside, given back at the end. `on_lost` is called by that thread."""
        thread = threading.Thread(target=self._beat, args=(on_lost,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()
            with contextlib.suppress(StorageError):  # it then ends by itself
                self.release()

    def _beat(self, on_lost: Callable[[], None]) -> None:
        while not self._ended.wait(self.ttl_s / BEATS):
            try:
                if self.renew():
                    continue
            except StorageError as error:  # others cannot take what they cannot reach; a replacement tells
                logger.warning("the lease is not renewed: %s", error)
                continue
            logger.warning("%s/%s: another run has taken the lease over", self.store.url, LEASE)
            self._lost.set()
            on_lost()
            return

    def _is_mine(self, held: tuple[Holding, str] | None) -> bool:
        return held is not None and (held[0].holder, held[0].token) == (self.holder, self.token)


def acquire(store: Store, config: LeaseConfig) -> Lease | None:
    """The lease; None if another run that lives holds it and `config.wait` is off. ValueError for a damaged lease.

    Takes at once what was never held or was given back, after the holder's time to live what a dead holder has left.
    """
    me = f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex[:12]}"
    seen, since_s = "", time.monotonic()
    while True:
        found = _read(store)
        if found is None:
            mine = _renewed(Holding(me, 1, config.ttl_s))
            if store.create(LEASE, _bytes(mine)):
                return Lease(store, mine)
            continue
        held, tag = found
        is_dead = tag == seen and time.monotonic() - since_s > held.ttl_s
        if not held.holder or is_dead:
            mine = _renewed(Holding(me, held.token + 1, config.ttl_s))
            if store.replace(LEASE, _bytes(mine), tag):
                return Lease(store, mine)
        elif tag != seen:
            if seen and not config.wait:
                return None
            if not seen:
                print(f"{store.url}/{LEASE}: held by {held.holder}; looking whether it lives, {held.ttl_s:g} s at most")
            seen, since_s = tag, time.monotonic()
        time.sleep(min(held.ttl_s / LOOKS, 5.0))


def holder(store: Store) -> str:
    """Who holds the lease, alive or not; "" for nobody. ValueError for a damaged lease."""
    found = _read(store)
    return found[0].holder if found else ""


def _read(store: Store) -> tuple[Holding, str] | None:
    """The lease and its tag; None if there is none."""
    try:
        data, tag = store.get_with_tag(LEASE)
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(data, type=Holding), tag
    except msgspec.MsgspecError as error:
        raise ValueError(f"{store.url}/{LEASE}: {error}; delete it when no run is going on") from error


def _renewed(held: Holding) -> Holding:
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=held.ttl_s)
    return msgspec.structs.replace(held, renewals=held.renewals + 1, expires_at=end.isoformat(timespec="seconds"))


def _bytes(held: Holding) -> bytes:
    return encode_json(msgspec.to_builtins(held))
