"""`lhotse`: recordings.jsonl[.gz] with supervisions.jsonl[.gz], or cuts.jsonl[.gz], so that its many recipes serve."""

import gzip
import json
import os
import re
from collections.abc import Iterator
from typing import Any

import pandas as pd

from pipelines.formats.folder import ROLE_FOLDERS
from pipelines.formats.tree import Candidates, Options, Tree, as_json, candidates

SPLITS = {"train": "train", "dev": "valid", "valid": "valid", "val": "valid", "test": "test", "eval": "test"}
KINDS = r"(^|/|[_.-])(recordings|supervisions|cuts)[^/]*\.jsonl(\.gz)?$"


def lhotse(tree: Tree, options: Options) -> Candidates:
    """A row a recording; its supervisions give speaker, transcript and words (alignment "word").

    Role and split come from the manifests' names (recordings_noise, ..._train-clean-100) or --role; speech otherwise.
    Refused: recordings of several speakers or files, and those with transforms, which exist in lhotse's memory only.
    """
    recordings: dict[str, dict[str, Any]] = {}
    speech: dict[str, list[dict]] = {}
    mixed = 0
    for name in tree.names(KINDS):
        kind = re.search(KINDS, name)[2]
        for number, item in enumerate(_lines(tree, name), 1):
            try:
                if kind == "recordings":
                    recordings[item["id"]] = _row(item, name, options)
                elif kind == "supervisions":
                    speech.setdefault(item["recording_id"], []).append(_supervision(item, 0.0))
                elif "recording" in item:
                    recordings[item["recording"]["id"]] = _row(item["recording"], name, options)
                    parts = (_supervision(part, item["start"]) for part in item.get("supervisions", []))
                    speech.setdefault(item["recording"]["id"], []).extend(parts)
                else:
                    mixed += 1
            except (KeyError, TypeError, IndexError) as error:
                raise ValueError(f"{tree.store.url}/{name}, line {number}: not a lhotse {kind} item: {error!r}") from error
    if not recordings:
        raise ValueError(f"{tree.store.url}: no recordings in its lhotse manifests: put recordings.jsonl.gz beside them")
    for recording, parts in speech.items():
        if recording in recordings:
            _add_speech(recordings[recording], parts)
    rows = pd.DataFrame(list(recordings.values()))
    root, rows["path"] = _root(tree, rows["path"])
    notes = [f"{mixed} mixed or padding cuts are left out: they are no files"] if mixed else []
    return Candidates(candidates(rows), root=root, notes=notes)


def _lines(tree: Tree, name: str) -> Iterator[dict]:
    data = tree.store.get(name)
    try:
        text = gzip.decompress(data) if name.endswith(".gz") else data
        for line in text.splitlines():
            yield json.loads(line)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"{tree.store.url}/{name}: not whole JSON lines: {error}; write it again") from error


def _row(recording: dict[str, Any], manifest: str, options: Options) -> dict[str, Any]:
    words = re.split(r"[^a-z]+", manifest.rpartition("/")[2].lower())
    source = recording["sources"][0]
    refused = ""
    if len(recording["sources"]) > 1 or source["type"] not in ("file", "url"):
        refused = f"{len(recording['sources'])} sources of type {source['type']}: write it as one file"
    elif recording.get("transforms"):
        refused = "it has transforms: write the transformed audio to files"
    return {
        "id": recording["id"],
        "path": "" if refused else source["source"],
        "role": options.role or next((ROLE_FOLDERS[word] for word in words if word in ROLE_FOLDERS), "speech"),
        "split": next((SPLITS[word] for word in words if word in SPLITS), ""),
        "licence": options.licence,
        "stated_rate_hz": recording["sampling_rate"],
        "stated_frames": recording["num_samples"],
        "refused": refused,
    }


def _supervision(item: dict[str, Any], offset_s: float) -> dict[str, Any]:
    """A segment whose start is counted from `offset_s`; lhotse counts alignments from the recording's start always."""
    aligned = (item.get("alignment") or {}).get("word") or []
    words = [[word, start, round(start + length, 4)] for word, start, length, *_ in aligned]
    kept = {name: item.get(name) or "" for name in ("speaker", "text", "gender", "language")}
    return kept | {"start_s": item["start"] + offset_s, "words": words}


def _add_speech(row: dict[str, Any], parts: list[dict[str, Any]]) -> None:
    """What a recording's supervisions say of it, in the order of time."""
    parts.sort(key=lambda part: part["start_s"])
    speakers = sorted({part["speaker"] for part in parts if part["speaker"]})
    words = [word for part in parts for word in part["words"]]
    if len(speakers) > 1:
        row["refused"] = f"{len(speakers)} speakers in one file: write a file each (trim_to_supervisions, save_audios)"
    row["speaker"] = speakers[0] if speakers else ""
    row["text" if row["role"] == "speech" else "caption"] = " ".join(part["text"] for part in parts if part["text"])
    row["words"] = json.dumps(words, ensure_ascii=False) if words else ""
    row["labels"] = as_json([{"gender": parts[0]["gender"].lower(), "lang": parts[0]["language"]}])[0]


def _root(tree: Tree, sources: pd.Series) -> tuple[str, pd.Series]:
    """The folder or prefix that all sources lie below, and their paths below it. lhotse stores paths as its user gave them."""
    named = sources[sources != ""]
    if named.empty:
        return "", sources
    first = named.iloc[0]
    folders = [source.rpartition("/")[0] for source in named]
    if "://" in first:
        scheme = first.partition("://")[0]
        root = f"{scheme}:/" + os.path.commonpath([folder.removeprefix(f"{scheme}:/") for folder in folders])
        return root, sources.str.slice(len(root) + 1)
    if os.path.isabs(first):
        root = os.path.commonpath(folders)
        return root, sources.str.slice(len(root.rstrip("/")) + 1)
    folder = os.path.abspath(tree.store.url)
    while not os.path.exists(os.path.join(folder, first)):
        if folder == os.path.dirname(folder):
            raise ValueError(f"{tree.store.url}: {first} is not below this folder or one above it: give absolute paths")
        folder = os.path.dirname(folder)
    return folder, sources
