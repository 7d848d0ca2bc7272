"""Text to audio: a caption in and the sound, the music or some sounds in order out; a transcript in and speech out.

There is no `input`. Speech is the whole utterance, for a cut one has another text, and may come with a `reference`, another
utterance of the speaker whose voice it is to have.
"""

import math
import re
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec
import numpy as np

from simulation.bank import Bank
from simulation.descriptions.distinct import SourceRange, pick
from simulation.events.captions import LANGUAGES, CaptionWordings, clause, new_sounds, plain, scene_caption, sentence
from simulation.events.layout import GAP_S
from simulation.events.timeline import Part, at_level, cut, levelled, order_share, stored_activity
from simulation.example import Clip, Example, Load, SourceError
from simulation.seeds import Rng, chance, integer, uniform
from simulation.signals.levels import PEAK_LIMIT, db, joint_gain, round_gain, to_int16
from simulation.signals.mixing import activity, finite

Kind = Literal["event", "music", "events", "speech"]
ROLE = {"event": "event", "music": "music", "events": "event", "speech": "speech"}
EVENTS = SourceRange(event=1.0, speech=0.0, music=0.0)
TRIES = 64
SEARCHED = 4096  # utterances looked at where so many tries found none
MIN_TOGETHER = 0.5  # of the one with less sound, where a caption says "while"
MAX_CHARACTERS_PER_S = 40.0  # twice the fastest reading: such a sound is not that of the text, or not all of it


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
            raise ValueError(
                f"duration_s is {self.duration_s}: too short for {self.num_events[1]} sounds {self.gap_s[1]} s apart"
            )
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
    generator, role = rng("sound"), ROLE[kind]
    for _ in range(TRIES):
        row = bank.row(generator, role, bank.group(generator, role))
        clip = cut(bank, generator, row, config.duration_s)
        text = _told(clip, clip.num_frames == bank.value(row, "num_frames"), LANGUAGES[config.language])
        if text:
            return _scene(config, bank, rng, kind, text=sentence(text), sounds=(Sound(clip),))
    raise ValueError(
        f"tta: {TRIES} files of {role} have neither a label nor a caption that holds for what is used of them: fill these"
        " columns of the corpus manifest"
    )


def _told(clip: Clip, whole: bool, wordings: CaptionWordings) -> str:
    """The clip in words. Of a cut file, a caption with "then" and the like may tell of what was cut off: its class serves."""
    said = clip.caption.strip()
    return said if said and (whole or plain(said)) else (new_sounds(clip, "", wordings) or ("",))[0]


def _several(config: Config, bank: Bank, rng: Rng, kind: Kind) -> Scene:
    """Some sounds, one after another or, of two, at the same time, that nobody takes for each other."""
    generator, wordings = rng("several"), LANGUAGES[config.language]
    together = chance(generator, config.together_probability)
    count = 2 if together else integer(generator, config.num_events)
    longest_s = config.duration_s if together else config.duration_s / count - config.gap_s[1]
    for attempt in range(TRIES):
        chosen = EVENTS.draw(bank, replace(rng, task=f"{rng.task} {attempt}") if attempt else rng, count)
        clips = [cut(bank, generator, one.row, longest_s) for one in chosen]
        if all(plain(clause(clip, "", wordings)) for clip in clips):
            break
    else:
        raise ValueError(
            f"tta: in {TRIES} choices of {count} sounds one had neither a caption of one plain clause nor a label: fill the"
            " column `label` of the corpus manifest"
        )
    starts = _starts([clip.num_samples(bank.sample_rate_hz) for clip in clips], together, (config, bank, generator))
    order = sorted(zip(starts, clips, strict=True), key=lambda pair: pair[0])
    joint = _one(wordings.together if together else wordings.then, generator)
    return _scene(
        config,
        bank,
        rng,
        kind,
        text=scene_caption([(clip, "") for _, clip in order], joint, None, wordings),
        sounds=tuple(Sound(clip, start, uniform(generator, config.balance_db, digits=2)) for start, clip in order),
        together=together,
    )


def _starts(lengths: list[int], together: bool, drawing: tuple[Config, Bank, np.random.Generator]) -> list[int]:
    """The shorter one anywhere within the longer, or one after another with gaps."""
    config, bank, generator = drawing
    if together:
        return [integer(generator, (0, max(lengths) - length)) for length in lengths]
    starts = [0]
    for length in lengths[:-1]:
        starts.append(starts[-1] + length + round(uniform(generator, config.gap_s) * bank.sample_rate_hz))
    return starts


def _utterance(config: Config, bank: Bank, rng: Rng, kind: Kind) -> Scene:
    """A whole utterance with its transcript, with or without another one of its speaker."""
    group, row = _with_text(config, bank, rng("utterance"))
    clip = bank.clip(rng("utterance", "clip"), row, config.utterance_s[1])
    reference, others = None, [other for other in bank.members["speech"].of(group) if other != row]
    if clip.speaker and others and chance(rng("reference", "happens"), config.reference_probability):
        generator = rng("reference")
        other = int(others[integer(generator, (0, len(others) - 1))])
        reference = msgspec.structs.replace(bank.clip(generator, other, config.reference_s), text="")
    return _scene(config, bank, rng, kind, text=_written(clip.text), sounds=(Sound(clip),), reference=reference)


