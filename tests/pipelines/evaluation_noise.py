"""Examples to judge, of noise: what is compared is known."""

import numpy as np

from pipelines.evaluation_cases import Case

RATE_HZ = 16000


def noise(seed: int, seconds: float = 1.0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).normal(size=round(seconds * RATE_HZ))).astype(np.float32)


def sample(task: str = "sr", num_targets: int = 1, seed: int = 0) -> Case:
    """The input is the sum of the targets and of something else."""
    targets = tuple(noise(seed + number) for number in range(num_targets))
    mixture = sum(targets) + 0.5 * noise(seed + 100)
    blank = ("",) * num_targets
    return Case(
        *(task, "d", f"key-{seed}", RATE_HZ, mixture, None, targets, None, blank, "", "speech", {"snr_db": "0 to 5 dB"}, "s0")
    )
