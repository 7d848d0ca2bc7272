"""Audio-event editing by instruction: a recording and what is to be done with one of its sounds in, the edited recording out.

The sounds lie on one time line, which an edit does not shift: outside the spans that the scene calls `changed`, input and
target are the same samples. Sums are of the stored integers: `input` is background and `event<n>`, and in the target
`event<n>_after` is in the place of `event<n>`, to the last bit.
"""

import math
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np

from simulation.bank import Bank
from simulation.descriptions.distinct import Candidate, SourceRange
from simulation.descriptions.queries import sounds
from simulation.events.captions import LANGUAGES, new_sounds, scene_caption
from simulation.events.instructions import LANGUAGES as EDITS
from simulation.events.instructions import instruction
from simulation.events.layout import Frame, Span, edited_overlap, edited_sequence, merged
from simulation.events.operations import Edit, Operation, OperationRange
from simulation.events.timeline import Part, at_level, cut, levelled, order_share, stored_activity
from simulation.example import Clip, Example, Load, SourceError
from simulation.seeds import Rng, chance, integer, uniform
from simulation.signals.levels import (
    ACTIVE_FRAME_S,
    PEAK_LIMIT,
    amplitude,
    db,
    from_int16,
    joint_gain,
    power,
    round_gain,
    to_int16,
)
from simulation.signals.mixing import Activity, activity, finite, residual_db, summed, tiled
from simulation.signals.stretch import num_stretched, speed_ratio, stretched

TRIES = 8  # choices of sounds before it is said that none suits
STEADY = {"water", "weather", "shore", "fire", "engine", "appliance", "insect", "crowd"}
"""Kinds of ambiguity.KINDS that have no speed to hear."""
LEAD_IN_S = 0.5  # silence before a sound that is to come at a time which the instruction names
BACKGROUND, AFTER = "background", "_after"


@dataclass(frozen=True)
class Config:
    """What may happen; all ours, for nothing is published on the data of this task."""

    duration_s: tuple[float, float] = (5.0, 10.0)
    num_events: tuple[int, int] = (1, 4)
    """In the input. A removal without a background and a change of order take at least two."""
    event_s: tuple[float, float] = (1.0, 4.0)
    """The longest stretch of a file that is used; shorter where many sounds come in sequence."""
    balance_db: tuple[float, float] = (-5.0, 5.0)
    """Active level of each sound among the others before the edit; what becomes quieter is in the upper half, and reverse."""
    noise_probability: float = 0.4
    noise_db: tuple[float, float] = (-30.0, -12.0)
    """Active level of the background beside that of the sounds."""
    level_db: tuple[float, float] = (-30.0, -16.0)
    """Active level of the input in dBFS, before the joint peak limit."""
    language: str = "en"
    operations: OperationRange = field(default_factory=OperationRange)
    sources: SourceRange = field(default_factory=lambda: SourceRange(event=0.85, speech=0.1, music=0.05))

    def __post_init__(self):
        for name, value in vars(self).items():
            if isinstance(value, tuple) and not value[0] <= value[1]:
                raise ValueError(f"{name} is {value}: give the lower bound first")
        if self.num_events[0] < 1:
            raise ValueError(f"num_events is {self.num_events}: at least 1")
        if not 0.5 * (self.num_events[1] + 1) <= self.duration_s[1]:
            raise ValueError(f"duration_s is {self.duration_s}: {self.num_events[1]} sounds and one more need 0.5 s each")
        if self.language not in EDITS:
            raise ValueError(f"language is {self.language!r}: there are wordings for {', '.join(EDITS)}")


class Sound(msgspec.Struct, frozen=True, omit_defaults=True):
    """A sound and where it lies in input and target, in samples; None where it is not there."""

    clip: Clip
    level_db: float
    before: Span | None = None
    after: Span | None = None
    gain_db: float = 0.0
    """Of the target above the input."""
    speed: float = 1.0
    """Of the target, that of the input being 1."""

    @property
    def edited(self) -> bool:
        return self.before != self.after or self.gain_db != 0.0 or self.speed != 1.0


class Scene(msgspec.Struct, frozen=True, omit_defaults=True):
    """What did happen. The first of `sounds` is the one that the instruction is about; for `replace` and where a second one is
    named, that is the next. `in_sequence` says that no two sound together."""

    sample_rate_hz: int
    num_samples: int
    operation: Operation
    kind: str
    instruction: str
    input_caption: str
    target_caption: str
    sounds: tuple[Sound, ...]
    changed: tuple[Span, ...]
    in_sequence: bool
    level_db: float
    noise: Clip | None = None
    noise_db: float = 0.0


