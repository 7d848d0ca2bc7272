"""Real held-out clips for tests of the codec report, or a skip that says what is missing."""

import numpy as np
import pytest
import soundfile

from tests.training.real_speech import CORPUS, RATE_HZ
from training.data.held_out import Item
from training.metrics.signals import at_rate

SOURCES = (
    ("speech", "speech/librispeech", "ls-a"),
    ("speech", "speech/vctk", "vctk-a"),
    ("music", "music/piano", ""),
    ("event", "events/esc10", ""),
)


def clips(seconds: float = 1.5, sample_rate_hz: int = RATE_HZ) -> list[Item]:
    """Two voices, a piano and an event, from their loudest part."""
    items = []
    for domain, folder, speaker in SOURCES:
        files = sorted((CORPUS / folder).rglob("*.flac"))
        if not files:
            pytest.skip(f"no clips below {CORPUS / folder}")
        audio, rate_hz = soundfile.read(files[0], dtype="float32", always_2d=True)
        wave, length = at_rate(audio.mean(axis=1), rate_hz, sample_rate_hz), round(seconds * sample_rate_hz)
        energy = np.cumsum(np.square(wave, dtype=np.float64))
        start = int(np.argmax(energy[length:] - energy[:-length])) if len(wave) > length else 0
        items.append(Item(files[0].stem, wave[start : start + length], sample_rate_hz, domain, speaker, files[0].stem))
    return items
