"""Signals that the tests of all effects share, and how to draw an effect of one kind."""

import dataclasses

import numpy as np
import pytest

from simulation.degradation import Degradations, Effect
from simulation.seeds import Rng, stored_noise
from simulation.signals.levels import at_level

KINDS = Degradations().names()


def noisy_voice(sample_rate_hz: int, duration_s: float = 1.5, num_channels: int = 1) -> np.ndarray:
    """Syllables of harmonics over faint noise at -26 dBFS, each channel with a pitch of its own: `(channels, samples)`."""
    at = np.arange(round(duration_s * sample_rate_hz)) / sample_rate_hz
    noise = stored_noise(11, (num_channels, at.size))
    syllables = np.clip(np.sin(2 * np.pi * 2.3 * at), 0, None)
    pitches = 110 + 70 * np.arange(num_channels)[:, np.newaxis]
    harmonics = sum(np.cos(2 * np.pi * k * pitches * at + k * k) / k for k in range(1, 25))
    return at_level((harmonics * syllables + 0.05 * noise).astype(np.float32), -26, sample_rate_hz)


def only(kind: str, **changes) -> Degradations:
    """A configuration in which nothing but this kind of effect happens, and that always."""
    config = Degradations()
    for name in KINDS:
        config = dataclasses.replace(config, **{name: dataclasses.replace(getattr(config, name), probability=0.0)})
    return dataclasses.replace(config, **{kind: dataclasses.replace(getattr(config, kind), probability=1.0, **changes)})


def some(kind: str, sample_rate_hz: int, num_samples: int, count: int) -> list[Effect]:
    """The first effects of one kind that are drawn, `count` of them."""
    config, found, index = only(kind), [], 0
    while len(found) < count:
        found.extend(config.draw(Rng(5, "effects", index), sample_rate_hz, num_samples))
        index += 1
    return found[:count]


def voices(opened, count: int, duration_s: float = 3.0) -> list[np.ndarray]:
    """Real voices of one bank, `(1, samples)` each at -26 dBFS."""
    bank, load = opened
    clips = [bank.draw(Rng(3, "voices", index)("voice"), "speech", duration_s) for index in range(count)]
    return [at_level(load(clip), -26, bank.sample_rate_hz) for clip in clips]


@pytest.fixture(scope="session")
def real_voices(real_bank) -> list[np.ndarray]:
    """Six real voices at 16 kHz."""
    return voices(real_bank, 6)


@pytest.fixture(scope="session")
def wide_voices(wide_bank) -> list[np.ndarray]:
    """Six real voices at 48 kHz."""
    return voices(wide_bank, 6)
