"""Voice conversion between speakers of VCTK (Yamagishi et al., 2019): wav48*/<speaker>/, txt/<speaker>/.

No list of pairs is published with the figures. `pairs.csv` below the root (source, target, reference: utterances such as
p225_003) is taken where it is there. Otherwise each speaker is converted to the next one, by name, over the prompts that all
speakers read (001 to 024): the target is the other's own reading, which is not of the same time.
"""

import itertools

import pandas as pd

from pipelines.formats.speech import vctk
from pipelines.formats.tree import Options, Tree
from pipelines.testsets.items import Item, TestSet, Wanted, paired

COMMON_PROMPTS = 24
PER_SPEAKER = 10  # pairs, where there is no list


def vctk_pairs(tree: Tree, wanted: Wanted) -> list[TestSet]:
    """Source in, the same words by the target's speaker out, another utterance of that speaker as reference."""
    rows = vctk(tree, Options()).rows
    names = rows["path"].str.extract(r"([^/]+?)(?:_mic\d)?\.[^.]+$")[0]
    rows = rows.assign(utterance=names).drop_duplicates("utterance").set_index("utterance").sort_index()
    lists = tree.names(r"(^|/)pairs\.csv$")
    pairs = _listed(tree, lists[0]) if lists else _parallel(rows)
    notes = [] if lists else ["no pairs.csv below the root: pairs of neighbouring speakers over the common prompts"]
    paths, texts = rows["path"].to_dict(), rows["text"].to_dict()
    items = [_item(pair, paths, texts) for pair in pairs]
    return [TestSet("VCTK", "listed" if lists else "parallel prompts", "vc", "CC BY 4.0", 0, items, "speech", notes)]


def _item(pair: tuple[str, str, str], paths: dict[str, str], texts: dict[str, str]) -> Item:
    source, target, reference = pair
    sounds = {"input": paths.get(source), "reference": paths.get(reference)}
    sounds |= {"target": paths.get(target)} if target else {}
    said = texts.get(source, "")
    name = f"{source}-to-{target or reference}"
    return paired(name, sounds, texts={"transcript": said} if said else {}, speaker=reference.split("_")[0])


def _listed(tree: Tree, name: str) -> list[tuple[str, str, str]]:
    frame = tree.csv(name, ("source", "reference"))
    targets = frame["target"] if "target" in frame else [""] * len(frame)
    return list(zip(frame["source"], targets, frame["reference"]))


def _parallel(rows: pd.DataFrame) -> list[tuple[str, str, str]]:
    numbers = pd.to_numeric(rows.index.to_series().str.extract(r"_(\d+)$")[0], errors="coerce")
    common = rows[(numbers <= COMMON_PROMPTS).to_numpy() & (rows["text"] != "").to_numpy()]
    read = {speaker: {text: name for name, text in part["text"].items()} for speaker, part in common.groupby("speaker")}
    speakers = sorted(read)
    pairs = []
    for source, target in zip(speakers, speakers[1:] + speakers[:1]):
        both = [text for text in read[source] if text in read[target]] if source != target else []
        for text in itertools.islice(both, PER_SPEAKER):
            others = [name for other, name in read[target].items() if other != text]
            if others:  # the next utterance of the target's speaker, the first after the last
                reference = next((name for name in others if name > read[target][text]), others[0])
                pairs.append((read[source][text], read[target][text], reference))
    return pairs
