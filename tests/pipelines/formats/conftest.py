"""Small trees of real audio, laid out as the data sets are."""

import hashlib
from pathlib import Path

import numpy as np
import soundfile

from pipelines.corpus import Build, build
from pipelines.formats.tree import Options

RATE_HZ = 8000


def sound(path: Path, seconds: float = 0.2, rate_hz: int = RATE_HZ, channels: int = 1) -> Path:
    """Noise that is this path's own, in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = int.from_bytes(hashlib.sha256(path.as_posix().encode()).digest()[:4], "big")
    noise = np.random.default_rng(seed).uniform(-0.3, 0.3, (round(seconds * rate_hz), channels))
    kinds = {".opus": {"format": "OGG", "subtype": "OPUS"}}
    soundfile.write(path, noise, rate_hz, **kinds.get(path.suffix, {}))
    return path


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def built(root: Path, out: Path, layout: str = "", max_reject_share: float = 0.0, **options) -> dict[str, dict]:
    """The rows of the corpus built from the tree by its path; the layout is detected unless named."""
    config = Build(
        root=str(root), format=layout, out=str(out), layout=Options(**options), max_reject_share=max_reject_share, workers=0
    )
    return {row["path"]: row for row in build(config).table.to_pylist()}