def _with_text(config: Config, bank: Bank, generator: np.random.Generator) -> tuple[int, int]:
    """A speaker's group and a row of it with a transcript and of a length that serves."""
    for _ in range(TRIES):
        group = bank.group(generator, "speech")
        row = bank.row(generator, "speech", group)
        if _serves(config, bank, row):
            return group, row
    members = bank.members["speech"]
    for place in generator.permutation(len(members.rows))[:SEARCHED]:
        if _serves(config, bank, int(members.rows[place])):
            return int(np.searchsorted(members.starts, place, side="right")) - 1, int(members.rows[place])
    low, high = config.utterance_s
    raise ValueError(
        f"tta needs utterances of {low} to {high} s with a transcript, this split of the corpus has none in {SEARCHED} looked"
        " at: fill the column `text` of the corpus manifest, or give --task.kinds.speech 0"
    )


def _written(transcript: str) -> str:
    """Transcripts in capitals, as LibriSpeech has them, in sentence case."""
    text = transcript.strip()
    return re.sub(r"\bi\b", "I", text.capitalize()) if text.isupper() else text


def _serves(config: Config, bank: Bank, row: int) -> bool:
    low, high = config.utterance_s
    seconds = bank.value(row, "num_frames") / bank.value(row, "sample_rate_hz")
    return low <= seconds <= high and any(map(str.isalpha, bank.value(row, "text")))


def _scene(config: Config, bank: Bank, rng: Rng, kind: Kind, **found) -> Scene:
    """The scene of what was found, as long as that."""
    rate = bank.sample_rate_hz
    return Scene(
        sample_rate_hz=rate,
        num_samples=max(sound.start + sound.clip.num_samples(rate) for sound in found["sounds"]),
        kind=kind,
        level_db=uniform(rng("level"), config.level_db, digits=2),
        **found,
    )


def _one(options: tuple[str, ...], generator: np.random.Generator) -> str:
    return options[integer(generator, (0, len(options) - 1))]


def render(scene: Scene, load: Load) -> Example:
    """The scene as audio: `target` and, for speech in the voice of one, `reference`."""
    rate, whole = scene.sample_rate_hz, scene.kind == "speech"
    parts = [Part(sound.start, _sound(sound, load, whole, rate)) for sound in scene.sounds]
    mixture = np.zeros((1, scene.num_samples), np.float32)
    for part in parts:
        mixture[:, part.span] += part.audio
    target, requested, measured = _stored(mixture, scene.level_db, rate)
    signals = {"target": target}
    requested["duration_s"] = scene.num_samples / rate
    measured |= {"duration_s": target.shape[1] / rate, **_relations(scene, parts)}
    if whole:
        measured["characters_per_s"] = _pace(scene, measured["active_share"] * measured["duration_s"])
    if scene.reference:
        voice = levelled(load(scene.reference), scene.reference, scene.level_db, rate)
        signals["reference"], asked, found = _stored(voice, scene.level_db, rate)
        requested |= {f"reference_{name}": value for name, value in asked.items()}
        measured |= {f"reference_{name}": value for name, value in found.items()}
    texts = {"transcript" if whole else "caption": scene.text, "kind": scene.kind}
    return Example(signals, {}, finite(requested), finite(measured), (), texts)


def _sound(sound: Sound, load: Load, whole: bool, sample_rate_hz: int) -> np.ndarray:
    """The clip at its level; an utterance that is whole needs no soft edges."""
    if whole:
        return levelled(load(sound.clip), sound.clip, sound.level_db, sample_rate_hz)
    return at_level(load, sound.clip, sound.level_db, sample_rate_hz)


def _stored(audio: np.ndarray, level_db: float, sample_rate_hz: int) -> tuple[np.ndarray, dict[str, float], dict[str, float]]:
    """The signal as int16 at this active level, or below where its peaks do not allow it, which is not gated then, and labels
    requested and measured."""
    wanted = 10 ** (level_db / 20) / math.sqrt(activity(audio, sample_rate_hz).power)
    limit = joint_gain([audio], PEAK_LIMIT / wanted)
    stored = to_int16(audio * np.float32(round_gain(wanted * limit)))
    found = stored_activity(stored, audio, sample_rate_hz)
    measured = {"level_db": db(found.power), "active_share": float(found.frames.mean()), "limited_db": abs(db(limit**2))}
    return stored, {"level_db": level_db} if limit == 1 else {}, measured


def _relations(scene: Scene, parts: list[Part]) -> dict[str, float]:
    """Of several sounds: that they follow each other, or how much of the one with less of it sounds together with the other."""
    if len(parts) < 2:
        return {}
    rate = scene.sample_rate_hz
    if not scene.together:
        return {"order_share": order_share([(part, activity(part.audio, rate)) for part in parts], rate)}
    one, other = (activity(part.alone(scene.num_samples), rate).frames for part in parts)
    found = float((one & other).sum() / max(min(one.sum(), other.sum()), 1))
    if found < MIN_TOGETHER:
        clips = [sound.clip for sound in scene.sounds]
        detail = f"{found:.2f} of the shorter sound is heard with the other, {MIN_TOGETHER} is needed"
        raise SourceError(" + ".join(clip.id for clip in clips), " + ".join(clip.path for clip in clips), "silent", detail)
    return {"together_share": found}


def _pace(scene: Scene, active_s: float) -> float:
    """Letters a second. SourceError where nobody can read so fast."""
    found = sum(map(str.isalpha, scene.text)) / active_s
    if found > MAX_CHARACTERS_PER_S:
        clip = scene.sounds[0].clip
        raise SourceError(clip.id, clip.path, "too_short", f"{active_s:.2f} s of sound for {scene.text!r}")
    return found
