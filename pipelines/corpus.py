"""Build a corpus from a data set, every file checked once: `python -m pipelines.corpus build --root ../LibriSpeech`."""

import hashlib
import os
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import tyro

from infra import corpus_manifest
from infra.command_line import TooManyRejects, run
from infra.corpus_manifest import QUARANTINE, Corpus
from infra.corpus_schema import ROLES, SCHEMA, nearest, validate
from infra.storage import Store, open_store
from pipelines.check_audio import STATED, check_all
from pipelines.formats.registry import detect, named
from pipelines.formats.splits import Shares, settle, units
from pipelines.formats.tree import AUDIO, Candidates, Options, Tree

HOME = "data/corpora"
UNKNOWN = "unknown"  # licence
BYTES_IN_PROCESS = 256 * 2**20  # 5 s; Ray takes as long to start
QUARANTINE_COLUMNS = ["id", "path", "reason", "detail"]


@dataclass(frozen=True)
class Build:
    """Check every file of a data set once; write its manifest, and what could not serve to quarantine.csv."""

    root: str
    """Folder or s3://bucket/prefix of the data set; it is only read."""
    format: str = ""
    """folder, librispeech, vctk, esc50, fsd50k, audiocaps, clotho, musdb18, dns, wham, slr28, corpus-csv or lhotse;
    found out if not given."""
    out: str = ""
    """Folder or s3:// prefix for the manifest; data/corpora/<name>-<hash of root> if not given."""
    name: str = ""
    """The folder's name if not given."""
    layout: tyro.conf.OmitArgPrefixes[Options] = field(default_factory=Options)
    shares: Shares = field(default_factory=Shares)
    max_reject_share: float = 0.05
    """Stop with exit code 3 if more than this share of the files cannot serve."""
    workers: int | None = None
    """CPUs of this machine to use; 0 checks in this process, without Ray. If not given, all, or 0 below 256 MB."""

    def __post_init__(self) -> None:
        if not self.root:
            raise ValueError("no root: give --root the folder or s3:// prefix of the data set")
        if not 0 <= self.max_reject_share <= 1:
            raise ValueError(f"--max-reject-share is {self.max_reject_share}: give a number from 0 to 1")
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"--workers is {self.workers}: give 0 or more")
        if self.layout.role and self.layout.role not in ROLES:
            raise ValueError(f"--role {self.layout.role!r}: {nearest(self.layout.role, ROLES)}")
        if self.format:
            named(self.format)

    def place(self) -> str:
        """Where the manifest goes."""
        digest = hashlib.sha256(_absolute(self.root).encode()).hexdigest()[:8]
        return self.out or f"{HOME}/{self.title()}-{digest}"

    def title(self) -> str:
        return self.name or os.path.basename(_absolute(self.root)) or "corpus"


@dataclass(frozen=True)
class Show:
    """Print what a corpus holds: files and hours by role, split and licence."""

    corpus: tyro.conf.Positional[str]
    """A manifest, or a folder or s3:// prefix with one."""


def resolve(location: str, name: str = "") -> Corpus:
    """The corpus that CORPUS= names: a manifest or a folder with one is read, any other folder is built under data/corpora.

    What was built is used again while names and sizes of the files are the same. Without a name it is the starter corpus.
    ValueError for what a person can mend, TooManyRejects among it; OSError.
    """
    if not location:
        from pipelines import starter  # here, because its synthesis takes a while to import

        print("no corpus named: the synthetic starter corpus is used, good for a first look")
        return starter.build(starter.Options())
    if location.endswith((".parquet", ".csv")) or corpus_manifest.has_manifest(open_store(location)):
        return corpus_manifest.read(location)
    if open_store(location).exists(corpus_manifest.DESCRIPTION):
        raise ValueError(f"{location}: begun and not finished, there is no {corpus_manifest.MANIFEST}; rerun what makes it")
    config = Build(root=location, name=name)
    tree = _tree(location)
    place = open_store(config.place())
    if corpus_manifest.has_manifest(place) and _source(place) == fingerprint(tree):
        print(f"corpus {location}: built before, see {config.place()}")
        return corpus_manifest.read(config.place())
    return build(config, tree)


