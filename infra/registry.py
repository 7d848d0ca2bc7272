"""Which model is the champion, and which were before: one small file that is changed by compare-and-swap only.

<registry>/
    champion.json             the last entry of the history, whole; the only file that decides
    history/000001.json ...   every entry that champion.json has had, created once, never changed
    models/<id>/              see infra/model_store.py
    lease.json                who is retraining, see infra/lease.py
    runs/<id>/                what retraining has made, see pipelines/retrain.py

champion.json is replaced first, its history entry is created from its bytes after; nobody replaces it before that entry is
there. So a writer may be killed anywhere, and of many writers at once one wins. Every entry has another number: champion.json
never returns to bytes that it had before, and a tag read once is worth nothing after any change.
"""

import datetime
from dataclasses import dataclass

import msgspec

from infra.command_line import Stopped
from infra.model_store import ModelStore
from infra.shards import encode_json
from infra.storage import Store, open_store

CHAMPION, HISTORY, MODELS, RUNS = "champion.json", "history", "models", "runs"
BOOTSTRAP, PROMOTION, ROLLBACK = "bootstrap", "promotion", "rollback"


class ChampionChanged(Stopped):
    """Another has changed the champion meanwhile; nothing was done."""


class Entry(msgspec.Struct, frozen=True):
    """One change of the champion."""

    kind: str  # bootstrap, promotion or rollback
    model: str  # id of the champion from now on
    previous: str  # and of the one before; "" for the first
    reason: str
    run: str = ""  # that has made and judged the model
    token: int = 0  # of the lease that the run held
    number: int = 0  # 1, 2, ...; given by the registry, as is the time
    at: str = ""


@dataclass(frozen=True)
class Champion:
    """champion.json as it was read."""

    entry: Entry
    data: bytes
    tag: str

    @property
    def model(self) -> str:
        return self.entry.model


class Registry:
    """A registry in a folder or under an s3:// prefix; it is there when its first champion is."""

    def __init__(self, url: str):
        if not url:
            raise ValueError("no registry: give REGISTRY= (--registry) a folder or an s3:// prefix")
        self.store: Store = open_store(url)
        self.models = ModelStore(self.store.child(MODELS))

    @property
    def url(self) -> str:
        return self.store.url

    def champion(self) -> Champion | None:
        """None before the first. ValueError for a damaged file."""
        try:
            data, tag = self.store.get_with_tag(CHAMPION)
        except FileNotFoundError:
            return None
        return Champion(_entry(data, f"{self.url}/{CHAMPION}"), data, tag)

    def settle(self) -> Champion | None:
        """The champion, its history entry created if whoever promoted it was killed in between."""
        champion = self.champion()
        if champion is not None:
            self._record(champion)
        return champion

    def history(self) -> list[Entry]:
        """Every change, the first one first, the champion's among them."""
        champion = self.settle()
        if champion is None:
            return []
        names = [_name(number) for number in range(1, champion.entry.number + 1)]
        missing = sorted(set(names) - set(self.store.list(f"{HISTORY}/")))
        if missing:
            raise ValueError(f"{self.url}/{missing[0]}: it is gone, though nothing deletes it; restore it from a backup")
        return [_entry(self.store.get(name), f"{self.url}/{name}") for name in names]

    def change(self, entry: Entry, was: Champion | None) -> Champion:
        """Make `entry.model` the champion in place of `was`. ChampionChanged if it no longer is; one of many at once wins.

        ValueError unless the model is in the store, whole.
        """
        self.models.check(entry.model)
        if was is not None:
            self._record(was)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        number = was.entry.number + 1 if was else 1
        data = encode_json(msgspec.to_builtins(msgspec.structs.replace(entry, number=number, at=now)))
        done = self.store.replace(CHAMPION, data, was.tag) if was else self.store.create(CHAMPION, data)
        if not done:
            found = self.champion()
            said = f"{found.model}, entry {found.entry.number} ({found.entry.kind})" if found else "gone"
            raise ChampionChanged(f"{self.url}/{CHAMPION}: it was changed by another, it is now {said}; nothing was done")
        self.settle()
        return Champion(_entry(data, CHAMPION), data, "")

    def rollback(self, to: str, reason: str) -> Champion:
        """Make an earlier champion the champion again: `to`, or the one before the current one came. A new entry, too."""
        champion = self.settle()
        if champion is None:
            raise ValueError(f"{self.url}: there is no champion here, and nothing to go back to")
        entries = self.history()
        to = to or _before(entries)
        earlier = {entry.model for entry in entries}
        matches = sorted(model for model in earlier if model.startswith(to)) if to else []
        if len(matches) != 1:
            there = ", ".join(dict.fromkeys(entry.model for entry in entries))
            raise ValueError(f"{self.url}: no one earlier champion {to!r}; there were {there}")
        if matches[0] == champion.model:
            raise ValueError(f"{self.url}: {matches[0]} is the champion already")
        return self.change(Entry(ROLLBACK, matches[0], champion.model, reason), champion)

    def _record(self, champion: Champion) -> None:
        name = _name(champion.entry.number)
        if not self.store.create(name, champion.data) and self.store.get(name) != champion.data:
            raise ValueError(f"{self.url}/{name}: not what {CHAMPION} says of this entry: one of them was edited by hand")


def _before(entries: list[Entry]) -> str:
    """The champion before the current one first came; rolling back twice goes back two. "" for the first."""
    current = entries[-1].model
    return next(entry.previous for entry in entries if entry.model == current)


def _name(number: int) -> str:
    return f"{HISTORY}/{number:06d}.json"


def _entry(data: bytes, where: str) -> Entry:
    try:
        return msgspec.json.decode(data, type=Entry)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{where}: {error}; restore it from the last entry in {HISTORY}/") from error
