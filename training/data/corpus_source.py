"""Clips of a corpus: single files by their manifest, read where they lie, or from local copies of S3 objects."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from infra import corpus_manifest
from infra.corpus_manifest import Corpus
from infra.corpus_schema import content_id
from infra.storage import Store, open_store
from training.data.config import DataConfig
from training.data.crops import Clip
from training.data.quarantine import Rejected
from training.data.windows import Order, file_windows

COLUMNS = ("key", "path", "speaker", "group", "sample_rate_hz", "num_frames")


@dataclass(frozen=True, eq=False)
class CorpusSource:
    """The files of one domain (the manifest's role) of one corpus."""

    id: str
    where: str
    domain: str
    table: pa.Table  # COLUMNS, a row a clip, sorted by key (the manifest's id)
    root: str  # folder or S3 prefix of the files

    @classmethod
    def of_corpus(cls, location: str, config: DataConfig, splits: Sequence[str]) -> list["CorpusSource"]:
        """One source for each role, of the first split that is there. ValueError if none is, or the corpus is not sound."""
        try:
            corpus = corpus_manifest.read(location)
        except FileNotFoundError as error:
            raise ValueError(str(error)) from error
        rows = _of_split(corpus, config, splits)
        domains = sorted(pc.unique(rows["role"]).to_pylist())
        return [cls._of_domain(corpus, rows.filter(pc.equal(rows["role"], domain)), domain) for domain in domains]

    @classmethod
    def _of_domain(cls, corpus: Corpus, rows: pa.Table, domain: str) -> "CorpusSource":
        rows = rows.take(pc.sort_indices(rows["id"]))  # so that the order does not depend on the manifest's
        table = rows.append_column("key", rows["id"]).select(COLUMNS).combine_chunks()
        return cls(content_id(rows)[:12], corpus.location, domain, table, corpus.root)

    @property
    def num_clips(self) -> int:
        return self.table.num_rows

    def windows(self, order: Order) -> list[np.ndarray]:
        return file_windows(self.num_clips, order)

    def fetch(self, clips: np.ndarray) -> dict[int, Clip | Rejected]:
        rows = self.table.take(pa.array(clips)).to_pylist()
        return {clip: self._locate(row) for clip, row in zip(clips.tolist(), rows)}

    def _locate(self, row: dict) -> Clip | Rejected:
        where = f"{self.root}/{row['path']}"
        try:
            path = self._store.local_path(row["path"])
        except FileNotFoundError:
            return Rejected("missing", "the manifest names it", file=where, key=row["key"])
        return Clip(row["key"], path, where, row["sample_rate_hz"], row["num_frames"])

    @functools.cached_property
    def _store(self) -> Store:
        return open_store(self.root)


def _of_split(corpus: Corpus, config: DataConfig, splits: Sequence[str]) -> pa.Table:
    """The rows of the first split that is there, without those of too low a rate; a printed note says how many they are."""
    there = pc.unique(corpus.table["split"]).to_pylist()
    rows = corpus.of_split(next((split for split in splits if split in there), splits[0]))
    kept = rows.filter(pc.greater_equal(rows["sample_rate_hz"], config.min_source_rate_hz))
    if kept.num_rows < rows.num_rows:
        print(f"{corpus.location}: {rows.num_rows - kept.num_rows} files below {config.min_source_rate_hz} Hz are left out")
    return kept
