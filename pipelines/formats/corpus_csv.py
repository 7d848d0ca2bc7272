"""`corpus-csv`: a manifest.csv in each role's folder, its paths relative to the root; or one such folder alone."""

import json
import os

import pandas as pd

from pipelines.formats.folder import ROLE_FOLDERS
from pipelines.formats.tree import Candidates, Options, Tree, as_json, candidates

PAIRS = "pairs"
CREDITS = ("dataset", "attribution")  # licences ask for them
SPLIT_NAMES = {"train": "train", "valid": "valid", "validation": "valid", "dev": "valid", "val": "valid", "test": "test"}


def corpus_csv(tree: Tree, options: Options) -> Candidates:
    """`<role>/manifest.csv`: id, path, license, sample_rate, duration_s, labels (JSON with "label"), split, group, sha256 ...

    What else the labels hold stays in labels. The folder `pairs` is left out: its noisy files would be taken for clean speech.
    """
    parts, notes = [], []
    for name in tree.names(r"^([^/]+/)?manifest\.csv$"):
        top = name.partition("/")[0] if "/" in name else os.path.basename(tree.store.url.rstrip("/"))
        frame = tree.csv(name, ("id", "path", "license", "sample_rate"))
        if top == PAIRS:
            notes.append(f"{len(frame)} rows of {name} are left out: pairs of noisy and clean files serve evaluation only")
            continue
        if "/" not in name:
            frame["path"] = frame["path"].str.removeprefix(f"{top}/")
        role = options.role or ROLE_FOLDERS.get(top.lower(), "")
        if not role and "role" not in frame:
            raise ValueError(f"{tree.store.url}/{name}: what role? {top!r} is none of {', '.join(ROLE_FOLDERS)}: give --role")
        parts.append(frame if "role" in frame else frame.assign(role=role))
    if not parts:
        raise ValueError(f"{tree.store.url}: no manifest.csv here or one folder down, but for pairs")
    rows = pd.concat(parts, ignore_index=True).fillna("")
    labels = [_labels(text, name) for text, name in zip(rows.get("labels", [""] * len(rows)), rows["path"])]
    credits_ = rows[[name for name in CREDITS if name in rows]].to_dict("records")
    rows = rows.assign(
        label=[str(values.get("label", "")) for values in labels],
        labels=as_json({**values, **more} for values, more in zip(labels, credits_)),
        licence=rows["license"].mask(rows["license"] == "", options.licence),
        split=rows["split"].map(SPLIT_NAMES) if "split" in rows else "",
    )
    stated = {"sample_rate": "stated_rate_hz", "duration_s": "stated_duration_s", "sha256": "stated_sha256"}
    return Candidates(candidates(rows.rename(columns=stated)), notes=notes)


def _labels(text: str, path: str) -> dict:
    try:
        return dict(json.loads(text)) if text else {}
    except (ValueError, TypeError) as error:
        raise ValueError(f"manifest.csv, row of {path}: labels are not a JSON object: {error}; mend them") from error
