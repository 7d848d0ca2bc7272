"""Voice conversion in time: an utterance in somebody else's voice and another one of the speaker in, the speaker's own out."""

import math
from dataclasses import dataclass, field

import msgspec
import numpy as np

from simulation.acoustics.reverberation import reverberate
from simulation.acoustics.rooms import AnyRoom, RoomRange
from simulation.bank import Bank
from simulation.example import Clip, Example, Load, SourceError
from simulation.labels import disagreements
from simulation.seeds import Rng, chance, uniform
from simulation.signals.levels import amplitude, db, from_int16, joint_gain, round_gain, to_int16
from simulation.signals.mixing import activity, finite, summed, tiled
from simulation.talkers.enrolment import Enrolment, EnrolmentRange, enrol
from simulation.voice_conversion.cepstrum import median_f0_hz, relate
from simulation.voice_conversion.converter import Conversion, converter
from simulation.voice_conversion.disguise import Disguise, DisguiseRange, Unvoiced
from simulation.voice_conversion.parallel import LONGEST_S, in_time, parallel_texts
from simulation.voice_conversion.timbre import HOP_S, Timbre, distance_db, formants, timbre
from simulation.voice_conversion.time_warp import timing

SHORTEST_S = 0.5
DB_PER_SEMITONE = 0.7  # of pitch in the distance of two voices: at 0.7 it tells speakers apart best
# Of input and target, or the words are not the same. Likeness of 60 pairs of readings, aligned: one text 0.56-0.72 (5-95 %),
# two texts 0.21-0.47; of a disguise 0.93.
LEAST = {"spectral_likeness": 0.5, "envelope_correlation": 0.6}
MOST = {"timing_error_ms": 40.0}


@dataclass(frozen=True)
class Config:
    """What may happen. Nothing is published on such data: all of it is ours.

    The target is real speech. The input is the same speech disguised; or what another speaker makes of the same text, brought
    into the target's time, where the corpus has such texts; or what a converter named as "module:name" makes of the target.
    """

    duration_s: float = 5.0
    """At most; a shorter utterance is not padded."""
    disguise: DisguiseRange = field(default_factory=DisguiseRange)
    parallel_probability: float = 0.15
    converter: str = ""
    converter_probability: float = 0.5
    noise_probability: float = 0.1
    snr_db: tuple[float, float] = (5.0, 25.0)
    reverberation_probability: float = 0.05
    """Of the input; the target stays as it was recorded."""
    level_db: tuple[float, float] = (-36.0, -16.0)
    """Active level of input and target in dBFS, before the joint peak limit."""
    reference: EnrolmentRange = field(default_factory=lambda: EnrolmentRange(damaged_probability=0.0))
    rooms: RoomRange = field(default_factory=RoomRange)


PRESETS = {"vocoder": Config(disguise=DisguiseRange(vocoder_share=1.0))}


class Scene(msgspec.Struct, frozen=True, omit_defaults=True):
    """What did happen. One of `disguise`, `reading` (another speaker's, of the same text) and `conversion` makes the input."""

    sample_rate_hz: int
    target: Clip
    reference: Enrolment
    level_db: float
    disguise: Disguise | None = None
    reading: Clip | None = None
    conversion: Conversion | None = None
    room: AnyRoom | None = None
    noise: Clip | None = None
    snr_db: float = 0.0


def draw(config: Config, bank: Bank, rng: Rng) -> Scene:
    """A scene from the ranges of `config`; the reference is another file of the target's speaker."""
    _require(bank, rng.task)
    row, group, other = _target(config, bank, rng)
    generator = rng("target")
    reference_row = bank.row(rng("reference"), "speech", group, exclude={row})
    noise = room = None
    if chance(rng("noise", "happens"), config.noise_probability):
        bank.require("noise", f"{rng.task} with noise")
        noise = bank.draw(rng("noise"), "noise", config.duration_s)
    if chance(rng("room", "happens"), config.reverberation_probability):
        room = config.rooms.draw(rng, bank, num_sources=1)
    return Scene(
        sample_rate_hz=bank.sample_rate_hz,
        target=bank.clip(generator, row, config.duration_s),
        reference=config.reference.draw(bank, rng, reference_row, config.rooms),
        level_db=uniform(rng("level"), config.level_db, digits=2),
        room=room,
        noise=noise,
        snr_db=uniform(rng("snr"), config.snr_db, digits=2) if noise else 0.0,
        **other,
    )


