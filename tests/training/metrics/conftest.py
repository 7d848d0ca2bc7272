import numpy as np
import pytest

from tests.training.real_speech import RATE_HZ, five_seconds


@pytest.fixture(scope="session")
def speech() -> np.ndarray:
    """Five seconds of a real voice, mono float32 at 16 kHz."""
    return five_seconds()


@pytest.fixture(scope="session")
def noise() -> np.ndarray:
    """White noise as long as the speech, of unit variance."""
    return np.random.default_rng(0).standard_normal(5 * RATE_HZ).astype(np.float32)
