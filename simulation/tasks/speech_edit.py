"""Speech editing by instruction: an utterance and what is to be changed in its words in, the utterance with other words out.

One side is natural speech, as it was said; the other is spliced from it. The target is the natural side wherever that is
possible: what is to be inserted was cut out of the input, what is to be replaced or moved was put there. Only a part of
the deletions has a spliced target; the others delete words that were never said there.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import numpy as np

from simulation.bank import Bank
from simulation.descriptions.distinct import pick
from simulation.example import Example, Load
from simulation.seeds import Rng, chance, uniform
from simulation.signals.levels import amplitude, db, from_int16, joint_gain, round_gain, to_int16
from simulation.signals.mixing import Activity, activity, finite
from simulation.speech_editing.edits import Edit, Operation, locate
from simulation.speech_editing.instructions import LANGUAGES, instruction
from simulation.speech_editing.rewording import CONTEXT_WORDS, Drawing, EditRange, Stretch, plan, words_of
from simulation.speech_editing.splicing import Joined, Piece, click_db, cut, gaps_between, join, step_db
from simulation.speech_editing.utterances import Utterance, candidates, utterance

MAX_MATCH_DB = 10.0
MARGIN_S = 0.06  # of the pauses around a donor's words
QUIET_DB = -35.0  # of a word's loudest frame beside the active level: it is not heard


@dataclass(frozen=True)
class Config:
    """What may happen; all ours, for nothing is published on the data of this task."""

    max_duration_s: float = 10.0
    """Of the natural side; longer recordings are cut at pauses."""
    min_words: int = 4
    """Of the natural side."""
    fade_ms: tuple[float, float] = (5.0, 15.0)
    level_db: tuple[float, float] = (-36.0, -16.0)
    """Active level of the natural side in dBFS, before the peak limit."""
    edits: EditRange = field(default_factory=EditRange)

    def __post_init__(self):
        if self.min_words < 3 or not self.max_duration_s > 0:
            raise ValueError(f"min_words is {self.min_words}, max_duration_s {self.max_duration_s}: at least 3, more than 0")
        if not 5.0 <= self.fade_ms[0] <= self.fade_ms[1] <= 15.0:
            raise ValueError(f"fade_ms is {self.fade_ms}: give 5 to 15, the lower bound first")


class Scene(msgspec.Struct, frozen=True, omit_defaults=True):
    """What did happen. The spliced side is the stretches, joined; the natural one the utterance."""

    sample_rate_hz: int
    utterance: Utterance
    edit: Edit
    instruction: str
    natural: Literal["input", "target"]
    spliced: tuple[Stretch, ...]
    level_db: float
    fade_ms: float
    language: str = "en"
    donor: Utterance | None = None

    def words(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Transcripts of input and target."""
        natural, spliced = self.utterance.transcript, words_of(self.spliced, self.utterance, self.donor)
        return (natural, spliced) if self.natural == "input" else (spliced, natural)


def draw(config: Config, bank: Bank, rng: Rng) -> Scene:
    """A scene from the ranges of `config` whose instruction is clear. ValueError if the corpus has no utterance for it."""
    bank.require("speech", "speech_edit")
    edits = config.edits
    operation: Operation = pick(rng("operation"), vars(edits.operations))
    natural_target = operation != "delete" or chance(rng("natural"), edits.delete_natural_share)
    limits = (config.min_words, config.max_duration_s)
    for attempt, row in enumerate(candidates(bank, rng("utterance"))):
        generator = rng("edit", attempt)
        spoken = utterance(bank, generator, row, limits, edits.language)
        found = spoken and plan(edits, operation, natural_target, Drawing(bank, row, spoken, generator))
        if found:
            break
    else:
        raise ValueError(_nothing(config, operation, natural_target))
    return Scene(
        sample_rate_hz=bank.sample_rate_hz,
        utterance=spoken,
        edit=found.edit,
        instruction=instruction(found.edit, LANGUAGES[edits.language], rng("wording")),
        natural="target" if natural_target else "input",
        spliced=found.spliced,
        level_db=uniform(rng("level"), config.level_db, digits=2),
        fade_ms=uniform(rng("fade"), config.fade_ms, digits=1),
        language=edits.language,
        donor=found.donor,
    )


