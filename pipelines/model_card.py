"""The README.md of a model bundle: what it does, what it was made from, and under which licences."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lm.tasks import task

MEANINGS = {
    "sr": "speech restoration: clean speech from degraded speech",
    "tse": "target speaker extraction: the voice of the reference",
    "rtse": "the voice that is not the reference's",
    "ss": "speech separation: both voices",
    "vc": "voice conversion: the same words in the voice of the reference",
    "aec": "echo cancellation: the near end without what the loudspeaker plays, which is the reference",
    "lass": "language-queried separation: the sound that the text describes",
    "speech_edit": "speech edited as the text says",
    "event_edit": "sounds edited as the text says",
    "tta": "audio from a text",
}


@dataclass(frozen=True)
class Card:
    """What a person is told of a model beside what its files say."""

    licence: str = ""
    """Of the weights."""
    clips_by_licence: dict[str, int] = field(default_factory=dict)
    """Source clips of the training data by their licence."""
    data: tuple[dict[str, Any], ...] = ()
    """Datasets that it was trained on: name, id, examples, hours."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Name to value."""


def text(card: Card, about: dict[str, Any]) -> str:
    """Markdown; `about` is the bundle's description."""
    codec, lm, encoders = about["codec"], about["lm"], about["encoders"]
    parts = [
        "# Quarkline model",
        "A codec and a language model that writes its tokens: one model for all tasks below.",
        "## Use",
        '```python\nfrom pipelines.bundle import Bundle\n\nmodel = Bundle.open("this folder")\n'
        f'audio = model("{about["tasks"][0]}", ...)\n```',
        "## Tasks",
        _table(("task", "what it gives", "it needs"), [(name, MEANINGS[name], _needs(name)) for name in about["tasks"]]),
        "## Parts",
        _table(
            ("part", "id", "size"),
            [
                ("codec", codec["id"][:12], f"{codec['num_parameters'] / 1e6:.1f} M, {codec['sample_rate_hz']} Hz"),
                ("language model", lm["id"][:12], f"{lm['num_parameters'] / 1e6:.1f} M"),
                *((f"{kind} encoder", one["id"], one["place"]) for kind, one in encoders.items()),
            ],
        ),
        "## Licence",
        f"Weights: {card.licence or 'not stated'}.",
        _clips(card),
        "## Data parents",
        _table(
            ("dataset", "id", "examples", "hours"),
            [(one["name"], one["id"][:12], one["examples"], f"{one['hours']:.2f}") for one in card.data],
        )
        or "Not stated.",
        "## Metrics",
        _table(("metric", "value"), [(name, _number(value)) for name, value in card.metrics.items()]) or "Not measured.",
    ]
    return "\n\n".join(parts) + "\n"


def _needs(name: str) -> str:
    needs = " and ".join(task(name).needs)
    return needs + "".join(f", {one} if wanted" for one in task(name).may_have)


def _clips(card: Card) -> str:
    rows = sorted(card.clips_by_licence.items(), key=lambda item: (-item[1], item[0]))
    return _table(("source clips of the training data", "number"), rows) or "Source clips: not stated."


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown; "" without rows."""
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
