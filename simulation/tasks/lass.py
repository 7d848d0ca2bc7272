"""Language-queried source separation: a mixture and a sentence in, the sound that the sentence describes out.

The sounds that a query names come first: `source1`, for a query of two also `source2`. The target is their sum, or for
"remove the ..." all the rest, background included. Sums are of the stored integers: `input` is the sum of its stems
and the target the sum of its own, to the last bit. A room is part of the target: this is separation, no dereverberation.
"""

import math
from dataclasses import dataclass, field
from functools import partial

import msgspec
import numpy as np

from simulation.acoustics.reverberation import Reverberated, reverberate
from simulation.acoustics.rooms import AnyRoom, RoomRange
from simulation.bank import Bank
from simulation.descriptions.distinct import Candidate, SourceRange, pick
from simulation.descriptions.queries import LANGUAGES, QueryKind, description, query
from simulation.example import Clip, Example, Load
from simulation.seeds import Rng, chance, integer, uniform
from simulation.signals.levels import (
    PEAK_LIMIT,
    db,
    from_int16,
    gain_for_ratio,
    joint_gain,
    round_gain,
    to_int16,
)
from simulation.signals.mixing import (
    Activity,
    Placed,
    activity,
    at_active_level,
    finite,
    placed,
    residual_db,
    summed,
    tiled,
    total,
)


@dataclass(frozen=True)
class QueryShares:
    """How often each kind of query is drawn, relative to the others."""

    caption: float = 0.4
    label: float = 0.3
    removal: float = 0.2
    pair: float = 0.1

    def __post_init__(self):
        shares = vars(self)
        if min(shares.values()) < 0 or not sum(shares.values()):
            raise ValueError(f"queries: shares are {shares}: none below 0, at least one above")


@dataclass(frozen=True)
class Config:
    """What may happen; a source role or a background that the corpus does not have is left out.

    AudioSep (arXiv 2308.05037, its configuration) trains on 2 clips at -10 to 10 dB; DCASE 2024 Task 9 scores at -15 to
    15 dB: the default covers the scored range, and more sources, kinds of query and backgrounds than either.
    """

    duration_s: float = 5.0
    num_sources: tuple[int, int] = (2, 4)
    """A query for two sources takes at least three."""
    snr_db: tuple[float, float] = (-15.0, 15.0)
    """Target over everything else, active levels."""
    balance_db: tuple[float, float] = (-6.0, 6.0)
    """Active level of each source among those on its side, target or rest."""
    overlap_probability: float = 0.8
    """A source sounds together with the first for at least half of the shorter one; otherwise it lies anywhere."""
    noise_probability: float = 0.25
    noise_db: tuple[float, float] = (-25.0, -5.0)
    """Active level of the background among the sources on its side."""
    reverberation_probability: float = 0.0
    level_db: tuple[float, float] = (-30.0, -16.0)
    """Active level of the mixture in dBFS, before the joint peak limit."""
    language: str = "en"
    sources: SourceRange = field(default_factory=SourceRange)
    queries: QueryShares = field(default_factory=QueryShares)
    rooms: RoomRange = field(default_factory=RoomRange)

    def __post_init__(self):
        low, high = self.num_sources
        if not 2 <= low <= high:
            raise ValueError(f"num_sources is {self.num_sources}: at least 2, and the second not below the first")
        if self.language not in LANGUAGES:
            raise ValueError(f"language is {self.language!r}: there are wordings for {', '.join(LANGUAGES)}")


PRESETS = {
    "published": Config(
        num_sources=(2, 2),
        snr_db=(-10.0, 10.0),
        noise_probability=0.0,
        reverberation_probability=0.0,
        queries=QueryShares(caption=1.0, label=0.0, removal=0.0, pair=0.0),
    )
}


class Source(msgspec.Struct, frozen=True):
    """A sound of the mixture and its level among those on its side."""

    placed: Placed
    level_db: float


