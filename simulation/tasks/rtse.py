"""Reverse target speaker extraction: a mixture and an enrolment of one voice in, whoever else speaks out."""

from dataclasses import dataclass, replace

import msgspec

from simulation.bank import Bank
from simulation.seeds import Rng
from simulation.tasks import tse
from simulation.tasks.tse import Scene, render

__all__ = ["PRESETS", "Config", "Scene", "draw", "render"]


@dataclass(frozen=True)
class Config(tse.Config):
    """What may happen: as in tse, with two voices, so that the other one is one."""

    third_voice_probability: float = 0.0


PRESETS = {"published": Config(**tse.PUBLISHED)}


def draw(config: Config, bank: Bank, rng: Rng) -> Scene:
    """The scene that tse has under this seed and index, asked the other way round: both targets and the noise are its input."""
    return msgspec.structs.replace(tse.draw(config, bank, replace(rng, task="tse")), reverse=True)
