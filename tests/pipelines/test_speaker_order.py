import numpy as np
import pytest

from pipelines.long_audio import windows_of
from pipelines.speaker_order import in_order, spectrum

SAMPLES = 320  # of a frame


def speakers(num_samples: int) -> np.ndarray:
    """(speakers, channels, samples): a low and a high hum, both in both channels."""
    at = np.arange(num_samples) / 16000
    wobble = 0.1 * (1 + np.sin(2 * np.pi * 3 * at))
    both = np.stack([wobble * np.sin(2 * np.pi * 150 * at), wobble * np.sin(2 * np.pi * 2500 * at)])
    return np.stack([both, 0.7 * both], axis=1).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_speakers_that_change_places_are_put_back(seed):
    wave, rng = speakers(200 * SAMPLES), np.random.default_rng(seed)
    windows = windows_of(200, 40, 8)
    parts = []
    for window in windows:
        part = wave[..., window.first * SAMPLES : window.last * SAMPLES].copy()
        for channel in range(2):  # each at random
            part[:, channel] = part[rng.permutation(2), channel]
        parts.append((window, part))
    found = [part for _, part in in_order(parts, SAMPLES)]
    first = int(np.abs(spectrum(found[0][0, 0]) - spectrum(wave[0, 0, : 40 * SAMPLES])).mean() > 1)
    for window, part in zip(windows, found, strict=True):
        wanted = wave[[first, 1 - first], :, window.first * SAMPLES : window.last * SAMPLES]
        assert np.array_equal(part, wanted)


def test_silence_changes_nothing():
    windows = windows_of(60, 40, 8)
    parts = [(window, np.zeros((2, 1, 40 * SAMPLES), np.float32)) for window in windows]
    assert all(not part.any() for _, part in in_order(parts, SAMPLES))


def test_audio_shorter_than_a_frame_has_a_spectrum():
    assert spectrum(np.ones((2, 10), np.float32)).shape == (2, 1, 257)
