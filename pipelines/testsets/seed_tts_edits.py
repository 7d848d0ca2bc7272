"""Speech edits on Seed-TTS-eval (Anastassiou et al., 2024): a list of ours, for none is published with the figures.

`edits.csv` below the root: audio (a path below the root, or a file's name), instruction, target_transcript; id,
source_transcript, target (a path), operation and language may be there. Seed-TTS-eval's own meta.lst
("name|text|audio|...") tells what the recordings say, their folder (zh, en) in which language.
"""

from collections.abc import Mapping

from pipelines.formats.tree import AUDIO, Tree
from pipelines.testsets.items import Item, TestSet, Wanted, paired

LICENCE = "CC0 1.0 (Common Voice, en), research only (DiDiSpeech-2, zh)"
LANGUAGES = ("zh", "en")


def seed_tts_edits(tree: Tree, wanted: Wanted) -> list[TestSet]:
    """A set for each language. ValueError without a list."""
    lists = tree.names(r"(^|/)edits\.csv$")
    if not lists:
        raise ValueError(f"{tree.store.url}: no edits.csv with the columns audio, instruction, target_transcript")
    paths = tree.match(AUDIO)["path"].tolist()
    by_name = {path.rpartition("/")[2]: path for path in paths} | {path: path for path in paths}
    said, by_language = _said(tree), {}
    rows = [row for name in lists for row in tree.csv(name, ("audio", "instruction", "target_transcript")).to_dict("records")]
    for number, row in enumerate(rows):
        path = by_name.get(row["audio"], "")
        language = row.get("language") or next((name for name in LANGUAGES if name in path.split("/")), "")
        by_language.setdefault(language, []).append(_item(number, row, path, by_name, said))
    return [
        TestSet(f"Seed-TTS edits {language}".strip(), language or "all", "speech_edit", LICENCE, 0, items, domain="speech")
        for language, items in sorted(by_language.items())
    ]


def _item(number: int, row: Mapping[str, str], path: str, by_name: Mapping[str, str], said: Mapping[str, str]) -> Item:
    texts = {
        "instruction": row["instruction"],
        "target_transcript": row["target_transcript"],
        "source_transcript": row.get("source_transcript") or said.get(path.rpartition("/")[2], ""),
    }
    sounds = {"input": path}
    if row.get("target"):
        sounds["target"] = by_name.get(row["target"], "")
    slices = {"operation": row["operation"]} if row.get("operation") else {}
    texts = {name: text for name, text in texts.items() if text}
    return paired(row.get("id") or f"edit-{number:05d}", sounds, texts=texts, slices=slices)


def _said(tree: Tree) -> dict[str, str]:
    """File name -> text, by meta.lst."""
    found = {}
    for name in tree.names(r"(^|/)meta[^/]*\.lst$"):
        for fields in (line.split("|") for line in tree.text(name).splitlines()):
            if len(fields) >= 3:
                found[fields[2].strip().rpartition("/")[2]] = fields[1].strip()
    return found
