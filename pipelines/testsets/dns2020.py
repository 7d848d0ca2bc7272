"""DNS Challenge 2020, synthetic test sets (Reddy et al., Interspeech 2020): {with,no}_reverb/{clean,noisy}/*fileid_N.wav.

The clean files are the targets as the set gives them, with whatever room is in them.
"""

import re

from pipelines.formats.tree import Tree
from pipelines.testsets.items import Item, TestSet, Wanted, paired

PLACE = r"(?:^|/)(?P<condition>with_reverb|no_reverb)/(?P<kind>clean|noisy)/[^/]*fileid_(?P<number>\d+)\.(?:wav|flac)$"
PUBLISHED = 150  # in each condition


def dns2020(tree: Tree, wanted: Wanted) -> list[TestSet]:
    """A set for each condition that is there."""
    files = tree.match(PLACE)
    return [
        TestSet(f"DNS2020 {condition}", condition, "sr", "CC BY 4.0 (DNS Challenge)", PUBLISHED, _items(rows), domain="speech")
        for condition, rows in files.groupby("condition")
    ]


def _items(rows) -> list[Item]:
    found: dict[str, dict[str, str]] = {}
    for row in rows.itertuples():
        found.setdefault(row.number, {})[row.kind] = row.path
    items = []
    for number, pair in sorted(found.items(), key=lambda one: int(one[0])):
        snr = re.search(r"_snr(-?\d+)", pair.get("noisy", ""))
        sounds = {"input": pair.get("noisy"), "target": pair.get("clean")}
        items.append(paired(f"fileid_{number}", sounds, labels={"snr_db": float(snr[1])} if snr else {}))
    return items
