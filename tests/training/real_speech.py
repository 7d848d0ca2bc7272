"""A real voice for tests of what judges voices, or a skip that says what is missing."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
RATE_HZ = 16000


def five_seconds() -> np.ndarray:
    """Of a LibriSpeech speaker, mono float32 at 16 kHz."""
    files = sorted((CORPUS / "speech" / "librispeech").rglob("*.flac"))
    if not files:
        pytest.skip(f"no LibriSpeech clips below {CORPUS}")
    wave, rate_hz = soundfile.read(files[0], dtype="float32")
    assert rate_hz == RATE_HZ
    return wave[: 5 * RATE_HZ]
