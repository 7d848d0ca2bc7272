"""Word error rate against the transcript, by jiwer, and the recognisers that can be plugged in.

A recogniser is a function `(wave, sample_rate_hz) -> str`. `pocketsphinx` comes with the dependencies, works offline and
recognises poorly: its errors say something of large differences only. Others: MODULE:FUNCTION@FILE@SHA256, a
function of the file's path that returns one, or MODULE:FUNCTION.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from training.metrics.plug_in import PlugIn, parse
from training.metrics.signals import Unscorable, at_rate, check_sound

Recognise = Callable[[np.ndarray, int], str]
POCKETSPHINX = "pocketsphinx"
NO_RECOGNISER = "not run: no recogniser"
RATE_HZ = 16000
UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")  # scripts without spaces: characters are counted


@dataclass(frozen=True)
class Recogniser:
    """By its name, opened in each process when it is first used."""

    text: str
    plug_in: PlugIn | None = None

    @property
    def about(self) -> str:
        if self.plug_in is None:
            return "pocketsphinx, US English: a POOR recogniser, only large differences mean anything"
        return f"recogniser {self.plug_in.function}" + (f", sha256 {self.plug_in.sha256[:16]}" if self.plug_in.sha256 else "")

    def __call__(self, wave: np.ndarray, sample_rate_hz: int) -> str:
        return _open(self)(wave, sample_rate_hz)


def recogniser(text: str) -> Recogniser | None:
    """None for "". ValueError for anything that is not one, a file of another hash included."""
    if not text:
        return None
    if text == POCKETSPHINX:
        return Recogniser(text)
    try:
        found = Recogniser(text, parse(f"recogniser={text}"))
    except ValueError:
        raise ValueError(f"--recogniser {text}: give {POCKETSPHINX}, MODULE:FUNCTION or MODULE:FUNCTION@FILE@SHA256") from None
    if not found.plug_in.function:
        raise ValueError(f"--recogniser {text}: an ONNX file alone cannot say words: give MODULE:FUNCTION@FILE@SHA256")
    _open(found)
    return found


@lru_cache(4)
def _open(chosen: Recogniser) -> Recognise:
    return _Pocketsphinx() if chosen.plug_in is None else chosen.plug_in.open()


class _Pocketsphinx:
    def __init__(self):
        from pocketsphinx import Decoder

        self._decoder = Decoder(samprate=RATE_HZ, loglevel="FATAL", cmn="batch")

    def __call__(self, wave: np.ndarray, sample_rate_hz: int) -> str:
        pcm = np.clip(at_rate(np.asarray(wave, np.float64), sample_rate_hz, RATE_HZ), -1, 1)
        self._decoder.start_utt()
        self._decoder.process_raw((pcm * 32767).astype(np.int16).tobytes(), full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return found.hypstr if found else ""


def words(text: str) -> str:
    """Lower case, without punctuation, apostrophes kept; characters apart in scripts without spaces."""
    text = unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'")
    text = "".join(letter if letter.isalnum() or letter in "' " or unicodedata.combining(letter) else " " for letter in text)
    return " ".join(UNSPACED.sub(lambda found: f" {found[0]} ", text).split())


def score(estimate: np.ndarray, sample_rate_hz: int, transcript: str, recognise: Recognise) -> float:
    """Errors per word of the transcript in %, above 100 where words are made up; of silence 100. Unscorable: no transcript."""
    wanted = words(transcript)
    if not wanted:
        raise Unscorable("no transcript")
    estimate = np.asarray(estimate, np.float64)
    if not np.isfinite(estimate).all():
        raise Unscorable("samples that are not finite")
    try:
        check_sound(estimate=estimate)
    except Unscorable:
        return 100.0
    return 100 * word_error_rate(wanted, words(str(recognise(estimate, sample_rate_hz))))


def word_error_rate(wanted: str, heard: str) -> float:
    import jiwer

    return float(jiwer.wer(wanted, heard))
