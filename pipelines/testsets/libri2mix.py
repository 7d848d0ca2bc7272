"""Libri2Mix (Cosentino et al., 2020): wav16k/min/test/{mix_clean,mix_both,s1,s2}/, as ss and as tse.

The enrolments of tse are those of SpeakerBeam's list `map_mixture2enrollment` (lines "mixture utterance s1/other_mixture"),
which is not part of Libri2Mix: put it below the root.
"""

from collections.abc import Mapping

from pipelines.formats.tree import Tree
from pipelines.testsets.items import MISSING, Item, TestSet, Wanted, paired

PLACE = r"(?:^|/)wav(?P<rate>8k|16k)/(?P<mode>min|max)/test/(?P<kind>mix_clean|mix_both|s1|s2)/(?P<name>[^/]+)\.(?:wav|flac)$"
LICENCES = {"mix_clean": "CC BY 4.0 (LibriSpeech)", "mix_both": "CC BY 4.0 (LibriSpeech) and CC BY-NC 4.0 (WHAM!)"}
NUM_MIXTURES = 3000
SOURCES = ("s1", "s2")


def libri2mix(tree: Tree, wanted: Wanted) -> list[TestSet]:
    """ss and, with the list of enrolments, tse, for each kind of mixture; 16 kHz and `min` if there are more."""
    files = tree.match(PLACE)
    for column, best in (("rate", "16k"), ("mode", "min")):
        if (files[column] == best).any():
            files = files[files[column] == best]
    found = {kind: dict(zip(rows["name"], rows["path"])) for kind, rows in files.groupby("kind")}
    said, enrolments = _transcripts(wanted.transcripts), _enrolments(tree)
    notes = [] if enrolments else ["no map_mixture2enrollment below the root: tse is left out"]
    sets = []
    for kind, licence in LICENCES.items():
        if kind not in found:
            continue
        clean = kind.removeprefix("mix_")
        items = _separation(kind, found, said)
        sets.append(TestSet(f"Libri2Mix {clean} SS", f"ss_{clean}", "ss", licence, NUM_MIXTURES, items, "speech", notes))
        if enrolments:
            items = _extraction(kind, found, enrolments, said)
            sets.append(TestSet(f"Libri2Mix {clean} TSE", f"tse_{clean}", "tse", licence, 2 * NUM_MIXTURES, items, "speech"))
    return sets


Found = Mapping[str, Mapping[str, str]]


def _separation(kind: str, found: Found, said: Mapping[str, str]) -> list[Item]:
    items = []
    for name in sorted(found[kind]):
        sounds = {"input": found[kind][name]}
        sounds |= {f"source{number}": found.get(part, {}).get(name) for number, part in enumerate(SOURCES, 1)}
        texts = {f"transcript{number}": said.get(part, "") for number, part in enumerate(name.split("_"), 1)}
        items.append(paired(name, sounds, texts=_known(texts), speaker=name.split("-")[0]))
    return items


def _extraction(kind: str, found: Found, enrolments: Mapping[tuple[str, str], str], said: Mapping[str, str]) -> list[Item]:
    items = []
    for name in sorted(found[kind]):
        for part, utterance in zip(SOURCES, name.split("_")):
            place, _, other = enrolments.get((name, utterance), "").partition("/")
            sounds = {
                "input": found[kind][name],
                "target": found.get(part, {}).get(name),
                "reference": found.get(place, {}).get(other),
            }
            texts = _known({"transcript": said.get(utterance, "")})
            items.append(paired(f"{name}-{part}", sounds, texts=texts, speaker=utterance.split("-")[0]))
    listed = {name for name, _ in enrolments}
    absent = sorted(listed - found[kind].keys())
    return items + [Item(f"{name}-absent", {}, refused=(MISSING, "listed, no mixture")) for name in absent]


def _enrolments(tree: Tree) -> dict[tuple[str, str], str]:
    lines = (line.split() for name in tree.names(r"(^|/)map_mixture2enrollment$") for line in tree.text(name).splitlines())
    return {(fields[0], fields[1]): fields[2] for fields in lines if len(fields) == 3}


def _transcripts(tree: Tree | None) -> dict[str, str]:
    """Utterance -> text, of LibriSpeech."""
    if tree is None:
        return {}
    lines = (line for text in tree.texts(tree.names(r"\.trans\.txt$")) for line in text.splitlines())
    return dict(line.split(" ", 1) for line in lines if " " in line)


def _known(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text}