def draw(config: Config, bank: Bank, rng: Rng) -> Scene:
    """A scene from the ranges of `config` in which each name that the instruction uses fits one sound only."""
    levels = rng("levels")
    edit = config.operations.draw(rng)
    operation = edit.operation
    noisy = bank.has("noise") and chance(rng("noise", "happens"), config.noise_probability)
    least = 2 if operation == "reorder" or (operation == "remove" and not noisy) else 1
    count = max(integer(rng("count"), config.num_events), least) + (operation in ("add", "replace"))
    slots = count + (operation == "reorder") - (operation == "replace")
    shortest_s = min(max(config.duration_s[0], 1.2 * slots), config.duration_s[1])
    duration_s = uniform(rng("duration"), (shortest_s, config.duration_s[1]), digits=2)
    frame = Frame(round(duration_s * bank.sample_rate_hz), bank.sample_rate_hz)
    longest_s = frame.longest_s(slots if edit.in_sequence else 1)
    chosen, clips = _chosen(config, bank, rng, edit, (count, longest_s * min(edit.speed, 1.0)))
    noise = _background(config, bank, rng, chosen, duration_s) if noisy else None
    if operation == "remove" and count == 1 and noise is None:  # each background clashes with the sound: nothing would be left
        return draw(replace(config, noise_probability=0.0), bank, rng)
    found = _placed(config, edit, clips, (frame, levels, rng("places")))
    return Scene(
        sample_rate_hz=frame.sample_rate_hz,
        num_samples=frame.num_samples,
        operation=operation,
        kind=edit.kind,
        **_texts(
            config, edit, [(sound, one.voice) for sound, one in zip(found, chosen, strict=True)], (noise, frame, rng("words"))
        ),
        sounds=found,
        changed=merged([span for sound in found if sound.edited for span in (sound.before, sound.after) if span]),
        in_sequence=edit.in_sequence,
        level_db=uniform(levels, config.level_db, digits=2),
        noise=noise,
        noise_db=uniform(levels, config.noise_db, digits=2) if noise else 0.0,
    )


def _chosen(config: Config, bank: Bank, rng: Rng, edit: Edit, wanted: tuple[int, float]) -> tuple[list[Candidate], list[Clip]]:
    """As many sounds as `wanted`, none longer than its seconds, each with a name that fits no other; the first suits the edit.
    ValueError if the corpus has no such choice."""
    words, (count, longest_s) = LANGUAGES[config.language].queries, wanted
    for attempt in range(TRIES):
        again = replace(rng, task=f"{rng.task} {attempt}") if attempt else rng
        chosen = config.sources.draw(bank, again, count)
        if edit.speed != 1.0:
            chosen.sort(key=lambda one: bool(one.concept.kinds & STEADY))
            if chosen[0].concept.kinds & STEADY:
                continue
        generator = again("clips")
        clips = [cut(bank, generator, one.row, min(uniform(generator, config.event_s), longest_s)) for one in chosen]
        if all(sounds(clip, one.voice, words) for clip, one in zip(clips, chosen, strict=True)):
            return chosen, clips
    raise ValueError(
        f"{TRIES} choices of {count} sounds had one without a name, or none whose speed can be heard ({edit.operation}): fill"
        " the column `label` of the corpus manifest, or `caption` with one plain clause such as 'A dog barks.', or give"
        f" --task.operations.{edit.operation} 0"
    )


def _background(config: Config, bank: Bank, rng: Rng, chosen: list[Candidate], duration_s: float) -> Clip | None:
    """A background that no name of a sound fits; None if each would."""
    found = config.sources.draw_noise(bank, rng, chosen)
    return bank.clip(rng("noise", "clip"), found.row, duration_s) if found else None


def _placed(
    config: Config, edit: Edit, clips: list[Clip], drawing: tuple[Frame, np.random.Generator, np.random.Generator]
) -> tuple[Sound, ...]:
    """The sounds at their times and levels on both sides; `drawing` is the time line and where levels and places come from."""
    frame, levels, places = drawing
    lengths = [(length, length) for length in (clip.num_samples(frame.sample_rate_hz) for clip in clips)]
    lengths[0] = (lengths[0][0], num_stretched(lengths[0][0], edit.speed))
    spans = (edited_sequence if edit.in_sequence else edited_overlap)(edit.kind, lengths, frame, places)
    low, high = config.balance_db
    middle = (low + high) / 2
    ranges = [{1: (low, middle), -1: (middle, high)}.get((edit.gain_db > 0) - (edit.gain_db < 0), (low, high))]
    ranges += [(low, high)] * (len(clips) - 1)
    return tuple(
        Sound(clip, uniform(levels, bounds, digits=2), *span, *((edit.gain_db, edit.speed) if number == 0 else ()))
        for number, (clip, bounds, span) in enumerate(zip(clips, ranges, spans, strict=True))
    )


