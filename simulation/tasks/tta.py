"""Text to audio: a caption in and the sound, the music or some sounds in order out; a transcript in and speech out.

There is no `input`. Speech is the whole utterance, for a cut one has another text, and may come with a `reference`, another
utterance of the speaker whose voice it is to have.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import numpy as np

from simulation.bank import Bank
from simulation.distinct import Candidate, SourceRange, pick
from simulation.event_captions import LANGUAGES, clause, plain, scene_caption, sentence
from simulation.event_layout import GAP_S, Frame, in_sequence
from simulation.events import MIN_ACTIVE_S, Part, at_level, cut, order_share
from simulation.example import Clip, Example, Load, SourceError
from simulation.levels import ACTIVE_FRAME_S, PEAK_LIMIT, db, from_int16, joint_gain, round_gain, to_int16
from simulation.mixing import activity, finite
from simulation.queries import captions
from simulation.seeds import Rng, chance, integer, uniform

Kind = Literal["event", "music", "events", "speech"]
ROLE = {"event": "event", "music": "music", "events": "event", "speech": "speech"}
TRIES = 64
MAX_CHARACTERS_PER_S = 40.0  # twice the fastest reading: beyond, it is not this text, or not all of the sound


@dataclass(frozen=True)
class KindShares:
    """How often each kind is drawn, relative to the others; one that the corpus does not have is left out."""

    event: float = 0.35
    music: float = 0.15
    events: float = 0.25
    """Two or more in one target."""
    speech: float = 0.25

    def __post_init__(self):
        shares = vars(self)
        if min(shares.values()) < 0 or not sum(shares.values()):
            raise ValueError(f"kinds: shares are {shares}: none below 0, at least one above")


@dataclass(frozen=True)
class Config:
    """What may happen; all ours, for the published system has announced this task only."""

    duration_s: float = 10.0
    """Of a target of sounds or music, at most; a shorter file is not padded."""
    utterance_s: tuple[float, float] = (1.0, 15.0)
    """Utterances that serve, from shortest to longest."""
    num_events: tuple[int, int] = (2, 3)
    """Where a target is made of several."""
    together_probability: float = 0.3
    """Of two sounds at the same time; otherwise one comes after the other."""
    gap_s: tuple[float, float] = (0.2, 1.0)
    """Silence between sounds in sequence."""
    balance_db: tuple[float, float] = (-5.0, 5.0)
    """Active level of each of several sounds among the others."""
    level_db: tuple[float, float] = (-23.0, -23.0)
    """Active level of target and reference in dBFS, before the peak limit: no text says how loud, so one level for all."""
    reference_probability: float = 0.5
    """Of speech in the voice of a reference, where the speaker has another utterance."""
    reference_s: float = 5.0
    """Longest stretch of the reference."""
    language: str = "en"
    kinds: KindShares = field(default_factory=KindShares)

    def __post_init__(self):
        for name, value in vars(self).items():
            if isinstance(value, tuple) and not value[0] <= value[1]:
                raise ValueError(f"{name} is {value}: give the lower bound first")
            if name.endswith("_probability") and not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}: give 0 to 1")
        if self.num_events[0] < 2 or self.gap_s[0] < GAP_S:
            raise ValueError(f"num_events is {self.num_events}, gap_s {self.gap_s}: at least 2, and {GAP_S}")
        if self.duration_s < self.num_events[1] * (0.5 + self.gap_s[1]):
            raise ValueError(f"duration_s is {self.duration_s}: too short for {self.num_events[1]} sounds {self.gap_s[1]} s apart")
        if self.language not in LANGUAGES:
            raise ValueError(f"language is {self.language!r}: there are wordings for {', '.join(LANGUAGES)}")


class Sound(msgspec.Struct, frozen=True, omit_defaults=True):
    """A clip from one sample of the target on, and its active level among the others."""

    clip: Clip
    start: int = 0
    level_db: float = 0.0


class Scene(msgspec.Struct, frozen=True, omit_defaults=True):
    """What did happen. `text` is a transcript for speech and a caption for all else."""

    sample_rate_hz: int
    num_samples: int
    kind: Kind
    text: str
    sounds: tuple[Sound, ...]
    level_db: float
    together: bool = False
    reference: Clip | None = None


def draw(config: Config, bank: Bank, rng: Rng) -> Scene:
    """A scene from the ranges of `config`. ValueError if the corpus has nothing of the kinds asked for."""
    shares = {kind: share for kind, share in vars(config.kinds).items() if share and bank.has(ROLE[kind])}
    if not shares:
        wanted = sorted({ROLE[kind] for kind, share in vars(config.kinds).items() if share})
        raise ValueError(f"tta needs {' or '.join(wanted)}, this split of the corpus has none: add such files")
    kind = pick(rng("kind"), shares)
    make = {"events": _several, "speech": _utterance}.get(kind, _single)
    return make(config, bank, rng, kind)


def _single(config: Config, bank: Bank, rng: Rng, kind: Kind) -> Scene:
    """One sound or piece of music, the whole file or as much of it as is allowed."""
    generator = rng("sound")
    for _ in range(TRIES):
        row = bank.row(generator, ROLE[kind], bank.group(generator, ROLE[kind]))
        clip = cut(bank, generator, row, config.duration_s)
        text = _told(clip, bank.value(row, "num_frames"), config)
        if text:
            return _scene(config, bank, rng, kind, sentence(text), (Sound(clip),))
    raise ValueError(f"tta: none of {TRIES} files of {ROLE[kind]} has a caption or label: fill these columns of the manifest")
