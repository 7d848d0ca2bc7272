"""What a published test set holds, before any audio is read: its examples, each with the files of its roles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.formats.tree import Tree

ALIGNED = ("sr", "tse", "ss", "lass", "codec")  # tasks whose input and targets are of one length
MISSING = "missing"


@dataclass(frozen=True)
class Sound:
    """A file below the root, or a stretch of it."""

    path: str
    start_s: float = 0.0
    """Negative: a stretch from the middle."""
    duration_s: float = 0.0
    """0: to the end."""


@dataclass(frozen=True)
class Item:
    """One example. `snr_db` says that its input is to be mixed: the target, and the sound `noise` that far below it."""

    name: str
    sounds: Mapping[str, Sound]
    texts: Mapping[str, str] = field(default_factory=dict)
    speaker: str = ""
    labels: Mapping[str, float] = field(default_factory=dict)
    slices: Mapping[str, str] = field(default_factory=dict)
    snr_db: float | None = None
    refused: tuple[str, str] | None = None  # reason and detail


@dataclass(frozen=True)
class TestSet:
    """One condition of a published set. `published`: how many examples its authors say it has; 0: nobody has said."""

    __test__ = False  # pytest takes it for tests otherwise

    name: str
    condition: str
    task: str
    licence: str
    published: int
    items: Sequence[Item]
    domain: str = ""  # "speech" or "sound"; "" leaves it to the task
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Wanted:
    """What a person may say beside the root."""

    excerpt_s: float = 30.0
    transcripts: Tree | None = None


def paired(name: str, sounds: Mapping[str, str | None], **more) -> Item:
    """An item of these files; one that is not there refuses it, by name."""
    absent = [role for role, path in sounds.items() if not path]
    there = {role: Sound(path) for role, path in sounds.items() if path}
    return Item(name, there, refused=(MISSING, f"no {' and no '.join(absent)}") if absent else None, **more)
