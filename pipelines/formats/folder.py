"""`folder`: any tree of audio files. The first folder names the role; transcripts, captions and more lie beside the files."""

import json
import os

import pandas as pd

from pipelines.formats.tree import AUDIO, OTHER_AUDIO, TEXTS, Candidates, Options, Tree, candidates, phrase

ROLE_FOLDERS = {
    **dict.fromkeys(("speech", "voice", "voices"), "speech"),
    **dict.fromkeys(("event", "events", "sound", "sounds"), "event"),
    "music": "music",
    **dict.fromkeys(("noise", "noises"), "noise"),
    **dict.fromkeys(("rir", "rirs", "impulse_responses"), "rir"),
}
SIDECAR_FIELDS = set(TEXTS) - {"id", "path", "labels", "stated_sha256", "refused"}


def folder(tree: Tree, options: Options) -> Candidates:
    """`<role>/<speaker or class>/.../x.wav` with `x.txt` (transcript; caption if not speech) and `x.json` (any column) beside.

    `--role` serves where the first folder does not name it. ValueError if a file's role is unknown.
    """
    good, other = tree.match(f"^(?P<stem>.*){AUDIO}"), tree.match(f"^(?P<stem>.*){OTHER_AUDIO}")
    other["refused"] = "decode it to wav, flac, ogg, opus or mp3 first"
    files = pd.concat([good, other], ignore_index=True)
    files["refused"] = files["refused"].fillna("").astype("str") if "refused" in files else ""
    parts = files["path"].str.extract(r"^(?:(?P<top>[^/]+)/)?(?P<rest>.*)$")
    by_folder = parts["top"].str.lower().map(ROLE_FOLDERS)
    named = by_folder.notna()
    below = parts["rest"].where(named, files["path"])
    own_role = options.role or ROLE_FOLDERS.get(os.path.basename(tree.store.url.rstrip("/")).lower(), "")
    files["role"] = by_folder.where(named, own_role).fillna("").astype("str")
    is_speech = files["role"] == "speech"
    files["speaker"] = below.str.extract(r"^([^/]+)/")[0].where(is_speech, "").fillna("")
    files["label"] = phrase(below.str.extract(r"([^/]+)/[^/]+$")[0].where(~is_speech, "").fillna("").astype("str"))
    _add_texts(tree, files)
    _add_sidecars(tree, files)
    _require_roles(tree, files)
    return Candidates(candidates(files))


def _add_texts(tree: Tree, files: pd.DataFrame) -> None:
    texts = tree.texts(files["stem"].add(".txt")[lambda names: names.isin(tree.names(r"\.txt$"))])
    found = files["stem"].add(".txt").map(texts).fillna("").astype("str")
    is_speech = files["role"] == "speech"
    files["text"], files["caption"] = found.where(is_speech, ""), found.mask(is_speech, "")


def _add_sidecars(tree: Tree, files: pd.DataFrame) -> None:
    """Fields of `x.json` over what the place said; what has no column of its own goes into labels."""
    files["labels"] = ""
    named = files["stem"].add(".json")
    for index, name in named[named.isin(tree.names(r"\.json$"))].items():
        values = tree.json(name)
        rest = dict(values.pop("labels", {})) if isinstance(values.get("labels"), dict) else {}
        for key, value in values.items():
            if key in SIDECAR_FIELDS:
                if key not in files:
                    files[key] = ""
                files.loc[index, key] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            else:
                rest[key] = value
        files.loc[index, "labels"] = json.dumps(rest, ensure_ascii=False) if rest else ""


def _require_roles(tree: Tree, files: pd.DataFrame) -> None:
    lost = files[files["role"] == ""]
    if len(lost):
        raise ValueError(
            f"{tree.store.url}/{lost['path'].iloc[0]}: what role? ({len(lost)} of {len(files)} files) Its first folder is none"
            f" of {', '.join(ROLE_FOLDERS)}: name the folders so, or give --role"
        )
