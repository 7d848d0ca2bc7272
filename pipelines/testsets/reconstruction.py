"""Sets that a codec is judged on: LibriSpeech test-clean, MUSDB18-HQ, AudioSet eval. Found by the formats of `make corpus`."""

from pipelines.formats.music_and_rooms import musdb18
from pipelines.formats.speech import librispeech
from pipelines.formats.tree import AUDIO, Options, Tree
from pipelines.testsets.items import Item, Sound, TestSet, Wanted

SEGMENTS = r"(^|/)eval_segments\.csv$"  # lines "# ..." first; YTID, start_seconds, end_seconds, positive_labels


def librispeech_test(tree: Tree, wanted: Wanted) -> list[TestSet]:
    """Utterances below test-clean, or all where the root is that folder."""
    rows = librispeech(tree, Options()).rows
    inside = rows["path"].str.contains(r"(?:^|/)test-clean/")
    rows = rows[inside] if inside.any() else rows
    items = [_item(row, Sound(row.path), {"transcript": row.text} if row.text else {}) for row in rows.itertuples()]
    return [TestSet("LibriSpeech test-clean", "test-clean", "codec", "CC BY 4.0", 2620, items, domain="speech")]


def musdb18_test(tree: Tree, wanted: Wanted) -> list[TestSet]:
    """An excerpt from the middle of each mixture of the test part."""
    found = musdb18(tree, Options())
    rows = found.rows[(found.rows["split"] == "test") & (found.rows["label"].isin(["music", ""]))]
    items = [_track(row, wanted.excerpt_s) for row in rows.itertuples()]
    licence = found.rows["licence"].iloc[0] if len(found.rows) else ""
    notes = [f"{wanted.excerpt_s:g} s from the middle of each track; the published figure's excerpts are not known"]
    return [TestSet("MUSDB18-HQ", f"test, {wanted.excerpt_s:g} s", "codec", licence, 50, items, "sound", notes)]


def audioset_eval(tree: Tree, wanted: Wanted) -> list[TestSet]:
    """Files named by their video (Y<id>.wav or <id>.wav), held to eval_segments.csv where that is there."""
    files = tree.match(rf"(?:^|/)(?P<name>[^/]+){AUDIO}")
    files = files.assign(video=files["name"].str.extract(r"^Y?([\w-]{11})(?:_.*)?$")[0]).sort_values("path")
    notes = []
    for name in tree.names(SEGMENTS):
        lines = [line for line in tree.text(name).splitlines() if line.strip() and not line.startswith("#")]
        listed = {line.split(",")[0].strip() for line in lines}
        files = files[files["video"].isin(listed)]
        notes.append(f"{len(listed - set(files['video']))} of {len(listed)} listed segments are not there")
    items = [Item(row.name, {"target": Sound(row.path)}, speaker=str(row.video)) for row in files.itertuples()]
    licence = "CC BY 4.0 (AudioSet labels); audio of YouTube, no licence stated"
    return [TestSet("AudioSet eval", "eval", "codec", licence, 20371, items, "sound", notes)]


def _track(row, excerpt_s: float) -> Item:
    refused = ("format", row.refused) if row.refused else None
    return Item(row.group, {"target": Sound(row.path, -1.0, excerpt_s)}, speaker=row.group, refused=refused)


def _item(row, sound: Sound, texts: dict[str, str]) -> Item:
    return Item(row.id, {"target": sound}, texts, speaker=row.speaker)