class Scene(msgspec.Struct, frozen=True, omit_defaults=True):
    """What did happen."""

    sample_rate_hz: int
    num_samples: int
    query_kind: QueryKind
    query: str
    target_caption: str
    mixture_caption: str
    sources: tuple[Source, ...]
    snr_db: float
    level_db: float
    room: AnyRoom | None = None
    noise: Clip | None = None
    noise_db: float = 0.0

    @property
    def num_named(self) -> int:
        """How many sources the query names, the first ones."""
        return 2 if self.query_kind == "pair" else 1


def draw(config: Config, bank: Bank, rng: Rng) -> Scene:
    """A scene from the ranges of `config` in which the query fits no sound but its own."""
    rate, num_samples = bank.sample_rate_hz, round(config.duration_s * bank.sample_rate_hz)
    query_words, places, levels = rng("query"), rng("places"), rng("levels")
    kind = pick(query_words, vars(config.queries))
    num_sources = integer(query_words, config.num_sources)
    chosen = config.sources.draw(bank, rng, max(num_sources, 3) if kind == "pair" else num_sources)
    clips = [bank.clip(places, candidate.row, config.duration_s) for candidate in chosen]
    noise = room = None
    if bank.has("noise") and chance(rng("noise", "happens"), config.noise_probability):
        background = config.sources.draw_noise(bank, rng, chosen)
        noise = bank.clip(rng("noise", "clip"), background.row, config.duration_s) if background else None
    if chance(rng("room", "happens"), config.reverberation_probability):
        room = config.rooms.draw(rng, bank, num_sources=len(clips))
    return Scene(
        sample_rate_hz=rate,
        num_samples=num_samples,
        **_texts(kind, config, chosen, [*clips, *([noise] if noise else [])], query_words),
        snr_db=uniform(levels, config.snr_db, digits=2),
        level_db=uniform(levels, config.level_db, digits=2),
        sources=tuple(
            Source(place, uniform(levels, config.balance_db, digits=2))
            for place in _places(places, clips, config.overlap_probability, (num_samples, rate))
        ),
        room=room,
        noise=noise,
        noise_db=uniform(levels, config.noise_db, digits=2) if noise else 0.0,
    )


def _texts(kind: QueryKind, config: Config, chosen: list[Candidate], clips: list[Clip], generator: np.random.Generator) -> dict:
    """The scene's query and captions; `clips` are those of the sources and then, if there is one, of the background."""
    wordings = LANGUAGES[config.language]
    voices = [candidate.voice for candidate in chosen] + [""] * (len(clips) - len(chosen))
    told = list(zip(clips, voices, strict=True))
    named = told[: 2 if kind == "pair" else 1]
    used, words = query(kind, named, wordings, generator)
    target = told[1:] if used == "removal" else named
    return {
        "query_kind": used,
        "query": words,
        "target_caption": description(target, wordings),
        "mixture_caption": description(told, wordings),
    }


def _places(
    generator: np.random.Generator, clips: list[Clip], overlap_probability: float, length: tuple[int, int]
) -> list[Placed]:
    """Where each clip starts in an example of `length` (samples, sample rate): most sound together with the first."""
    num_samples, rate = length
    places = [placed(generator, clips[0], num_samples, rate)]
    first, first_samples = places[0].at_sample, min(clips[0].num_samples(rate), num_samples)
    for clip in clips[1:]:
        samples = min(clip.num_samples(rate), num_samples)
        if not chance(generator, overlap_probability):
            places.append(placed(generator, clip, num_samples, rate))
            continue
        shared = min(first_samples, samples) // 2
        earliest = max(first - samples + shared, 0)
        latest = min(first + first_samples - shared, num_samples - samples)
        places.append(Placed(clip, integer(generator, (earliest, latest))))
    return places