def build(config: Build, tree: Tree | None = None) -> Corpus:
    """Read the layout, check the files, write the manifest. ValueError for what a person can mend, TooManyRejects."""
    tree = tree or _tree(config.root)
    layout = config.format or detect(tree)
    found = named(layout).read(tree, config.layout)
    root = found.root or _absolute(config.root)
    print(f"{config.root}: {layout}, {len(found.rows)} files to check")
    _check_rows(found, f"{config.root} as {layout}")
    checked = check(found.rows, root, config.workers if config.workers is not None else _workers(found, tree))
    good, rejects = divide(checked)
    place = open_store(config.place())
    place.put(QUARANTINE, rejects[QUARANTINE_COLUMNS].to_csv(index=False).encode())
    reasons = rejects["reason"].value_counts().sort_index().to_dict()
    _hold_to_limit(config, len(found.rows), reasons)
    good["split"], torn = settle(good["split"], units(good["group"], good["speaker"]), config.shares)
    unlicensed = int((good["licence"] == "").sum())
    good["licence"] = good["licence"].mask(good["licence"] == "", UNKNOWN)
    notes = [*found.notes, *_notes(tree, found, torn, unlicensed)]
    about = {
        "format": layout,
        "options": {"layout": msgspec.to_builtins(config.layout), "shares": msgspec.to_builtins(config.shares)},
        "files_checked": len(found.rows),
        "rejects": reasons,
        "notes": notes,
        "source": {"url": _absolute(config.root), "fingerprint": fingerprint(tree)},
    }
    table = pa.Table.from_pandas(good[SCHEMA.names], schema=SCHEMA, preserve_index=False)
    corpus = corpus_manifest.write(table, config.place(), root=root, name=config.title(), about=about)
    _report(corpus, config.place(), reasons, notes)
    return corpus


def check(rows: pd.DataFrame, root: str, workers: int | None) -> pd.DataFrame:
    """The candidate rows with the columns that the check found; those that the layout refuses are not opened."""
    open_rows = rows["refused"] == ""
    stated = pa.Table.from_pandas(rows.loc[open_rows, STATED.names], schema=STATED, preserve_index=False)
    found = check_all(root, stated, workers).to_pandas().set_index(rows.index[open_rows]).reindex(rows.index)
    found["reason"] = found["reason"].mask(~open_rows, "unsupported")
    found["detail"] = found["detail"].mask(~open_rows, rows["refused"])
    return rows.join(found)


