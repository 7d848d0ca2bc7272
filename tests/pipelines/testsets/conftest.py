"""Small trees that lie as published sets do, by their public descriptions."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from infra.storage import open_store
from pipelines.formats.tree import Tree


class Made:
    """A folder to put sounds and texts in."""

    def __init__(self, folder: Path):
        self.folder = folder

    def sound(self, name: str, seconds: float = 0.5, rate_hz: int = 16000, level: float = 0.1) -> np.ndarray:
        """Noise that is another for each name."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = level * np.random.default_rng(len(name) + sum(name.encode())).normal(size=round(seconds * rate_hz))
        soundfile.write(path, np.clip(wave, -0.99, 0.99), rate_hz, subtype="PCM_16")
        return wave

    def sounds(self, *names: str) -> None:
        for name in names:
            self.sound(name)

    def text(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def tree(self) -> Tree:
        return Tree(open_store(str(self.folder)))


@pytest.fixture
def made(tmp_path) -> Made:
    return Made(tmp_path / "set")
