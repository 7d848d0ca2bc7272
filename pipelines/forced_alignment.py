"""Word times of a known text: PocketSphinx's forced alignment with the US English model of its wheel, checked.

Recognition with this model is poor; finding words that are known to be there is not (measured on eSpeak's own word times).
What the checks cannot vouch for is refused: a wrong text, a word that is not said, speech that is not in the text.
"""

import math
import re
from dataclasses import dataclass

import numpy as np
import soxr
from pocketsphinx import Decoder

from pipelines.pronunciation import pronounce
from pipelines.word_times import Refused, Words, written
from simulation.signals.levels import db

RATE_HZ = 16_000
FRAMES_PER_S = 100
MAX_DURATION_S = 60.0
BEAM = 1e-100  # one path only: wide enough to lose none that is worth having
PLAIN = str.maketrans("\u2019\u2013", "'-")  # typographic apostrophe and dash
SCORE_UNIT = 1024  # decoder's scores are stored in units of 1/1024 of a natural logarithm


@dataclass(frozen=True)
class Limits:
    """Where the checks draw the line. Scores are mean log likelihoods a frame, beside the best of all candidate states."""

    min_score: float = -3.4
    min_word_score: float = -6.0
    quiet_db: float = -25.0
    """Loudest frame of a word beside the utterance's loudest tenth."""
    s_per_phone: float = 0.5
    heard_db: float = -20.0
    """Frames above this are speech, or should be."""
    max_unspoken_s: float = 0.3
    """Longest stretch of them outside all words."""


@dataclass(frozen=True)
class Segment:
    """Frames first..past of a dictionary entry, or of a pause, and their log likelihood."""

    spoken: bool
    first: int
    past: int
    likelihood: float


@dataclass(frozen=True)
class Alignment:
    """Word times and how well they fit."""

    words: Words
    score: float  # mean over the frames of all words
    scores: list[float]  # mean over the frames of each
    likelihood: float  # log, of all frames, pauses included: of two texts the better one has more

    @property
    def worst(self) -> float:
        """The score of the word that fits worst."""
        return min(self.scores)