def _nothing(config: Config, operation: Operation, natural_target: bool) -> str:
    found = f"speech_edit ({operation}) finds no utterance of {config.min_words} words within {config.max_duration_s} s"
    if operation == "replace" or (operation == "delete" and natural_target):
        return (
            f"{found} that has another of the same speaker and session (label `session`, or the folder), both with word times:"
            " add such recordings, or go without by --task.edits.operations.replace 0 --task.edits.delete-natural-share 0"
        )
    return f"{found}: add longer utterances with word times, or lower --task.min-words"


def render(scene: Scene, load: Load) -> Example:
    """The scene as audio: `input` and `target`, of different lengths, equal where the edit map says so."""
    rate = scene.sample_rate_hz
    sources = _sources(scene, load)
    fade = round(scene.fade_ms * rate / 1000)
    joined = join(sources, _pieces(scene, sources, fade), fade, rate)
    sides = (sources[0], joined.audio) if scene.natural == "input" else (joined.audio, sources[0])
    signals = {role: np.ascontiguousarray(samples[np.newaxis]) for role, samples in zip(("input", "target"), sides)}
    joiner = LANGUAGES[scene.language].joiner
    before, after = (joiner.join(words) for words in scene.words())
    texts = {
        "instruction": scene.instruction,
        "operation": scene.edit.operation,
        "input_transcript": before,
        "target_transcript": after,
        "edit_map": msgspec.json.encode(edit_map(scene, joined, len(sources[0]))).decode(),
    }
    requested = {"unchanged_share": 1.0, "join_click_db": 0.0}
    return Example(signals, {}, requested, finite(_measured(scene, sources, joined, signals["target"])), (), texts)


def _sources(scene: Scene, load: Load) -> list[np.ndarray]:
    """The utterance at the scene's level and the donor at that of the words around its own, int16 `(samples,)`."""
    rate = scene.sample_rate_hz
    parts = [load(scene.utterance.clip)[0]]
    gains = [amplitude(scene.level_db) / math.sqrt(activity(parts[0][np.newaxis], rate).power)]
    if scene.donor:
        parts.append(load(scene.donor.clip)[0])
        number = next(number for number, one in enumerate(scene.spliced) if one.source == "donor")
        first = scene.spliced[number - 1].past if number else 0
        past = scene.spliced[number + 1].first if number + 1 < len(scene.spliced) else len(scene.utterance.words)
        here = scene.utterance.words[max(first - CONTEXT_WORDS, 0) : past + CONTEXT_WORDS]
        levels_db = [db(_power(part, words, rate)) for part, words in zip(parts, (here, scene.donor.words))]
        gains.append(gains[0] * amplitude(max(-MAX_MATCH_DB, min(levels_db[0] - levels_db[1], MAX_MATCH_DB))))
    parts = [part * np.float32(round_gain(gain)) for part, gain in zip(parts, gains)]
    limit = np.float32(joint_gain(parts))
    return [to_int16(part if limit == 1 else part * limit) for part in parts]


def _power(samples: np.ndarray, words: tuple[tuple[str, float, float], ...], sample_rate_hz: int) -> float:
    """Mean square over the words."""
    spans = [samples[round(start * sample_rate_hz) : round(end * sample_rate_hz)] for _, start, end in words]
    return sum(float(np.square(span, dtype=np.float64).sum()) for span in spans) / max(sum(map(len, spans)), 1)


def _pieces(scene: Scene, sources: list[np.ndarray], fade_samples: int) -> list[Piece]:
    """The stretches in samples, and before and after them the utterance's own silence, where there is any."""
    pieces = []
    for stretch in scene.spliced:
        first, past = _cut(scene, sources, stretch.source, stretch.first), _cut(scene, sources, stretch.source, stretch.past)
        pieces.append(Piece(int(stretch.source == "donor"), first, past))
    length, head, tail = len(sources[0]), scene.spliced[0], scene.spliced[-1]
    lead = _cut(scene, sources, "utterance", 0)
    if (head.source, head.first) == ("utterance", 0):
        pieces[0] = Piece(0, 0, pieces[0].end)
    elif lead >= 2 * fade_samples:
        pieces.insert(0, Piece(0, 0, lead))
    trail = _cut(scene, sources, "utterance", len(scene.utterance.words))
    if (tail.source, tail.past) == ("utterance", len(scene.utterance.words)):
        pieces[-1] = Piece(0, pieces[-1].start, length)
    elif length - trail >= 2 * fade_samples:
        pieces.append(Piece(0, trail, length))
    return pieces


