"""The decision of a retraining for people: what was compared, what was found, why the candidate is in or out. Markdown."""

from collections.abc import Sequence
from typing import Any

from training.gate import BETTER, FAILED, NOT_JUDGED, NOT_WORSE, Check, Decision

MARKS = {FAILED: "**failed**", NOT_JUDGED: "not judged"}


def text(about: dict[str, Any], decision: Decision) -> str:
    """`about` is decision.json without the checks."""
    verdict = "promoted" if decision.promote else "kept out"
    parts = [
        f"# Retraining {about['run']}: the candidate is {verdict}",
        "\n".join(f"- {reason}" for reason in decision.reasons),
        _table(
            ("", ""),
            [
                ("champion", about["champion"] or "none yet"),
                ("candidate", about["candidate"]),
                ("codec", about["codec"][:16]),
                ("the language model started with", about["start"]),
                ("evaluation", about["evaluation_id"][:16]),
                ("new data", f"{len(about['fresh'])} of {about['num_inputs']} inputs"),
            ],
        ),
        "## New data",
        "\n".join(f"- {line}" for line in about["fresh"]) or "None.",
        "## Better than the champion",
        _gains(decision.checks, BETTER),
        "## Not worse than the champion",
        "The bound is the least difference that the clips allow, one-sided; it must lie above what is wanted.",
        _gains(decision.checks, NOT_WORSE),
        "## Sound",
        _table(
            ("check", "outcome", "found"),
            [
                (check.what, MARKS.get(check.outcome, check.outcome), check.detail)
                for check in decision.checks
                if check.kind not in (BETTER, NOT_WORSE)
            ],
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _gains(checks: Sequence[Check], kind: str) -> str:
    head = ("task", "slice", "metric", "clips", "difference", "bound", "wanted", "p", "outcome")
    rows = [
        (
            check.task,
            check.slice or "all",
            check.metric,
            f"{check.num_clips} of {check.num_clusters}",
            _number(check.difference),
            _number(check.bound),
            _number(check.wanted),
            "" if check.p is None else f"{check.p:.4f} < {check.p_limit:.4f}",
            MARKS.get(check.outcome, check.outcome),
        )
        for check in checks
        if check.kind == kind
    ]
    return _table(head, rows) or "Nothing to compare with."


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:+.4g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """ "" without rows."""
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
