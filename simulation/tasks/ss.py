"""Speech separation: a mixture of two or three voices in, each of them out, in the order in which they begin to speak."""

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from simulation.acoustics.rooms import RoomRange
from simulation.bank import Bank
from simulation.degradation import PUBLISHED as PUBLISHED_DEGRADATIONS
from simulation.example import Clip, Example, Load, SourceError
from simulation.seeds import Rng, chance, uniform
from simulation.signals.levels import ACTIVE_FRAME_S, active_frames, db, from_int16
from simulation.signals.mixing import activity, finite, residual_db
from simulation.talkers.overlap import Extent, cut, extent, last
from simulation.talkers.voices import Mix, VoicesRange, draw_voices, mixed

FADE_S = 0.01  # where a voice is cut off in its speech
MARGIN_S = 0.1  # of what is fainter than active, kept before and after a voice that is not cut


@dataclass(frozen=True)
class Config(VoicesRange):
    """What may happen. Two or three voices with places of their own in one room; each is somebody else."""

    third_voice_probability: float = 0.3
    overlap_share: tuple[float, float] = (0.0, 1.0)
    """Time with two or more voices over time with any, from the first to the last active frame of each; ours."""
    full_overlap_probability: float = 0.3
    """Of a share of 1: at no time one voice alone; ours (the published mixtures are of whole 5 s crops)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.overlap_share[0] < 0 or self.overlap_share[1] > 1:
            raise ValueError(f"overlap_share is {self.overlap_share}: give bounds from 0 to 1")


PUBLISHED: dict[str, Any] = {
    "third_voice_probability": 0.0,
    "target": "direct",
    "rooms": RoomRange(measured_share=0.0),
    "degradations": PUBLISHED_DEGRADATIONS,
    "full_overlap_probability": 1.0,
}
PRESETS = {"published": Config(**PUBLISHED)}


class Scene(msgspec.Struct, frozen=True, omit_defaults=True):
    """What did happen. How much of each clip is heard, and when, follows from its pauses and the overlap asked for."""

    voices: tuple[Clip, ...]
    overlap_share: float
    lead_share: float  # of the time that is left, before the first voice
    mix: Mix


@dataclass(frozen=True)
class Laid:
    """A voice on the time line, float32 `(1, num_samples)`, and whether all that its clip says is heard."""

    audio: np.ndarray
    complete: bool


def draw(config: Config, bank: Bank, rng: Rng) -> Scene:
    """A scene from the ranges of `config`."""
    bank.require("speech", f"{rng.task} with {config.most_voices()} voices", config.most_voices())
    num_voices = config.num_voices(rng)
    full = chance(rng("overlap", "full"), config.full_overlap_probability)
    return Scene(
        voices=draw_voices(bank, rng, num_voices, config.duration_s),
        overlap_share=1.0 if full else uniform(rng("overlap"), config.overlap_share, digits=3),
        lead_share=uniform(rng("lead"), (0.0, 1.0), digits=3),
        mix=config.draw_mix(bank, rng, num_voices),
    )


def render(scene: Scene, load: Load) -> Example:
    """The scene as audio: `input`, targets `source1` ..., and stems: the voices with all of their room, where that differs."""
    mix = scene.mix
    laid = lay(scene, [load(clip) for clip in scene.voices])
    mixture = mixed(mix, scene.voices, [voice.audio for voice in laid], load)
    sources = {f"source{number}": target for number, target in enumerate(mixture.targets, 1)}
    voices = sources if mixture.whole else {f"speech{number}": voice for number, voice in enumerate(mixture.voices, 1)}
    noise = {} if mixture.noise is None else {"noise": mixture.noise}
    parts = voices | noise
    found = [activity(from_int16(source), mix.sample_rate_hz) for source in sources.values()]
    measured = mixture.measured | {f"source{number}_level_db": db(one.power) for number, one in enumerate(found, 1)}
    measured["active_share"] = float(np.any([one.frames for one in found], axis=0).mean())
    if not mix.effects:
        measured["stem_residual_db"] = residual_db(mixture.input, list(parts.values()))
    requested = mixture.requested | {"overlap_share": scene.overlap_share}
    said = enumerate(zip(scene.voices, laid, strict=True), 1)
    return Example(
        signals={"input": mixture.input} | sources,
        stems=noise if mixture.whole else parts,
        requested=finite(requested),
        measured=finite(measured),
        mixture_parts=() if mix.effects else tuple(parts),
        texts={f"transcript{number}": clip.text for number, (clip, voice) in said if clip.text and voice.complete},
    )


def lay(scene: Scene, voices: list[np.ndarray]) -> list[Laid]:
    """The voices `(1, samples)` cut and placed so that they overlap as asked. SourceError for one without an active frame."""
    mix = scene.mix
    frame = round(ACTIVE_FRAME_S * mix.sample_rate_hz)
    active = [_active(clip, voice, mix.sample_rate_hz) for clip, voice in zip(scene.voices, voices, strict=True)]
    whole = [extent(frames) for frames in active]
    num_frames = mix.num_samples // frame
    heard, times = cut(active, scene.overlap_share, num_frames)
    lead = round(scene.lead_share * (num_frames - last(times)))
    found = []
    for voice, part, full, (start, _) in zip(voices, heard, whole, times):
        margins = [MARGIN_S if a == b else FADE_S for a, b in zip(part, full)]
        audio = _placed(voice, (part[0] * frame, part[1] * frame), margins, (lead + start) * frame, mix)
        found.append(Laid(audio, complete=part == full))
    return found


def _active(clip: Clip, voice: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """The active frames but for the outermost, which fade in and out."""
    frames = active_frames(voice, sample_rate_hz)
    frames[[0, -1]] = False
    if not frames.any():
        detail = f"no active frame in {clip.num_frames} from {clip.start_frame} on"
        raise SourceError(clip.id, clip.path, "silent", detail)
    return frames


def _placed(voice: np.ndarray, part: Extent, margins_s: list[float], at_sample: int, mix: Mix) -> np.ndarray:
    """The samples `part` of a voice at a sample of the time line; what lies up to a margin on either side fades in and out."""
    left = mix.num_samples - at_sample - (part[1] - part[0])
    rooms = min(part[0], at_sample), min(voice.shape[1] - part[1], left)
    before, after = (max(min(round(margin_s * mix.sample_rate_hz), room), 0) for margin_s, room in zip(margins_s, rooms))
    piece = voice[:, part[0] - before : part[1] + min(after, left)].copy()
    fades = [min(round(FADE_S * mix.sample_rate_hz), margin) for margin in (before, after)]
    piece[:, : fades[0]] *= _ramp(fades[0])
    piece[:, piece.shape[1] - fades[1] :] *= _ramp(fades[1])[::-1]
    out = np.zeros((1, mix.num_samples), np.float32)
    out[:, at_sample - before : at_sample - before + piece.shape[1]] = piece[:, : mix.num_samples - at_sample + before]
    return out


def _ramp(num_samples: int) -> np.ndarray:
    return (np.arange(num_samples, dtype=np.float32) + np.float32(0.5)) / np.float32(max(num_samples, 1))
