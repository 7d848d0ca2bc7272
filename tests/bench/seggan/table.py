"""The benchmark's results as text: means and spreads over seeds, and differences seed by seed."""

import statistics
from collections.abc import Sequence
from typing import Any

MEASURES = {"nll_oracle": "NLL_oracle", "kl": "KL(G||O)", "held_out": "held-out NLL", "self_bleu": "self-BLEU-3"}
Row = dict[str, float]


def table(seeds: Sequence[dict[str, Row]]) -> str:
    """Every arm, then the pairs that are compared. `seeds` has of each seed the arms' rows."""
    lines = ["| | " + " | ".join(MEASURES.values()) + " | updates | CPU s |", "|---" * (len(MEASURES) + 3) + "|"]
    for arm in seeds[0]:
        rows = [seed[arm] for seed in seeds]
        cells = [_spread([row[name] for row in rows]) for name in MEASURES]
        updates, seconds = (statistics.mean(row.get(name, 0) for row in rows) for name in ("updates", "cpu_s"))
        lines.append(f"| {arm} | {' | '.join(cells)} | {updates:.0f} | {seconds:.0f} |")
    pairs = [pair for arm in seeds[0] if arm.endswith(", segments") for pair in _pairs(arm, seeds[0])]
    lines += ["", "| difference, wins (lower) | " + " | ".join(MEASURES.values()) + " |", "|---" * (len(MEASURES) + 1) + "|"]
    lines += [f"| {one} - {other} | {' | '.join(_differences(seeds, one, other))} |" for one, other in pairs]
    return "\n".join(lines)


def _pairs(arm: str, rows: dict[str, Any]) -> list[tuple[str, str]]:
    form = arm.removesuffix(", segments")
    wholes = [other for other in rows if other.startswith(f"{form}, whole")]
    alone = [other for other in rows if other.startswith("MLE") and (other == "MLE" or other.endswith((" 0.9", "epochs")))]
    return [(arm, other) for other in [*wholes, *alone]]


def _differences(seeds: Sequence[dict[str, Row]], one: str, other: str) -> list[str]:
    cells = []
    for name in MEASURES:
        found = [seed[one][name] - seed[other][name] for seed in seeds]
        cells.append(f"{_spread(found, sign='+')}, {sum(value < 0 for value in found)}/{len(found)}")
    return cells


def _spread(values: Sequence[float], sign: str = "") -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):{sign}.3f} ± {deviation:.3f}"