def _texts(
    config: Config,
    edit: Edit,
    told: list[tuple[Sound, str]],
    around: tuple[Clip | None, Frame, np.random.Generator],
) -> dict[str, str]:
    """The instruction and the captions before and after; `told` has each sound with its voice, `around` the background, the
    time line and where the words come from."""
    noise, frame, generator = around
    wordings, edits = LANGUAGES[config.language], EDITS[config.language]
    names = [_one(sounds(sound.clip, voice, wordings.queries), generator) for sound, voice in told]
    new = told[1 if edit.operation == "replace" else 0]
    words = {"sound": names[0], "other": names[min(1, len(names) - 1)], **edit.words}
    words["new"] = _one(new_sounds(new[0].clip, new[1], wordings) or names[:1], generator)
    before, after = ((span or (0, 0))[0] for span in (told[0][0].before, told[0][0].after))
    moved = after - before if told[0][0].before else after
    words["seconds"] = f"{round(abs(moved) / frame.sample_rate_hz, 1):g}"
    then = _one(wordings.then, generator) if edit.in_sequence else ""
    captions = {}
    for side, name in (("before", "input_caption"), ("after", "target_caption")):
        there = sorted((pair for pair in told if getattr(pair[0], side)), key=lambda pair: getattr(pair[0], side))
        captions[name] = scene_caption([(sound.clip, voice) for sound, voice in there], then, noise, wordings)
    if edit.operation in edits.notes:
        captions["target_caption"] += " " + edits.notes[edit.operation].format(sound=names[0])
    return {"instruction": instruction(edit.kind, edits, generator, **words), **captions}


def _one(options: tuple[str, ...], generator: np.random.Generator) -> str:
    return options[integer(generator, (0, len(options) - 1))]


def render(scene: Scene, load: Load) -> Example:
    """The scene as audio: `input`, `target`, and the parts of which they are the sums."""
    sources = _parts(scene, load)
    parts = _stored(sources, scene)
    heard = {name: stored_activity(part.audio, sources[name].audio, scene.sample_rate_hz) for name, part in parts.items()}
    stems = {name: part.alone(scene.num_samples) for name, part in parts.items()}
    before, after = _sides(scene)
    signals = {role: summed([stems[name] for name in names]) for role, names in (("input", before), ("target", after))}
    requested, measured = _labels(scene, parts, heard)
    measured |= _map_labels(scene, signals)
    measured["edited_snr_db"] = _edited_snr_db(scene, parts, signals)
    measured["stem_residual_db"] = max(
        residual_db(signals[role], [stems[name] for name in names]) for role, names in (("input", before), ("target", after))
    )
    texts = {"instruction": scene.instruction, "input_caption": scene.input_caption, "target_caption": scene.target_caption}
    return Example(signals, stems, finite(requested), finite(measured), tuple(before), texts)


def _sides(scene: Scene) -> tuple[list[str], list[str]]:
    """The names of the parts that input and target are the sums of."""
    around = [BACKGROUND] if scene.noise else []
    numbered = list(enumerate(scene.sounds, 1))
    before = [f"event{number}" for number, sound in numbered if sound.before]
    after = [f"event{number}{AFTER * sound.edited}" for number, sound in numbered if sound.after]
    return around + before, around + after


def _parts(scene: Scene, load: Load) -> dict[str, Part]:
    """Background and sounds at their levels beside each other, float32."""
    rate, parts = scene.sample_rate_hz, {}
    if scene.noise:
        background = tiled(load(scene.noise), scene.num_samples, rate)
        parts[BACKGROUND] = Part(0, levelled(background, scene.noise, scene.noise_db, rate))
    for number, sound in enumerate(scene.sounds, 1):
        audio = at_level(load, sound.clip, sound.level_db, rate)
        if scene.kind == "add_time" and number == 1:
            _prompt(sound.clip, audio, rate)
        if sound.before:
            parts[f"event{number}"] = Part(sound.before[0], audio)
        if sound.after and sound.edited:
            if sound.speed != 1.0:
                audio = levelled(stretched(audio, sound.speed, rate), sound.clip, sound.level_db, rate)
            changed = audio * np.float32(amplitude(sound.gain_db)) if sound.gain_db else audio
            parts[f"event{number}{AFTER}"] = Part(sound.after[0], changed)
    return parts


