"""A data set's files as columns, and the candidate rows that a format makes of them. Nothing here decodes audio."""

import io
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from infra.storage import Store

AUDIO = r"(?i)\.(?:wav|flac|ogg|opus|mp3)$"
OTHER_AUDIO = r"(?i)\.(?:m4a|mp4|aac|wma|aiff?|aifc|au|snd|sph|caf|w64|amr|webm|mkv)$"
TEXTS = (
    *("id", "path", "role", "speaker", "group", "label", "text", "caption", "labels", "words", "licence"),
    "split",  # "" is drawn
    "stated_sha256",  # "" is not stated
    "refused",  # why the file cannot serve; "" if it may
)
NUMBERS = {"stated_rate_hz": "int64", "stated_frames": "int64", "stated_duration_s": "float64"}  # 0: not stated
READERS = 8  # small files read at a time; on S3 each is a round trip


@dataclass(frozen=True)
class Options:
    """What a person may say of a data set whose layout does not."""

    role: str = ""
    """speech, event, music, noise or rir, for files whose place does not tell."""
    licence: str = ""
    """Of all files whose data set does not tell it file by file."""
    valid_fold: int = 4
    """ESC-50: the fold that is the valid split."""
    test_fold: int = 5
    """ESC-50: the fold that is the test split."""


@dataclass(frozen=True)
class Candidates:
    """Rows to check, all columns of TEXTS and NUMBERS; where the paths start, if not at the root; what a person should know."""

    rows: pd.DataFrame
    root: str = ""
    notes: list[str] = field(default_factory=list)


class Tree:
    """The files below a root: listed once, matched by regular expressions (RE2, named groups)."""

    def __init__(self, store: Store):
        self.store = store
        self.sizes = store.list()
        try:
            self.files = pa.array(self.sizes, pa.string())
        except UnicodeEncodeError as error:
            raise ValueError(f"{store.url}: a file's name is not valid Unicode: {error.object!r}; rename it") from error

    def match(self, pattern: str) -> pd.DataFrame:
        """A row a file that the pattern is found in: `path` and the pattern's named groups, texts."""
        parts = pc.extract_regex(self.files, pattern=f"(?P<whole>{pattern})")
        found = pc.is_valid(parts)
        frame = pd.DataFrame({"path": self.files.filter(found).to_pandas()})
        parts = parts.filter(found)
        for name in (parts.type.field(index).name for index in range(1, parts.type.num_fields)):
            frame[name] = pd.Series(parts.field(name).to_pandas(), dtype="str")
        return frame.astype("str")

    def names(self, pattern: str) -> list[str]:
        """Names of the files that the pattern is found in, sorted; for the few that hold metadata."""
        return self.files.filter(pc.match_substring_regex(self.files, pattern)).to_pylist()

    def has(self, pattern: str) -> bool:
        return bool(pc.any(pc.match_substring_regex(self.files, pattern)).as_py())

    def text(self, name: str) -> str:
        """A small file's text; UTF-8, or Latin-1 where it is not."""
        data = self.store.get(name)
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            return data.decode("latin-1")

    def texts(self, names: Iterable[str]) -> pd.Series:
        """Texts of many small files, stripped, by name."""
        names = list(names)
        with ThreadPoolExecutor(READERS) as pool:
            return pd.Series([text.strip() for text in pool.map(self.text, names)], index=names, dtype="str")

    def csv(self, name: str, columns: Iterable[str] = (), **options) -> pd.DataFrame:
        """A CSV file, all texts. ValueError if it cannot be read or lacks one of `columns`."""
        where = f"{self.store.url}/{name}"
        try:
            frame = pd.read_csv(io.StringIO(self.text(name)), dtype="str", na_filter=False, **options)
        except ValueError as error:
            raise ValueError(f"{where}: not a CSV file: {error}") from error
        missing = [column for column in columns if column not in frame]
        if missing:
            raise ValueError(f"{where}: no column {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}")
        return frame

    def json(self, name: str) -> dict:
        """A JSON object. ValueError if it is not one."""
        try:
            return dict(json.loads(self.text(name)))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{self.store.url}/{name}: not a JSON object: {error}") from error


def candidates(frame: pd.DataFrame, **constants: str) -> pd.DataFrame:
    """All columns of a candidate row, from those that a format knows; others are left out.

    Without an id the path's stem is taken, or the path where two files share the stem. Without a group it is the
    speaker, or else the file itself.
    """
    known = {name: frame[name] for name in [*TEXTS, *NUMBERS] if name in frame} | constants
    rows = pd.DataFrame(known, index=frame.index).reset_index(drop=True)
    for name in TEXTS:
        rows[name] = rows[name].fillna("").astype("str") if name in rows else pd.Series("", index=rows.index, dtype="str")
    for name, kind in NUMBERS.items():
        rows[name] = pd.to_numeric(rows[name]).fillna(0).astype(kind) if name in rows else pd.Series(0, rows.index, kind)
    stem = rows["path"].str.replace(r"\.[^./]*$", "", regex=True)
    rows["id"] = rows["id"].mask(rows["id"] == "", stem.mask(stem.duplicated(keep=False), rows["path"]))
    rows["group"] = rows["group"].mask(rows["group"] == "", rows["speaker"])
    rows["group"] = rows["group"].mask(rows["group"] == "", rows["id"])
    return rows[[*TEXTS, *NUMBERS]]


def phrase(labels: pd.Series) -> pd.Series:
    """Class names as words: "Dog_bark-02" -> "dog bark 02"."""
    return labels.str.replace(r"[_\s-]+", " ", regex=True).str.strip().str.lower()


def as_json(rows: Iterable[dict]) -> list[str]:
    """A JSON object a row, without the values that are empty texts; "" for a row without any."""
    known = ({name: value for name, value in row.items() if value != ""} for row in rows)
    return [json.dumps(row, ensure_ascii=False) if row else "" for row in known]


def records(**columns: Iterable) -> list[dict]:
    """Columns of equal length as rows."""
    return [dict(zip(columns, values)) for values in zip(*columns.values())]
