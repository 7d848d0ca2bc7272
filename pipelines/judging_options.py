"""What can be said of a judgement, whoever orders it: `make evaluate` on its command line, a retraining in its file."""

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class JudgingOptions:
    """Which examples are judged by what, and what there is to hear of them."""

    split: str = "test"
    """Datasets of other splits are left out."""
    count: int = 0
    """Examples of each dataset, the first ones; 0: all."""
    metrics: tuple[str, ...] = ()
    """Only these."""
    plug_in: tuple[str, ...] = ()
    """Metrics with weights of yours: NAME=FILE.onnx@SHA256, NAME=MODULE:FUNCTION@FILE@SHA256 or NAME=MODULE:FUNCTION."""
    recogniser: str = ""
    """For word errors: MODULE:FUNCTION@FILE@SHA256, MODULE:FUNCTION, or pocketsphinx, which is a poor one."""
    seed: int = 0
    """Of what is drawn, for each example apart."""
    heard: int = 6
    """Examples of each task to listen to on the page; 0: no page."""
    clips_per_part: int = 16
    """Examples that are committed together."""

    def shared(self) -> dict[str, Any]:
        """The values by name, for another class with these options."""
        return {field.name: getattr(self, field.name) for field in fields(JudgingOptions)}