def render(scene: Scene, load: Load) -> Example:
    """The scene as audio: `input`, `target`, and the sources and noise whose sum is the input."""
    rate = scene.sample_rate_hz
    parts, room = _parts(scene, load)
    stems = _stored(parts, scene)
    named, others = _sides(stems, scene)
    wanted = others if scene.query_kind == "removal" else named
    rest = named if wanted is others else others
    whole = summed(list(stems.values()))
    signals = {"input": whole, "target": stems[wanted[0]] if len(wanted) == 1 else summed([stems[name] for name in wanted])}
    heard = {name: activity(from_int16(stem), rate) for name, stem in stems.items()}
    target = heard[wanted[0]] if len(wanted) == 1 else activity(from_int16(signals["target"]), rate)
    other = heard[rest[0]] if len(rest) == 1 else activity(from_int16(whole - signals["target"]), rate)
    measured = {
        **room.measured,
        **_beside(target, other),
        **{f"{name}_level_db": db(found.power) for name, found in heard.items()},
        "stem_residual_db": residual_db(whole, list(stems.values())),
        "lag_samples": 0,  # the target is made of the very stems that the input is made of: nothing comes between them
    }
    requested = {**room.requested, "snr_db": scene.snr_db, "lag_samples": 0}
    texts = {"caption": scene.query, "target_caption": scene.target_caption, "mixture_caption": scene.mixture_caption}
    same = wanted[0] if len(wanted) == 1 else ""
    mixture_parts = tuple("target" if name == same else name for name in stems)
    stems.pop(same, None)  # it is the target
    return Example(signals, stems, finite(requested), finite(measured), mixture_parts, texts)


def _sides(parts: dict[str, np.ndarray], scene: Scene) -> tuple[list[str], list[str]]:
    """The names of the parts that the query names, and of all others."""
    names = list(parts)
    return names[: scene.num_named], names[scene.num_named :]


def _parts(scene: Scene, load: Load) -> tuple[dict[str, np.ndarray], Reverberated]:
    """Each source as heard, and the background, at the level that it has on its side."""
    rate, num_samples = scene.sample_rate_hz, scene.num_samples
    dry = [source.placed.audio(partial(_at_level, load, source.level_db, rate), num_samples, rate) for source in scene.sources]
    room = reverberate(dry, scene.room, "reverberant", load, rate)
    parts = {f"source{number}": heard.wet for number, heard in enumerate(room.sources, 1)}
    if scene.noise:
        parts["noise"] = tiled(_at_level(load, scene.noise_db, rate, scene.noise), num_samples, rate)
    return parts, room


def _at_level(load: Load, level_db: float, sample_rate_hz: int, clip: Clip) -> np.ndarray:
    """The clip at this active level; SourceError if it is as good as silent."""
    return at_active_level(load(clip), clip, level_db, sample_rate_hz)


def _stored(parts: dict[str, np.ndarray], scene: Scene) -> dict[str, np.ndarray]:
    """The parts at the scene's SNR and level as int16, under one gain that lets no sum of them clip. They are scaled in place:
    at 48 kHz fresh memory costs more than the product."""
    rate, above_db = scene.sample_rate_hz, -scene.snr_db if scene.query_kind == "removal" else scene.snr_db
    named, others = (_and_sum([parts[name] for name in side]) for side in _sides(parts, scene))
    balance = gain_for_ratio(named[-1], others[-1], above_db, rate)
    mixture = others[-1] * np.float32(balance)
    mixture += named[-1]
    loud = 10 ** (scene.level_db / 20) / math.sqrt(activity(mixture, rate).power)
    limit = PEAK_LIMIT / loud
    loud *= min(joint_gain([mixture, *named], limit), joint_gain(others, limit / balance))
    for number, part in enumerate(parts.values()):
        part *= np.float32(round_gain(loud if number < scene.num_named else loud * balance))
    return {name: to_int16(part) for name, part in parts.items()}


def _and_sum(signals: list[np.ndarray]) -> list[np.ndarray]:
    """The signals and, last, their sum; a single one is its own."""
    return signals if len(signals) == 1 else [*signals, total(signals)]


def _beside(target: Activity, rest: Activity) -> dict[str, float]:
    """What the stored target is beside the stored rest. `overlap_share` is that of the target's active frames in which
    something else sounds, too; `active_share` that of all frames in which the target does."""
    return {
        "snr_db": db(target.power / rest.power) if rest.power else 200.0,
        "target_level_db": db(target.power),
        "active_share": float(target.frames.mean()),
        "overlap_share": float((target.frames & rest.frames).sum() / max(target.frames.sum(), 1)),
    }
