"""Speech whose words have times: drawn from the bank, cut at pauses where it is long."""

from collections.abc import Container, Iterator
from pathlib import PurePosixPath

import msgspec
import numpy as np
import pyarrow.compute as pc

from simulation.bank import Bank
from simulation.descriptions.distinct import facts
from simulation.example import Clip
from simulation.speech_editing.word_classes import spelled

PAUSE_S = 0.1  # between words: a long recording may be cut there
SHORT_PAUSE_S = 0.03
MARGIN_S = 0.15  # of a pause that stays with what follows
OVERLAP_S = 0.03  # of a word with the next that is put up with
TRIES = 64  # utterances before all are looked through
SEARCHED = 4096

Words = list[tuple[str, float, float]]


class Utterance(msgspec.Struct, frozen=True):
    """A clip and its words in it: (as spelled within a sentence, start in seconds, end in seconds), at least one."""

    clip: Clip
    words: tuple[tuple[str, float, float], ...]

    @property
    def transcript(self) -> tuple[str, ...]:
        return tuple(word for word, _, _ in self.words)

    def gap(self, number: int, num_samples: int, sample_rate_hz: int) -> tuple[int, int]:
        """Samples from the end of the word before word `number` to its start; of the clip's ends at its ends."""
        before = round(self.words[number - 1][2] * sample_rate_hz) if number else 0
        after = round(self.words[number][1] * sample_rate_hz) if number < len(self.words) else num_samples
        return min(before, after), max(before, after)

    def pauses(self, number: int) -> bool:
        """Whether nothing is said for a moment before word `number`, or it is the first, or past the last."""
        words = self.words
        return number in (0, len(words)) or words[number][1] - words[number - 1][2] >= SHORT_PAUSE_S


def times(bank: Bank, row: int) -> Words:
    """The manifest's column `words`, [] where it is empty. ValueError names the row where it is not sound."""
    cell = bank.value(row, "words") if "words" in bank.table.column_names else ""
    if not cell:
        return []
    try:
        words = msgspec.json.decode(cell, type=list[tuple[str, float, float]])
    except msgspec.DecodeError as error:
        raise _unsound(bank, row, str(error)) from None
    duration_s = bank.value(row, "num_frames") / bank.value(row, "sample_rate_hz")
    last_s = 0.0
    for word, start_s, end_s in words:
        if not (word and last_s - OVERLAP_S <= start_s < end_s <= duration_s + OVERLAP_S):
            raise _unsound(bank, row, f"{word!r} from {start_s} to {end_s} s in a file of {duration_s:.3f} s")
        last_s = end_s
    return words


def _unsound(bank: Bank, row: int, detail: str) -> ValueError:
    what = "[[word, start_s, end_s], ...] in the order of time"
    return ValueError(f"manifest: words of {bank.value(row, 'id')!r} are not {what}: {detail}; make align makes them")


def utterance(
    bank: Bank, generator: np.random.Generator, row: int, limits: tuple[int, float], language: str
) -> Utterance | None:
    """The row's utterance, or a stretch of it between pauses; `limits` are the fewest words and the most seconds. None if it
    has no such stretch."""
    min_words, max_duration_s = limits
    words = times(bank, row)
    if len(words) < min_words:
        return None
    rate, num_frames = bank.value(row, "sample_rate_hz"), bank.value(row, "num_frames")
    first, past = 0, len(words)
    if num_frames > max_duration_s * rate:
        stretches = [(a, b) for a, b in _stretches(words, max_duration_s) if b - a >= min_words]
        if not stretches:
            return None
        first, past = stretches[int(generator.integers(len(stretches)))]
    start_s = max(_middle(words, first), words[first][1] - MARGIN_S) if first else 0.0
    end_s = min(_middle(words, past), words[past - 1][2] + MARGIN_S) if past < len(words) else num_frames / rate
    start_frame, end_frame = int(start_s * rate), min(int(end_s * rate), num_frames)
    clip = Clip(
        **{name: bank.value(row, name) for name in ("id", "path", "role", "licence", "sha256", "speaker")},
        text=bank.value(row, "text") if (first, past) == (0, len(words)) else "",
        sample_rate_hz=rate,
        start_frame=start_frame,
        num_frames=end_frame - start_frame,
    )
    shift_s, length_s = start_frame / rate, clip.num_frames / rate
    inside = [(round(max(a - shift_s, 0.0), 5), round(min(b - shift_s, length_s), 5)) for _, a, b in words[first:past]]
    names = spelled([word for word, _, _ in words], language)[first:past]
    return Utterance(clip, tuple((word, *span) for word, span in zip(names, inside)))