def _cut(scene: Scene, sources: list[np.ndarray], source: str, number: int) -> int:
    """Where to cut before word `number`; near the words of a donor, whose pauses are not to come along."""
    rate, donor = scene.sample_rate_hz, source == "donor"
    spoken, samples = (scene.donor, sources[1]) if donor else (scene.utterance, sources[0])
    low, high = spoken.gap(number, len(samples), rate)
    if donor:
        margin = round(MARGIN_S * rate)
        starts = any(one.source == "donor" and one.first == number for one in scene.spliced)
        low, high = (max(low, high - margin), high) if starts else (low, min(high, low + margin))
    lengths = [round((end - start) * rate) for _, start, end in spoken.words]
    neighbours = (lengths[number - 1] if number else 0, lengths[number] if number < len(lengths) else 0)
    return cut(samples, (low, high), neighbours, rate)


def edit_map(scene: Scene, joined: Joined, num_samples: int) -> list[tuple[str, int, int, int, int]]:
    """What of the input is what of the target: (kind, input start, input end, target start, target end) in samples, in the
    order of the target. `num_samples` is the natural side's.

    The spans tile both sides. "equal" and "move" are the same samples on both; the kind of another is the operation, or
    "join" at the fades that moving words makes.
    """
    moved, rows = _moved_middle(scene), []
    for copy in joined.copies:
        if copy.source == 0 and copy.length:
            kind = "move" if copy.source_start <= moved < copy.source_start + copy.length else "equal"
            rows.append((kind, copy.source_start, copy.source_start + copy.length, copy.start, copy.start + copy.length))
    natural = gaps_between([row[1:3] for row in rows], num_samples)
    spliced = gaps_between([row[3:5] for row in rows], len(joined.audio))
    other = "join" if scene.edit.operation == "move" else scene.edit.operation
    assert len(natural) == len(spliced), (natural, spliced)
    rows += [(other, *one, *two) for one, two in zip(natural, spliced)]
    if scene.natural == "target":
        rows = [(kind, *row[2:], *row[:2]) for kind, *row in rows]
    return sorted(rows, key=lambda row: row[3])


def _moved_middle(scene: Scene) -> int:
    """A sample of the utterance amid the words that are to be moved; -1 if none are."""
    if scene.edit.operation != "move":
        return -1
    start, past = locate(scene.edit.what, scene.words()[0])
    order = [word for one in scene.spliced for word in scene.utterance.words[one.first : one.past]]
    return round((order[start][1] + order[past - 1][2]) / 2 * scene.sample_rate_hz)


def _measured(scene: Scene, sources: list[np.ndarray], joined: Joined, target: np.ndarray) -> dict[str, float]:
    """Labels of the stored samples."""
    rate, natural = scene.sample_rate_hz, sources[0]
    own = [copy for copy in joined.copies if copy.source == 0]
    same = sum(
        int((natural[copy.source_start :][: copy.length] == joined.audio[copy.start :][: copy.length]).sum()) for copy in own
    )
    copied = sum(copy.length for copy in own)
    heard = activity(from_int16(target), rate)
    change = len(natural) - len(joined.audio)
    return {
        "unchanged_share": same / max(copied, 1),
        "untouched_share": copied / target.shape[1],
        "join_click_db": click_db(joined.audio, joined.fades, rate),
        "join_step_db": step_db(joined.audio, joined.fades, rate),
        "num_joins": len(joined.fades),
        "edit_s": (change if scene.natural == "target" else -change) / rate,
        "num_words": len(scene.words()[1]),
        "quiet_words": _num_quiet(scene, natural, heard, rate),
        "target_level_db": db(heard.power),
        "active_share": float(heard.frames.mean()),
    }


def _num_quiet(scene: Scene, natural: np.ndarray, heard: Activity, sample_rate_hz: int) -> int:
    """Words of the utterance in which nothing is heard: wrong word times, or words swallowed."""
    floor = heard.power * 10 ** (QUIET_DB / 10) * 32767**2
    spans = [natural[round(start * sample_rate_hz) : round(end * sample_rate_hz)] for _, start, end in scene.utterance.words]
    return sum(float(np.square(span, dtype=np.float32).mean()) < floor for span in spans if len(span))
