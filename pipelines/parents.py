"""Where things lie, by their ids: datasets, corpora and training runs below some places, folders or s3:// prefixes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from infra import corpus_manifest
from infra.corpus_manifest import Corpus
from infra.dataset import DESCRIPTION, Dataset, open_dataset
from infra.storage import Store, open_store
from pipelines.train_run import FINISHED


@dataclass(frozen=True)
class Library:
    """What is at these places. Each is listed once, when something is looked for that is not where it was said to be."""

    places: tuple[str, ...]

    def dataset(self, wanted: str, place: str = "") -> Dataset | None:
        """By its id; None if it is neither at `place` nor below the places."""
        for store in (*_given(place), *self._stores(self._datasets, wanted)):
            if store.exists(DESCRIPTION):
                found = open_dataset(store)
                if found.description["id"] == wanted:
                    return found
        return None

    def corpus(self, wanted: str, place: str = "") -> Corpus | None:
        """By its id; None likewise."""
        candidates = [place] if place else []
        candidates += [store.url for store in self._stores(self._corpora, wanted)]
        for location in candidates:
            try:
                found = corpus_manifest.read(location)
            except FileNotFoundError:
                continue
            if found.id == wanted:
                return found
        return None

    def run(self, model: str) -> dict[str, Any] | None:
        """What the training run of a model says of itself: its place and parents."""
        store = next(iter(self._stores(self._runs, model)), None)
        return {"place": store.url, **_json(store, FINISHED)} if store else None

    @cached_property
    def _names(self) -> list[tuple[Store, list[str]]]:
        stores = [open_store(place) for place in self.places]
        return [(store, list(store.list())) for store in stores]

    @cached_property
    def _datasets(self) -> list[tuple[str, Store]]:
        return [(_json(store, DESCRIPTION).get("id", ""), store) for store in self._with(DESCRIPTION)]

    @cached_property
    def _corpora(self) -> list[tuple[str, Store]]:
        return [(_json(store, corpus_manifest.DESCRIPTION).get("id", ""), store) for store in self._with("corpus.json")]

    @cached_property
    def _runs(self) -> list[tuple[str, Store]]:
        return [(_json(store, FINISHED).get("model", ""), store) for store in self._with(FINISHED)]

    def _with(self, file: str) -> Iterator[Store]:
        """Every folder that has the file."""
        for store, names in self._names:
            for name in names:
                folder, _, last = name.rpartition("/")
                if last == file:
                    yield store.child(folder) if folder else store

    def _stores(self, index: list[tuple[str, Store]], wanted: str) -> list[Store]:
        return [store for found, store in index if found == wanted]


def _given(place: str) -> tuple[Store, ...]:
    return (open_store(place),) if place else ()


def _json(store: Store, name: str) -> dict[str, Any]:
    """{} for what is no JSON object: it may be another program's."""
    try:
        found = json.loads(store.get(name))
    except (ValueError, RecursionError, FileNotFoundError):
        return {}
    return found if isinstance(found, dict) else {}