def _require(bank: Bank, task: str) -> None:
    """ValueError unless there is a speaker with an utterance to spare for the reference."""
    bank.require("speech", task)
    members = bank.members["speech"]
    if not ((members.sizes() > 1) & (members.names != "")).any():
        raise ValueError(
            f"{task} needs a named speaker with at least 2 speech files, one as target and one as reference; in this split of"
            " the corpus every speaker has 1: add files of the same speakers, or choose another --split"
        )


def _target(config: Config, bank: Bank, rng: Rng) -> tuple[int, int, dict]:
    """Row and group of the target, and what makes its input."""
    if config.converter and chance(rng("converter", "happens"), config.converter_probability):
        row, group = _any_row(bank, rng)
        bank.require("speech", f"{rng.task} with a converter", 2)
        speaker = str(bank.members["speech"].names[group])
        voice = bank.draw(rng("converter"), "speech", config.duration_s, exclude=(speaker, ""))
        version = str(converter(config.converter).version)
        return row, group, {"conversion": Conversion(config.converter, version, voice)}
    if chance(rng("parallel", "happens"), config.parallel_probability):
        texts = parallel_texts(bank)
        if len(texts.targets):
            row, group, reading = texts.pair(rng("parallel"))
            return row, group, {"reading": bank.clip(rng("parallel", "reading"), reading, LONGEST_S)}
    return *_any_row(bank, rng), {"disguise": config.disguise.draw(rng, bank.sample_rate_hz)}


def _any_row(bank: Bank, rng: Rng) -> tuple[int, int]:
    generator = rng("speaker")
    group = bank.group(generator, "speech", min_clips=2, exclude=("",))
    return bank.row(generator, "speech", group), group


def render(scene: Scene, load: Load) -> Example:
    """The scene as audio: `input`, `target`, `reference`, and stems whose sum is the input where it has noise.

    SourceError for a file that is silent, too short, without enough voice, or whose pitch or words were not followed.
    """
    rate = scene.sample_rate_hz
    target = load(scene.target)
    if target.shape[1] < SHORTEST_S * rate:
        raise _refusal(scene.target, "too_short", f"{target.shape[1] / rate:.2f} s, {SHORTEST_S} s are needed")
    changed, requested, middle_hz = _changed(scene, target, load)
    room = reverberate([changed], scene.room, "reverberant", load, rate)
    level = amplitude(scene.level_db)
    parts = [_levelled(scene.reading or scene.target, room.sources[0].wet, level, rate)]
    if scene.noise:
        noise = tiled(load(scene.noise), target.shape[1], rate)
        parts.append(_levelled(scene.noise, noise, level * amplitude(-scene.snr_db), rate))
    target = _levelled(scene.target, target, level, rate)
    gain = np.float32(joint_gain([target, *parts, sum(parts)]))
    stored_target, *stored_parts = (to_int16(audio * gain) for audio in (target, *parts))
    enrolled = enrol(scene.reference, load, rate)
    stems = dict(zip(("speech", "noise"), stored_parts, strict=True)) if scene.noise else {}
    dry = to_int16(changed * np.float32(joint_gain([changed]))) if scene.room else stored_parts[0]
    voices = _voices(scene, requested, middle_hz, [dry, stored_target, enrolled.audio])
    requested |= {"lag_ms": 0.0, "level_difference_db": 0.0} | room.requested | enrolled.requested
    measured = voices | room.measured | enrolled.measured | _levels(scene, stored_target, stored_parts)
    signals = {"input": summed(stored_parts), "target": stored_target, "reference": enrolled.audio}
    texts = {"transcript": scene.target.text} if scene.target.text else {}
    if scene.noise:
        requested["snr_db"] = scene.snr_db
    return Example(signals, stems, finite(requested), finite(measured), tuple(stems), texts)


def _changed(scene: Scene, target: np.ndarray, load: Load) -> tuple[np.ndarray, dict[str, float], float]:
    """The target's words in the other voice, `(1, samples)` like the target, what was asked of it, and at which F0."""
    try:
        if scene.conversion:
            return scene.conversion(target, scene.sample_rate_hz, load), {}, 0.0
        if scene.reading:
            return in_time(load(scene.reading), target, scene.sample_rate_hz), {}, 0.0
        assert scene.disguise is not None
        made = scene.disguise(target, scene.sample_rate_hz)
    except Unvoiced as error:
        raise _refusal(scene.reading or scene.target, "unvoiced", str(error)) from None
    asked = {"pitch_shift_semitones": made.pitch_shift_semitones, "pitch_range_factor": scene.disguise.pitch_range}
    return made.audio, asked | {"formant_ratio": made.formant_ratio}, made.median_hz