class Aligner:
    """Holds the acoustic model (0.2 s to load). The same audio and text give the same times, whatever came before."""

    def __init__(self, limits: Limits | None = None):
        self.limits = limits or Limits()
        beams = dict.fromkeys(("beam", "wbeam", "pbeam"), BEAM)
        self._decoder = Decoder(lm=None, loglevel="FATAL", bestpath=False, **beams)
        self._decoder.config["remove_noise"] = False  # its estimate runs on from one utterance to the next
        self._decoder.reinit_feat()

    def align(self, audio: np.ndarray, sample_rate_hz: int, text: str) -> Alignment:
        """Times of the text's words in mono audio `(samples,)`. Refused with a reason where they cannot be trusted."""
        tokens = written(text)
        if not tokens:
            raise Refused("no_words", repr(text[:80]))
        if len(audio) > MAX_DURATION_S * sample_rate_hz:
            raise Refused("too_long", f"{len(audio) / sample_rate_hz:.1f} s")
        parts = [self._parts(token) for token in tokens]
        mono = audio if sample_rate_hz == RATE_HZ else soxr.resample(audio, sample_rate_hz, RATE_HZ, quality="HQ")
        found = self._found(mono, [part for some in parts for part in some])
        alignment = _merged(tokens, [len(some) for some in parts], found, len(audio) / sample_rate_hz)
        self._check(alignment, mono, parts)
        return alignment

    def _parts(self, token: str) -> list[str]:
        """The dictionary entries that a written word is spoken as: itself, its parts between hyphens, or a new one."""
        word = token.lower().translate(PLAIN)
        if self._decoder.lookup_word(word):
            return [word]
        pieces = [piece for piece in re.split(r"[-/]", word) if piece]
        if len(pieces) > 1:
            return [part for piece in pieces for part in self._parts(piece)]
        latin = all(ord(letter) < 0x250 or letter == "'" for letter in word)
        phones = pronounce(word) if latin else ""
        if not phones:
            raise Refused("no_pronunciation", repr(token))
        self._decoder.add_word(word, phones, update=True)
        return [word]

    def _found(self, mono: np.ndarray, words: list[str]) -> list[Segment]:
        """The words and the pauses between them."""
        peak = float(np.abs(mono).max(initial=0.0))
        if not peak:
            raise Refused("not_aligned", "digital silence")
        samples = np.rint(mono * (0.9 * 32767 / peak)).astype("<i2")
        self._decoder.set_align_text(" ".join(words))
        self._decoder.start_utt()
        self._decoder.process_raw(samples.tobytes(), full_utt=True)
        self._decoder.end_utt()
        found = [
            Segment(part.word[0] not in "<[(", part.start_frame, part.end_frame + 1, SCORE_UNIT * math.log(part.ascore))
            for part in (self._decoder.seg() if self._decoder.hyp() else ())
        ]
        num_words = sum(part.spoken for part in found)
        if num_words != len(words):
            raise Refused("not_aligned", f"{num_words} of {len(words)} words were found in {len(mono) / RATE_HZ:.1f} s")
        return found

    def _check(self, alignment: Alignment, mono: np.ndarray, parts: list[list[str]]) -> None:
        limits = self.limits
        if alignment.score < limits.min_score:
            raise Refused("bad_score", f"{alignment.score:.2f} a frame, at least {limits.min_score} is wanted")
        if alignment.worst < limits.min_word_score:
            word, start_s, _ = alignment.words[alignment.scores.index(alignment.worst)]
            raise Refused(
                "bad_word", f"{word!r} at {start_s:.2f} s: {alignment.worst:.2f} a frame, {limits.min_word_score} is wanted"
            )
        powers = _frame_powers(mono)
        loud = max(float(np.quantile(powers, 0.9)), 1e-20)
        spoken = np.zeros(len(powers), bool)
        for (word, start_s, end_s), part in zip(alignment.words, parts):
            frames = slice(int(start_s * FRAMES_PER_S), max(int(end_s * FRAMES_PER_S), int(start_s * FRAMES_PER_S) + 1))
            spoken[frames] = True
            level_db = db(float(powers[frames].max(initial=0.0)) / loud)
            if level_db < limits.quiet_db:
                raise Refused("quiet_word", f"{word!r} at {start_s:.2f} s: {level_db:.0f} dB below the speech around it")
            longest = limits.s_per_phone * sum(len(self._decoder.lookup_word(one).split()) for one in part)
            if end_s - start_s > longest:
                raise Refused("long_word", f"{word!r} at {start_s:.2f} s lasts {end_s - start_s:.2f} s, at most {longest:.2f}")
        stretch_s = _longest(~spoken & (powers > loud * 10 ** (limits.heard_db / 10))) / FRAMES_PER_S
        if stretch_s > limits.max_unspoken_s:
            raise Refused("unspoken_for", f"{stretch_s:.2f} s of speech in no word")


def _merged(tokens: list[str], sizes: list[int], found: list[Segment], duration_s: float) -> Alignment:
    """Times of the written words from those of their parts."""
    spoken, words, scores = [part for part in found if part.spoken], [], []
    left = iter(spoken)
    for token, size in zip(tokens, sizes):
        own = [next(left) for _ in range(size)]
        words.append((token, own[0].first / FRAMES_PER_S, round(min(own[-1].past / FRAMES_PER_S, duration_s), 5)))
        scores.append(_mean(own))
    return Alignment(words, _mean(spoken), scores, sum(part.likelihood for part in found))


def _mean(parts: list[Segment]) -> float:
    """Log likelihood a frame."""
    return sum(part.likelihood for part in parts) / sum(part.past - part.first for part in parts)


def _frame_powers(mono: np.ndarray) -> np.ndarray:
    """Mean square of 10 ms frames."""
    length = RATE_HZ // FRAMES_PER_S
    padded = np.pad(mono.astype(np.float64), (0, -len(mono) % length))
    return np.square(padded).reshape(-1, length).mean(axis=1)


def _longest(flags: np.ndarray) -> int:
    """Length of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))
