"""Separation of a sound by its description, on AudioCaps and ESC-50: the mixtures of AudioSep (Liu et al., TASLP 2024).

A list, `audiocaps_eval.csv` or `esc50_eval.csv` (idx, caption, ..., src_wav, noise_wav) names them; beside it lie
segment-<idx>.wav and mixture-<idx>.wav. Where those are not there, the mixture is made of src_wav and noise_wav at 0 dB. A list
with the columns source, noise, snr and caption, as that of DCASE 2024 task 9, is mixed at its SNR.
"""

import pandas as pd

from pipelines.formats.tree import AUDIO, Tree
from pipelines.testsets.items import MISSING, Item, Sound, TestSet, Wanted

PUBLISHED_SNR_DB = 0.0
NAMES = {"source": "src_wav", "noise": "noise_wav", "snr": "snr_db"}


def audiocaps_lass(tree: Tree, wanted: Wanted) -> list[TestSet]:
    licence = "MIT (AudioCaps captions); audio of YouTube, no licence stated"
    return [TestSet("AudioCaps LASS", "test", "lass", licence, 4820, _items(tree, "audiocaps"), domain="sound")]


def esc50_lass(tree: Tree, wanted: Wanted) -> list[TestSet]:
    return [TestSet("ESC-50 LASS", "test", "lass", "CC BY-NC 3.0", 2000, _items(tree, "esc50"), domain="sound")]


def _items(tree: Tree, name: str) -> list[Item]:
    """ValueError without exactly one list."""
    lists = tree.names(rf"(^|/)({name}_eval|lass_synthetic_validation|mixtures)\.csv$")
    if len(lists) != 1:
        raise ValueError(f"{tree.store.url}: {len(lists)} lists of mixtures; put one {name}_eval.csv below the root")
    frame = tree.csv(lists[0]).rename(columns=NAMES)
    for needed in ("caption", "src_wav", "noise_wav"):
        if needed not in frame:
            raise ValueError(f"{tree.store.url}/{lists[0]}: no column {needed}; it has {', '.join(frame.columns)}")
    paths = {path.rpartition("/")[2].rpartition(".")[0]: path for path in tree.match(AUDIO)["path"]}
    numbers = frame["idx"] if "idx" in frame else pd.Series(frame.index.astype(str))
    return [_item(number, row, paths) for number, row in zip(numbers, frame.to_dict("records"))]


def _item(number: str, row: dict[str, str], paths: dict[str, str]) -> Item:
    texts = {"caption": row["caption"], "target_caption": row["caption"]}
    snr_db = float(row["snr_db"]) if row.get("snr_db") else PUBLISHED_SNR_DB
    labels = {"snr_db": snr_db} if row.get("snr_db") else {}
    ready = {"input": paths.get(f"mixture-{number}"), "target": paths.get(f"segment-{number}")}
    if all(ready.values()):
        sounds = {role: Sound(path) for role, path in ready.items()}
        return Item(number, sounds, texts, speaker=_stem(row["src_wav"]), labels=labels)
    parts = {"target": paths.get(_stem(row["src_wav"])), "noise": paths.get(_stem(row["noise_wav"]))}
    absent = [row[column] for role, column in (("target", "src_wav"), ("noise", "noise_wav")) if not parts[role]]
    refused = (MISSING, f"no mixture-{number} with segment-{number}, and no {' and no '.join(absent)}") if absent else None
    sounds = {role: Sound(path) for role, path in parts.items() if path}
    return Item(number, sounds, texts, _stem(row["src_wav"]), {"snr_db": snr_db}, snr_db=snr_db, refused=refused)


def _stem(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".wav")
