"""Target speaker extraction: a mixture and an enrolment of one voice in, that voice out (silence if it is not there)."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from simulation.acoustics.rooms import RoomRange
from simulation.bank import Bank
from simulation.degradation import PUBLISHED as PUBLISHED_DEGRADATIONS
from simulation.example import Example, Load
from simulation.seeds import Rng, chance
from simulation.signals.levels import db, from_int16
from simulation.signals.mixing import Placed, activity, finite, placed, residual_db, summed
from simulation.talkers.enrolment import Enrolment, EnrolmentRange, enrol
from simulation.talkers.voices import Mix, Mixture, VoicesRange, draw_voices, mixed


@dataclass(frozen=True)
class Config(VoicesRange):
    """What may happen. Two or three voices with places of their own in one room; each is somebody else."""

    absent_probability: float = 0.05
    """Of an enrolled speaker who does not speak, so that silence is the answer; ours."""
    enrolment: EnrolmentRange = field(default_factory=EnrolmentRange)


PUBLISHED: dict[str, Any] = {
    "third_voice_probability": 0.0,
    "target": "direct",
    "rooms": RoomRange(measured_share=0.0),
    "degradations": PUBLISHED_DEGRADATIONS,
    "absent_probability": 0.0,
    "enrolment": EnrolmentRange(damaged_probability=0.0),
}
PRESETS = {"published": Config(**PUBLISHED)}


class Scene(msgspec.Struct, frozen=True, omit_defaults=True):
    """What did happen. The enrolled speaker is the first of `voices`, or `absent`; `reverse` asks for all the others."""

    voices: tuple[Placed, ...]
    enrolment: Enrolment
    mix: Mix
    absent: bool = False
    reverse: bool = False


def draw(config: Config, bank: Bank, rng: Rng) -> Scene:
    """A scene from the ranges of `config`; the enrolment is another file of the speaker than the one in the mixture."""
    _require(config, bank, rng.task)
    num_voices, absent = config.num_voices(rng), chance(rng("absent"), config.absent_probability)
    generator = rng("enrolled")
    group = bank.group(generator, "speech", min_clips=2, exclude=("",))
    row = bank.row(generator, "speech", group)
    other_row = bank.row(generator, "speech", group, exclude={row})
    speaker = str(bank.members["speech"].names[group])
    own = () if absent else (bank.clip(generator, row, config.duration_s),)
    clips = own + draw_voices(bank, rng, num_voices - len(own), config.duration_s, exclude=(speaker,))
    mix = config.draw_mix(bank, rng, num_voices)
    return Scene(
        voices=tuple(placed(rng("place", n), clip, mix.num_samples, mix.sample_rate_hz) for n, clip in enumerate(clips)),
        enrolment=config.enrolment.draw(bank, rng, other_row, config.rooms),
        mix=mix,
        absent=absent,
    )


def _require(config: Config, bank: Bank, task: str) -> None:
    """ValueError unless the corpus has enough speakers, and one with an utterance to spare for the enrolment."""
    absent = " and an absent speaker" if config.absent_probability else ""
    voices = config.most_voices()
    bank.require("speech", f"{task} with {voices} voices{absent}", voices + bool(absent))
    if bank.members["speech"].sizes().max(initial=0) < 2:
        raise ValueError(
            f"{task} needs a speaker with at least 2 speech files, one for the mixture and one as enrolment; in this split of"
            " the corpus every speaker has 1: add files of the same speakers, or choose another --split"
        )


def render(scene: Scene, load: Load) -> Example:
    """The scene as audio: `input`, `target`, `reference`, and stems whose sum is the input unless the channel damaged it."""
    mix = scene.mix
    dry = [voice.audio(load, mix.num_samples, mix.sample_rate_hz) for voice in scene.voices]
    mixture = mixed(mix, [voice.clip for voice in scene.voices], dry, load)
    enrolled = enrol(scene.enrolment, load, mix.sample_rate_hz)
    before, after = slice(0 if scene.absent else 1), slice(0 if scene.absent else 1, None)
    asked, rest = (after, before) if scene.reverse else (before, after)
    target = _together(mixture.targets[asked], mixture)
    stems = {} if mixture.whole else {"speech": _together(mixture.voices[asked], mixture)}
    stems |= {f"interference{number}": voice for number, voice in enumerate(mixture.voices[rest], 1)}
    stems |= {} if mixture.noise is None else {"noise": mixture.noise}
    signals = {"input": mixture.input, "target": target, "reference": enrolled.audio}
    parts = {"target": target} | stems if mixture.whole else stems
    requested, measured = _labels(scene, mixture, target)
    if not mix.effects:
        measured["stem_residual_db"] = residual_db(mixture.input, list(parts.values()))
    texts = _texts(scene.voices[asked])
    requested, measured = finite(requested | enrolled.requested), finite(measured | enrolled.measured)
    return Example(signals, stems, requested, measured, () if mix.effects else tuple(parts), texts)


def _together(parts: list[np.ndarray], mixture: Mixture) -> np.ndarray:
    """The voices asked for as one signal; silence for none."""
    return summed(parts) if parts else np.zeros_like(mixture.input)


def _labels(scene: Scene, mixture: Mixture, target: np.ndarray) -> tuple[dict[str, float], dict[str, float]]:
    """SIRs are those of the target over the interference, and between the others where the enrolled speaker is absent."""
    requested, measured = dict(mixture.requested), dict(mixture.measured)
    if scene.reverse and not scene.absent:
        for labels in (requested, measured):
            labels |= {name: -value for name, value in labels.items() if name.startswith("sir")}
    found = activity(from_int16(target), scene.mix.sample_rate_hz)
    measured |= {"target_level_db": db(found.power), "active_share": float(found.frames.mean())}
    if scene.reverse:
        measured["enrolled_absent"] = float(scene.absent)
    else:
        requested["target_absent"] = float(scene.absent)
        measured["target_absent"] = float(not target.any())
    return requested, measured


def _texts(asked: tuple[Placed, ...]) -> dict[str, str]:
    """What is said in the target, where it is one voice with a known text."""
    texts = [voice.clip.text for voice in asked]
    return {"transcript": texts[0]} if len(texts) == 1 and texts[0] else {}