def _prompt(clip: Clip, audio: np.ndarray, sample_rate_hz: int) -> None:
    """SourceError for a sound that would come late to the time that the instruction names."""
    late_s = float(activity(audio, sample_rate_hz).frames.argmax()) * ACTIVE_FRAME_S
    if late_s > LEAD_IN_S:
        raise SourceError(clip.id, clip.path, "silent", f"nothing in its first {late_s:.2f} s, {LEAD_IN_S} s are allowed")


def _stored(parts: dict[str, Part], scene: Scene) -> dict[str, Part]:
    """The parts at the input's level as int16, under one gain that lets neither sum clip: what is on both sides is the same to
    the last bit."""
    sums = []
    for names in _sides(scene):
        sums.append(np.zeros((1, scene.num_samples), np.float32))
        for name in names:
            sums[-1][:, parts[name].span] += parts[name].audio
    loud = 10 ** (scene.level_db / 20) / math.sqrt(activity(sums[0], scene.sample_rate_hz).power)
    loud *= joint_gain([*sums, *(part.audio for part in parts.values())], PEAK_LIMIT / loud)
    gain = np.float32(round_gain(loud))
    return {name: Part(part.start, to_int16(part.audio * gain)) for name, part in parts.items()}


def _labels(scene: Scene, parts: dict[str, Part], heard: dict[str, Activity]) -> tuple[dict[str, float], dict[str, float]]:
    """What was asked for, and what the int16 parts have: levels above the background, changes of level, speed and time, and
    sounds in sequence that do follow each other."""
    requested, measured = {"unchanged_share": 1.0}, {}
    for number, sound in enumerate(scene.sounds, 1):
        name, edited = f"event{number}", f"event{number}{AFTER}"
        if scene.noise:
            requested[f"{name}_snr_db"] = sound.level_db - scene.noise_db
            measured[f"{name}_snr_db"] = db(heard[name if sound.before else edited].power / heard[BACKGROUND].power)
        if not (sound.edited and sound.before and sound.after):
            continue
        requested[f"{name}_change_db"] = sound.gain_db
        measured[f"{name}_change_db"] = db(heard[edited].power / heard[name].power)
        if sound.speed != 1.0:
            requested["speed_ratio"] = sound.speed
            measured["speed_ratio"] = speed_ratio(parts[name].audio, parts[edited].audio)
        elif scene.operation == "reorder":
            requested[f"{name}_moved_samples"] = sound.after[0] - sound.before[0]
            measured[f"{name}_moved_samples"] = parts[edited].first_sample() - parts[name].first_sample()
    if scene.in_sequence and len(scene.sounds) > 1:
        requested["order_share"] = 1.0
        measured["order_share"] = min(
            order_share([(parts[name], heard[name]) for name in side if name != BACKGROUND], scene.sample_rate_hz)
            for side in _sides(scene)
        )
    return requested, measured


def _map_labels(scene: Scene, signals: dict[str, np.ndarray]) -> dict[str, float]:
    """How much lies in the map, how much outside of it is the same, and how much within is not."""
    same = (signals["input"] == signals["target"])[0]
    inside = np.zeros(scene.num_samples, bool)
    for start, end in scene.changed:
        inside[start:end] = True
    outside = ~inside
    return {
        "unchanged_share": float(same[outside].mean()) if outside.any() else 1.0,
        "changed_share": float(1 - same[inside].mean()),
        "map_share": float(inside.mean()),
    }


def _edited_snr_db(scene: Scene, parts: dict[str, Part], signals: dict[str, np.ndarray]) -> float:
    """Level of the sound that is edited above all that sounds in its span: in the target, if it is there, or in the input."""
    number = next((n for n, sound in enumerate(scene.sounds, 1) if sound.edited and sound.after), 1)
    there = bool(scene.sounds[number - 1].after)
    part = parts[f"event{number}{AFTER * there}"]
    rest = signals["target" if there else "input"][:, part.span] - part.audio
    below = power(from_int16(rest))
    return db(power(from_int16(part.audio)) / below) if below else 200.0
