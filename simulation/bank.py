"""The corpus as a task sees it: columns, grouped so that a random source costs the same among a hundred or a million.

No object per row: a column is an Arrow or numpy array, which Ray's workers share without a copy. A group is what must
not be split or over-represented: the speaker for speech, the label for events and music, the recording for noise and rirs.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulation.example import Clip

ROLES = ("speech", "event", "music", "noise", "rir")
GROUP_COLUMN = {"speech": "speaker", "event": "label", "music": "label", "noise": "group", "rir": "group"}


@dataclass(frozen=True)
class Members:
    """The rows of one role, sorted by group: group g holds rows[starts[g]:starts[g + 1]]."""

    rows: np.ndarray  # (num_rows,) int64, row numbers of the table
    starts: np.ndarray  # (num_groups + 1,) int64
    names: np.ndarray  # (num_groups,) str

    @property
    def num_groups(self) -> int:
        return len(self.names)

    def of(self, group: int) -> np.ndarray:
        return self.rows[self.starts[group] : self.starts[group + 1]]

    def sizes(self) -> np.ndarray:
        return np.diff(self.starts)


class Bank:
    """Sources of one corpus at one sample rate.

    `table` is the corpus manifest (infra/corpus_manifest.py has the columns), already cut to one split. Sources whose
    file has a lower rate than `min_source_rate_hz` are left out: a 16 kHz voice is no 48 kHz target.
    """

    def __init__(self, table: pa.Table, sample_rate_hz: int, min_source_rate_hz: int = 0):
        self.sample_rate_hz = sample_rate_hz
        self.table = table.combine_chunks()
        enough = pc.greater_equal(self.table["sample_rate_hz"], min_source_rate_hz).to_numpy()
        roles = self.table["role"].to_numpy()
        self.members = {role: _members(self.table, np.flatnonzero((roles == role) & enough), role) for role in ROLES}

    def require(self, role: str, task: str, num_groups: int = 1) -> None:
        """ValueError naming the remedy unless the corpus has enough groups of this role."""
        found = self.members[role].num_groups
        if found < num_groups:
            what = GROUP_COLUMN[role]
            raise ValueError(
                f"{task} needs {role} of at least {num_groups} {what}(s), this split of the corpus has {found} at or above the"
                f" wanted sample rate: add such files to the corpus, choose another --split, or lower --min-source-rate-hz"
            )

    def has(self, role: str) -> bool:
        return self.members[role].num_groups > 0

    def group(self, generator: np.random.Generator, role: str, min_clips: int = 1, exclude: Container[str] = ()) -> int:
        """A group drawn evenly among those with `min_clips` rows whose name is not in `exclude`."""
        members = self.members[role]
        if min_clips <= 1 and not exclude:
            return int(generator.integers(members.num_groups))
        allowed = members.sizes() >= min_clips
        for _ in range(64):  # almost always the first try; no list of a million groups is made
            group = int(generator.integers(members.num_groups))
            if allowed[group] and members.names[group] not in exclude:
                return group
        left = [g for g in np.flatnonzero(allowed) if members.names[g] not in exclude]
        if not left:
            what = f"{GROUP_COLUMN[role]} with at least {min_clips} clip(s)"
            raise ValueError(f"no {role} {what} is left in this split of the corpus: add some, or choose another --split")
        return int(left[int(generator.integers(len(left)))])

    def row(self, generator: np.random.Generator, role: str, group: int, exclude: Container[int] = ()) -> int:
        """A row of the group, drawn evenly among those not in `exclude`."""
        rows = self.members[role].of(group)
        rows = [row for row in rows if row not in exclude] if exclude else rows
        return int(rows[int(generator.integers(len(rows)))])

    def value(self, row: int, column: str):
        """One cell of the manifest as a Python value; "" for a missing text."""
        value = self.table[column][row].as_py()
        return "" if value is None else value

    def clip(self, generator: np.random.Generator, row: int, max_duration_s: float) -> Clip:
        """The file of this row, or a stretch of at most `max_duration_s` at a random start in it."""
        rate, total = self.value(row, "sample_rate_hz"), self.value(row, "num_frames")
        num_frames = min(total, round(max_duration_s * rate))
        start = int(generator.integers(total - num_frames + 1))
        texts = {name: self.value(row, name) for name in ("speaker", "caption", "label")}
        if num_frames == total:  # the transcript holds for the whole utterance only
            texts["text"] = self.value(row, "text")
        return Clip(
            **{name: self.value(row, name) for name in ("id", "path", "role", "licence", "sha256")},
            **texts,
            sample_rate_hz=rate,
            start_frame=start,
            num_frames=num_frames,
        )

    def draw(self, generator: np.random.Generator, role: str, max_duration_s: float, exclude: Sequence[str] = ()) -> Clip:
        """A clip of any group of the role but those named in `exclude`."""
        row = self.row(generator, role, self.group(generator, role, exclude=exclude))
        return self.clip(generator, row, max_duration_s)


def _members(table: pa.Table, rows: np.ndarray, role: str) -> Members:
    names = pc.fill_null(table[GROUP_COLUMN[role]].take(pa.array(rows)), "").to_numpy(zero_copy_only=False)
    if role in ("noise", "rir"):  # without a recording named, each file is its own
        ids = table["id"].take(pa.array(rows)).to_numpy(zero_copy_only=False)
        names = np.where(names == "", ids, names)
    unique, codes = np.unique(names.astype(str), return_inverse=True) if len(rows) else (np.array([], str), np.array([], int))
    order = np.argsort(codes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=len(unique)))]).astype(np.int64)
    return Members(rows[order], starts, unique)
