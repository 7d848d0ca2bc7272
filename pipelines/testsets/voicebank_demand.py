"""VoiceBank+DEMAND (Valentini-Botinhao, University of Edinburgh, 2017): {clean,noisy}_testset_wav/, log_testset.txt."""

import re

from pipelines.formats.tree import AUDIO, Tree
from pipelines.testsets.items import TestSet, Wanted, paired

PLACE = rf"(?:^|/)(?P<kind>clean|noisy)(?:_testset[^/]*)?/(?P<name>[^/]+?){AUDIO}"


def voicebank_demand(tree: Tree, wanted: Wanted) -> list[TestSet]:
    """Pairs by name; noise and SNR from log_testset.txt ("p232_001 bus 2.5"), texts from testset_txt/."""
    files = tree.match(PLACE)
    found = {kind: dict(zip(rows["name"], rows["path"])) for kind, rows in files.groupby("kind")}
    clean, noisy = found.get("clean", {}), found.get("noisy", {})
    names = sorted(clean.keys() | noisy.keys())
    log, texts = _log(tree), _texts(tree)
    items = []
    for name in names:
        noise, snr_db = log.get(name, ("", None))
        more = {
            "texts": {"transcript": texts[name]} if name in texts else {},
            "speaker": name.split("_")[0],
            "labels": {} if snr_db is None else {"snr_db": snr_db},
            "slices": {"noise": noise} if noise else {},
        }
        items.append(paired(name, {"input": noisy.get(name), "target": clean.get(name)}, **more))
    return [TestSet("VoiceBank+DEMAND", "test", "sr", "CC BY 4.0", 824, items, domain="speech")]


def _log(tree: Tree) -> dict[str, tuple[str, float]]:
    lines = [line for name in tree.names(r"(^|/)log_testset\.txt$") for line in tree.text(name).splitlines()]
    found = (re.fullmatch(r"(\S+)\s+(\S+)\s+(-?[\d.]+)\s*", line) for line in lines)
    return {match[1]: (match[2], float(match[3])) for match in found if match}


def _texts(tree: Tree) -> dict[str, str]:
    files = tree.match(r"(?:^|/)testset_txt/(?P<name>[^/]+)\.txt$")
    return dict(zip(files["name"], tree.texts(files["path"])))