def divide(checked: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows that may serve and those that may not; of files with the same bytes the first id may."""
    first = checked[checked["reason"] == ""].sort_values("id").drop_duplicates("sha256").set_index("sha256")["id"]
    twin = checked["sha256"].map(first).astype("str")
    doubled = (checked["reason"] == "") & (twin != checked["id"])
    checked = checked.assign(
        reason=checked["reason"].mask(doubled, "duplicate"), detail=checked["detail"].mask(doubled, "same bytes as " + twin)
    )
    sound = checked["reason"] == ""
    numbers = {"sample_rate_hz": "int32", "num_frames": "int64", "num_channels": "int32"}
    return checked[sound].astype(numbers).reset_index(drop=True), checked[~sound]


def fingerprint(tree: Tree) -> str:
    """sha256 over names and sizes of all files below the root."""
    digest = hashlib.sha256()
    for name, size in tree.sizes.items():
        digest.update(f"{name}\0{size}\n".encode())
    return digest.hexdigest()


def _workers(found: Candidates, tree: Tree) -> int | None:
    """0 if the files are checked before Ray would be up, else None: all. Files outside the tree have no known size."""
    num_bytes = found.rows["path"].map(tree.sizes).sum()
    return 0 if num_bytes < BYTES_IN_PROCESS and not found.root else None


def _tree(root: str) -> Tree:
    store = open_store(_absolute(root))
    if "://" not in root and not os.path.isdir(root):
        raise ValueError(f"{root}: no such folder")
    return Tree(store)


def _absolute(root: str) -> str:
    return root.rstrip("/") if "://" in root else os.path.abspath(root)


def _source(place: Store) -> str:
    return corpus_manifest.description(place).get("source", {}).get("fingerprint", "")


def _check_rows(found: Candidates, where: str) -> None:
    """ValueError, before any file is opened, for what would make the manifest unsound: ids, paths, roles, splits, JSON."""
    rows = found.rows[found.rows["refused"] == ""]
    if len(rows):
        rows = rows.assign(sample_rate_hz=1, num_frames=1, sha256="0" * 64, group="", speaker="")  # not known yet
        rows["split"] = rows["split"].mask(rows["split"] == "", "train")
        validate(pa.Table.from_pandas(rows[list(set(rows) & set(SCHEMA.names))], preserve_index=False), where)


def _hold_to_limit(config: Build, num_files: int, reasons: dict[str, int]) -> None:
    rejected = sum(reasons.values())
    if num_files == rejected or rejected > config.max_reject_share * num_files:
        counts = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
        raise TooManyRejects(
            f"{config.root}: {rejected} of {num_files} files cannot serve ({counts}), more than --max-reject-share"
            f" {config.max_reject_share}. {config.place()}/{QUARANTINE} names each: mend them, or raise the limit"
        )


def _notes(tree: Tree, found: Candidates, torn: int, unlicensed: int) -> list[str]:
    """What a person should know of the files that are in no row, of splits and of licences."""
    notes = []
    audio = tree.files.filter(pc.match_substring_regex(tree.files, AUDIO))
    listed = pc.is_in(audio, value_set=pa.array(found.rows["path"], pa.string()))
    unlisted = audio.filter(pc.invert(listed))
    if len(unlisted) and not found.root:
        notes.append(f"{len(unlisted)} audio files below the root are in no row, {unlisted[0]} for one")
    if torn:
        notes.append(f"{torn} groups are in several official splits; all their files went to the most held-out one")
    if unlicensed:
        notes.append(f"warning: {unlicensed} files have no known licence; --licence names it")
    return notes


def _report(corpus: Corpus, place: str, reasons: dict[str, int], notes: list[str]) -> None:
    show(corpus)
    for reason, count in reasons.items():
        print(f"  rejected: {count} {reason}, see {place}/{QUARANTINE}")
    for note in notes:
        print(f"  {note}")
    print(f"  where: {place}  (files below {corpus.root})")


def show(corpus: Corpus) -> None:
    """Print files, hours and groups by role and split, then by licence."""
    frame = corpus.table.select(["role", "split", "group", "speaker", "licence", "sample_rate_hz"]).to_pandas()
    frame["hours"] = corpus.table["num_frames"].to_numpy() / corpus.table["sample_rate_hz"].to_numpy() / 3600
    frame["speaker"] = frame["speaker"].where(frame["speaker"] != "")
    counted: dict[str, Any] = {"files": ("hours", "size"), "hours": ("hours", "sum"), "groups": ("group", "nunique")}
    more = {"speakers": ("speaker", "nunique"), "from_hz": ("sample_rate_hz", "min"), "to_hz": ("sample_rate_hz", "max")}
    print(f"\n{corpus.name}: {len(frame)} files, {frame['hours'].sum():.2f} hours, id {corpus.id[:12]}\n")
    for columns, figures in ((["role", "split"], counted | more), (["licence"], counted)):
        print(frame.groupby(columns).agg(**figures).round({"hours": 3}).reset_index().to_string(index=False), "\n")


def main(argv: list[str]) -> int:
    verb, options = (argv[0], argv[1:]) if argv else ("", [])
    if verb in ("-h", "--help"):
        print("usage: pipelines.corpus build --root FOLDER [--option value ...] | show CORPUS\n")
        print("`build --help` lists the options.")
    elif verb == "show":
        show(corpus_manifest.read(tyro.cli(Show, args=options, prog="pipelines.corpus show").corpus))
    elif verb == "build":
        build(tyro.cli(Build, args=options, prog="pipelines.corpus build"))
    else:
        raise ValueError(f"no verb {verb!r}: {nearest(verb, ('build', 'show'))}")
    return 0


if __name__ == "__main__":
    run(main)