def _levelled(clip: Clip, audio: np.ndarray, level: float, sample_rate_hz: int) -> np.ndarray:
    """The clip's audio at this active level, a root mean square."""
    power = activity(audio, sample_rate_hz).power
    if not power:
        raise _refusal(clip, "silent", f"no active frame in {clip.num_frames} from {clip.start_frame} on")
    return audio * np.float32(round_gain(level / math.sqrt(power)))


def _voices(scene: Scene, requested: dict[str, float], middle_hz: float, stored: list[np.ndarray]) -> dict[str, float]:
    """What is found in the int16 voices of input (without room and noise), target and reference, the shift at `middle_hz`.

    What cannot be found is taken from `requested`. SourceError where it is not what was asked for, or where the words are not
    the target's: an estimator lost its way in the file, which cannot serve then.
    """
    rate = scene.sample_rate_hz
    voices = [from_int16(audio) for audio in stored]
    timbres = [timbre(voice, rate) for voice in voices[:2]] + [timbre(voices[2], rate, 2 * HOP_S)]  # one mean of that is used
    relation = relate(voices[0], voices[1], rate, middle_hz)
    reference_hz = median_f0_hz(voices[2], rate)
    late, alike = timing(timbres[0], timbres[1]), formants(timbres[0], timbres[1], rate)
    found = {
        "formant_ratio": alike.ratio,
        "spectral_likeness": alike.likeness,
        "speaker_distance_input": _distance(timbres[0], timbres[2], relation.after_hz, reference_hz),
        "speaker_distance_target": _distance(timbres[1], timbres[2], relation.before_hz, reference_hz),
        "lag_ms": late.lag_ms,
        "timing_error_ms": late.error_ms,
        "envelope_correlation": _envelope_correlation(timbres[0], timbres[1]),
    }
    if relation.known:
        found |= {"pitch_shift_semitones": relation.shift_semitones, "pitch_range_factor": relation.range_factor}
    else:
        requested.pop("pitch_shift_semitones", None)
        requested.pop("pitch_range_factor", None)
    missed = disagreements(requested | {"lag_ms": 0.0}, found)
    missed += [f"{name} {found[name]:.3g}, {limit} needed" for name, limit in LEAST.items() if found[name] < limit]
    missed += [f"{name} {found[name]:.3g}, {limit} allowed" for name, limit in MOST.items() if found[name] > limit]
    if missed:
        raise _refusal(scene.reading or scene.target, "not_followed", "; ".join(missed))
    return found


def _distance(one: Timbre, other: Timbre, one_hz: float, other_hz: float) -> float:
    """Of two voices: of their long-term spectra in dB, and of their pitch. 2.4 within a speaker, 4 and more between two."""
    semitones = 12 * math.log2(one_hz / other_hz) if one_hz and other_hz else 0.0
    return math.hypot(distance_db(one, other), DB_PER_SEMITONE * semitones)


def _envelope_correlation(one: Timbre, other: Timbre) -> float:
    """Of the levels over time, the mean over bands."""
    a, b = (voice.levels_db.mean(axis=1) for voice in (one, other))
    a, b = a - a.mean(), b - b.mean()
    return float(np.sum(a * b) / math.sqrt(max(float(np.sum(a * a) * np.sum(b * b)), 1e-30)))


def _levels(scene: Scene, target: np.ndarray, parts: list[np.ndarray]) -> dict[str, float]:
    """Levels and SNR as found in what is stored."""
    said, *noise = (activity(from_int16(part), scene.sample_rate_hz).power for part in parts)
    asked = activity(from_int16(target), scene.sample_rate_hz)
    levels = {
        "target_level_db": db(asked.power),
        "level_difference_db": db(said) - db(asked.power),
        "active_share": float(asked.frames.mean()),
    }
    return levels | ({"snr_db": db(said / noise[0]) if noise[0] else 200.0} if noise else {})


def _refusal(clip: Clip, reason: str, detail: str) -> SourceError:
    return SourceError(clip.id, clip.path, reason, detail)
