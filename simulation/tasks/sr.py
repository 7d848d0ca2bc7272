"""Speech restoration: a voice in a room with noise, another voice and a damaged channel in, the clean voice out."""

from dataclasses import dataclass, field
import msgspec
import numpy as np

from simulation.bank import Bank
from simulation.degradation import PUBLISHED as PUBLISHED_DEGRADATIONS
from simulation.degradation import Degradations, Effect, apply
from simulation.example import Clip, Example, Load
from simulation.levels import active_frames, at_level, db, active_power, from_int16, gain_for_ratio, ratio_db
from simulation.mixing import Placed, finite, lag_samples, placed, residual_db, stored, tiled, total
from simulation.reverberation import TargetKind, reverberate
from simulation.rooms import AnyRoom, RoomRange
from simulation.seeds import Rng, chance, uniform


@dataclass(frozen=True)
class Config:
    """What may happen. Defaults are the published recipe (UniSE, arXiv 2510.20441) and, where it is weak, ours."""

    duration_s: float = 5.0
    interferer_probability: float = 0.2
    sir_db: tuple[float, float] = (2.0, 20.0)
    """Voice over interfering voice, active levels."""
    reverberation_probability: float = 0.3
    noise_probability: float = 0.8
    snr_db: tuple[float, float] = (-5.0, 20.0)
    """Everything said, reverberation included, over noise, active levels."""
    level_db: tuple[float, float] = (-36.0, -16.0)
    """Active level of the target in dBFS, before the joint peak limit."""
    target: TargetKind = "early"
    rooms: RoomRange = field(default_factory=RoomRange)
    degradations: Degradations = field(default_factory=Degradations)


PRESETS = {"published": Config(target="direct", rooms=RoomRange(measured_share=0.0), degradations=PUBLISHED_DEGRADATIONS)}


class Scene(msgspec.Struct, frozen=True, omit_defaults=True):
    """What did happen."""

    sample_rate_hz: int
    num_samples: int
    voice: Placed
    level_db: float
    target: TargetKind
    interferer: Placed | None = None
    sir_db: float = 0.0
    room: AnyRoom | None = None
    noise: Clip | None = None
    snr_db: float = 0.0
    effects: tuple[Effect, ...] = ()


def draw(config: Config, bank: Bank, rng: Rng) -> Scene:
    """A scene from the ranges of `config`; the interferer is another speaker at another place of the same room."""
    bank.require("speech", "sr")
    rate = bank.sample_rate_hz
    num_samples = round(config.duration_s * rate)
    voice = bank.draw(rng("voice"), "speech", config.duration_s)
    interferer = noise = room = None
    if chance(rng("interferer", "happens"), config.interferer_probability):
        bank.require("speech", "sr with an interfering voice", 2)
        clip = bank.draw(rng("interferer"), "speech", config.duration_s, exclude=(voice.speaker,))
        interferer = placed(rng("interferer", "place"), clip, num_samples, rate)
    if chance(rng("noise", "happens"), config.noise_probability):
        bank.require("noise", "sr with noise")
        noise = bank.draw(rng("noise"), "noise", config.duration_s)
    if chance(rng("room", "happens"), config.reverberation_probability):
        room = config.rooms.draw(rng, bank, num_sources=2 if interferer else 1)
    return Scene(
        sample_rate_hz=rate,
        num_samples=num_samples,
        voice=placed(rng("voice", "place"), voice, num_samples, rate),
        level_db=uniform(rng("level"), config.level_db, digits=2),
        target=config.target if room else "reverberant",
        interferer=interferer,
        sir_db=uniform(rng("sir"), config.sir_db, digits=2) if interferer else 0.0,
        room=room,
        noise=noise,
        snr_db=uniform(rng("snr"), config.snr_db, digits=2) if noise else 0.0,
        effects=config.degradations.draw(rng, rate, num_samples),
    )


def render(scene: Scene, load: Load) -> Example:
    """The scene as audio: `input` and `target`, stems whose sum is the mixture before the channel damages it."""
    stems, target, room = _stems(scene, load)
    mixture = total(list(stems.values()))
    damaged, effect_labels = apply(scene.effects, mixture, scene.sample_rate_hz)
    audio = stored({"input": damaged, "target": target, "mixture": mixture, **stems})
    mixture = audio.pop("mixture")
    signals = {"input": audio.pop("input"), "target": audio.pop("target")}
    requested, measured = _levels(scene, audio)
    measured |= {
        **room.measured,
        **effect_labels.measured,
        "stem_residual_db": residual_db(mixture, list(audio.values())),
        "lag_samples": _lag(scene, signals, audio, mixture),
        "target_level_db": db(active_power(from_int16(signals["target"]), scene.sample_rate_hz)),
        "active_share": float(active_frames(from_int16(signals["target"]), scene.sample_rate_hz).mean()),
    }
    requested |= {**room.requested, **effect_labels.requested, "lag_samples": 0}
    texts = {"transcript": scene.voice.clip.text} if scene.voice.clip.text else {}
    parts = tuple("target" if name == "speech" and not scene.room else name for name in audio)
    if scene.room is None:
        del audio["speech"]  # it is the target
    return Example(signals, audio, finite(requested), finite(measured), () if scene.effects else parts, texts)


def _stems(scene: Scene, load: Load):
    """The parts of the mixture by name, the target, and what the room did."""
    rate, num_samples = scene.sample_rate_hz, scene.num_samples
    dry = [at_level(scene.voice.audio(load, num_samples, rate), scene.level_db, rate)]
    if scene.interferer:
        dry.append(scene.interferer.audio(load, num_samples, rate))
    room = reverberate(dry, scene.room, scene.target, load, rate)
    stems = {"speech": room.sources[0].wet}
    if scene.interferer:
        other = room.sources[1].wet
        stems["interference"] = other * np.float32(gain_for_ratio(stems["speech"], other, scene.sir_db, rate))
    if scene.noise:
        noise = tiled(load(scene.noise), num_samples, rate)
        stems["noise"] = noise * np.float32(gain_for_ratio(total(list(stems.values())), noise, scene.snr_db, rate))
    return stems, room.sources[0].target, room


def _levels(scene: Scene, stems: dict[str, np.ndarray]) -> tuple[dict[str, float], dict[str, float]]:
    """SIR and SNR, requested and as found in the stored stems."""
    requested, measured = {}, {}
    audio = {name: from_int16(stem) for name, stem in stems.items()}
    if scene.interferer:
        requested["sir_db"] = scene.sir_db
        measured["sir_db"] = ratio_db(audio["speech"], audio["interference"], scene.sample_rate_hz)
    if scene.noise:
        said = [audio[name] for name in ("speech", "interference") if name in audio]
        requested["snr_db"] = scene.snr_db
        measured["snr_db"] = ratio_db(total(said), audio["noise"], scene.sample_rate_hz)
    return requested, measured


def _lag(scene: Scene, signals: dict, stems: dict, mixture: np.ndarray) -> int:
    """The larger delay of the two steps that could bring one in: the room and the channel."""
    lags = [0]
    if scene.room:
        lags.append(lag_samples(stems["speech"], signals["target"]))
    if scene.effects:
        lags.append(lag_samples(signals["input"], mixture))
    return max(lags, key=abs)
