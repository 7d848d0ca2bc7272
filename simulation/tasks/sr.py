"""Speech restoration: a voice in a room with noise, another voice and a damaged channel in, the clean voice out."""

from dataclasses import dataclass, field

import msgspec

from simulation.acoustics.rooms import RoomRange
from simulation.bank import Bank
from simulation.degradation import PUBLISHED as PUBLISHED_DEGRADATIONS
from simulation.degradation import Degradations
from simulation.example import Example, Load
from simulation.seeds import Rng, chance
from simulation.signals.levels import db, from_int16
from simulation.signals.mixing import Placed, activity, finite, placed, residual_db
from simulation.talkers.voices import Mix, MixRange, mixed


@dataclass(frozen=True)
class Config(MixRange):
    """What may happen: the published recipe (UniSE, arXiv 2510.20441) and, where that is weak, ours."""

    interferer_probability: float = 0.2
    """Of another speaker, at another place of the same room."""
    sir_db: tuple[float, float] = (2.0, 20.0)
    degradations: Degradations = field(default_factory=Degradations)


PRESETS = {"published": Config(target="direct", rooms=RoomRange(measured_share=0.0), degradations=PUBLISHED_DEGRADATIONS)}


class Scene(msgspec.Struct, frozen=True, omit_defaults=True):
    """What did happen. The first of `voices` is to be restored, a second one interferes."""

    voices: tuple[Placed, ...]
    mix: Mix


def draw(config: Config, bank: Bank, rng: Rng) -> Scene:
    """A scene from the ranges of `config`."""
    bank.require("speech", rng.task)
    clips = [bank.draw(rng("voice"), "speech", config.duration_s)]
    if chance(rng("interferer", "happens"), config.interferer_probability):
        bank.require("speech", f"{rng.task} with an interfering voice", 2)
        clips.append(bank.draw(rng("interferer"), "speech", config.duration_s, exclude=(clips[0].speaker,)))
    mix = config.draw_mix(bank, rng, len(clips))
    places = (placed(rng("place", n), clip, mix.num_samples, mix.sample_rate_hz) for n, clip in enumerate(clips))
    return Scene(tuple(places), mix)


def render(scene: Scene, load: Load) -> Example:
    """The scene as audio: `input`, `target`, and stems whose sum is the input unless the channel damaged it."""
    mix = scene.mix
    dry = [voice.audio(load, mix.num_samples, mix.sample_rate_hz) for voice in scene.voices]
    mixture = mixed(mix, [voice.clip for voice in scene.voices], dry, load)
    target = mixture.targets[0]
    stems = {} if mixture.whole else {"speech": mixture.voices[0]}
    stems |= dict(zip(("interference",), mixture.voices[1:], strict=False))
    stems |= {} if mixture.noise is None else {"noise": mixture.noise}
    parts = {"target": target} | stems if mixture.whole else stems
    found = activity(from_int16(target), mix.sample_rate_hz)
    measured = mixture.measured | {"target_level_db": db(found.power), "active_share": float(found.frames.mean())}
    if not mix.effects:
        measured["stem_residual_db"] = residual_db(mixture.input, list(parts.values()))
    text = scene.voices[0].clip.text
    return Example(
        signals={"input": mixture.input, "target": target},
        stems=stems,
        requested=finite(mixture.requested),
        measured=finite(measured),
        mixture_parts=() if mix.effects else tuple(parts),
        texts={"transcript": text} if text else {},
    )