def around(spoken: Utterance, span: tuple[int, int], num_words: int) -> tuple[Utterance, tuple[int, int]]:
    """The words of the span with so many on each side, so that no more of the file is read, and the span in that."""
    first, past = max(span[0] - num_words, 0), min(span[1] + num_words, len(spoken.words))
    clip, words = spoken.clip, spoken.words
    rate, length_s = clip.sample_rate_hz, clip.num_frames / clip.sample_rate_hz
    start = int(max(words[first][1] - MARGIN_S, 0.0) * rate)
    end = min(int(min(words[past - 1][2] + MARGIN_S, length_s) * rate) + 1, clip.num_frames)
    part = msgspec.structs.replace(clip, start_frame=clip.start_frame + start, num_frames=end - start, text="")
    inside = [(word, round(a - start / rate, 5), round(b - start / rate, 5)) for word, a, b in words[first:past]]
    return Utterance(part, tuple(inside)), (span[0] - first, span[1] - first)


def _middle(words: Words, number: int) -> float:
    """Of the pause before word `number`."""
    return (words[number - 1][2] + words[number][1]) / 2


def _stretches(words: Words, max_duration_s: float) -> Iterator[tuple[int, int]]:
    """The longest stretch that fits from each pause on, (first word, past the last)."""
    pauses = [number for number in range(1, len(words)) if words[number][1] - words[number - 1][2] >= PAUSE_S]
    ends = [*pauses, len(words)]
    for first in (0, *pauses):
        start_s = words[first][1] - MARGIN_S
        fit = [past for past in ends if past > first and words[past - 1][2] + MARGIN_S - start_s <= max_duration_s]
        if fit:
            yield first, fit[-1]


def session(bank: Bank, row: int) -> tuple[str, str, int]:
    """What tells recordings of one speaker, made alike: the label `session`, or else the folder (a chapter of LibriSpeech), and
    the sample rate."""
    folder = str(PurePosixPath(bank.value(row, "path")).parent)
    return bank.value(row, "speaker"), str(facts(bank, row).get("session", folder)), bank.value(row, "sample_rate_hz")


def candidates(bank: Bank, generator: np.random.Generator) -> Iterator[int]:
    """Rows of speech, a random one of a random speaker each; after some tries those that have word times, in random order.

    ValueError if there is no speech with word times.
    """
    for _ in range(TRIES):
        yield bank.row(generator, "speech", bank.group(generator, "speech"))
    rows = np.sort(bank.members["speech"].rows)
    timed = np.zeros(0, np.int64)
    if "words" in bank.table.column_names:
        timed = rows[pc.fill_null(pc.not_equal(bank.table["words"].take(rows), ""), False).to_numpy(zero_copy_only=False)]
    if not len(timed):
        raise ValueError(
            "speech_edit needs word times, no speech of this split of the corpus has them (column `words`): make align"
            " CORPUS=... OUT=... finds them for files with transcripts (pipelines.align), or takes TextGrid and CTM files"
        )
    yield from map(int, generator.permutation(timed)[:SEARCHED])


def companions(bank: Bank, generator: np.random.Generator, row: int, exclude: Container[int] = ()) -> Iterator[int]:
    """Other rows of the same speaker and session, in random order."""
    members = bank.members["speech"]
    speaker = bank.value(row, "speaker")
    if not speaker:
        return
    group = int(np.searchsorted(members.names, speaker))
    same = session(bank, row)
    for other in generator.permutation(members.of(group)):
        if other != row and other not in exclude and session(bank, int(other)) == same:
            yield int(other)
