"""Which metrics each task is judged by, and what each of them hears of an example.

Beside those of registry.py, which hear a reference and an estimate, some hear the input, the text or the transcript. Plug-ins
(plug_in.py) of `clap_score` are functions `(estimate, sample_rate_hz, text) -> float`, all others `(reference, estimate,
sample_rate_hz) -> float`.
"""

import difflib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from training.metrics import aecmos, edit_accuracy, plcmos, sdr, word_errors
from training.metrics.plug_in import PlugIn
from training.metrics.registry import METRICS, Metric, choose
from training.metrics.scoring import SPEECH, Pair, Score, score_pair
from training.metrics.signals import Unscorable
from training.metrics.word_errors import NO_RECOGNISER, Recogniser

SOUND = "sound"
NO_TARGET = "the set has no target audio"


@dataclass(frozen=True, eq=False)
class Heard:
    """One estimate and all that a metric may ask for; waves are mono `(samples,)` float of one sample rate, full scale +-1."""

    estimate: np.ndarray
    sample_rate_hz: int
    reference: np.ndarray | None  # the target
    input: np.ndarray | None = None
    loopback: np.ndarray | None = None  # what the loudspeaker plays, for aec
    text: str = ""  # what the target is, in words
    transcript: str = ""  # what the target says
    domain: str = SPEECH
    is_original: bool = False  # the estimate is the target itself


@dataclass(frozen=True)
class TaskMetric:
    """A metric and how it is fed; `hear` is None where the pair of target and estimate is all that it takes."""

    metric: Metric
    hear: Callable[[Heard], float] | None = None
    without: str = ""  # why it cannot run here, if it is not for want of a package or of weights

    @property
    def name(self) -> str:
        return self.metric.name

    def why_not(self) -> str:
        return self.without or self.metric.why_not()


def _plcmos(heard: Heard) -> float:
    return plcmos.score(heard.estimate, heard.estimate, heard.sample_rate_hz)


def _aecmos(part: str) -> Callable[[Heard], float]:
    def score(heard: Heard) -> float:
        if heard.loopback is None or heard.input is None:
            raise Unscorable("no microphone or loudspeaker signal")
        talk = aecmos.talk_type(_target(heard), heard.loopback)
        waves = heard.loopback, heard.input, heard.estimate
        return getattr(aecmos.rate(*waves, sample_rate_hz=heard.sample_rate_hz, talk=talk), part)

    return score


def _edit(part: str) -> Callable[[Heard], float]:
    def score(heard: Heard) -> float:
        if heard.input is None:
            raise Unscorable("no input")
        found = edit_accuracy.measure(heard.input, _target(heard), heard.estimate, heard.sample_rate_hz)
        value = getattr(found, part)
        if value is None:
            raise Unscorable("the edit changes nothing that is heard" if part == "accuracy" else "no such frames")
        return value

    return score


def _target(heard: Heard) -> np.ndarray:
    if heard.reference is None:
        raise Unscorable(NO_TARGET)
    return heard.reference


def _similar(heard: Heard, metric: Metric) -> float:
    """Voices are compared over what both are long: the target need not be of the same time."""
    num_samples = min(len(_target(heard)), len(heard.estimate))
    return metric.score(heard.reference[:num_samples], heard.estimate[:num_samples], heard.sample_rate_hz)


def _about_text(heard: Heard, metric: Metric) -> float:
    if not heard.text:
        raise Unscorable("no text")
    return metric.score.opened()(heard.estimate, heard.sample_rate_hz, heard.text)


_AECMOS = "AECMOS, 16 kHz with the scenario, weights of the package speechmos"
_EDIT = "20 ms log-mel frames aligned by time warping, see training/metrics/edit_accuracy.py: "
_MOS = {"unit": "MOS", "packages": ("speechmos", "onnxruntime"), "speech_only": True, "hears_reference": False}
_OWN = (
    TaskMetric(Metric("sdr", "SDR", sdr.score, "higher", "BSS Eval 3, 512 taps", "dB", ("fast_bss_eval",))),
    TaskMetric(Metric("plcmos", "PLCMOS", plcmos.score, "higher", "PLCMOS v2, 16 kHz, speechmos", **_MOS), _plcmos),
    TaskMetric(Metric("aecmos_echo", "AECMOS echo", abs, "higher", _AECMOS, **_MOS), _aecmos("echo")),
    TaskMetric(Metric("aecmos_other", "AECMOS other", abs, "higher", _AECMOS, **_MOS), _aecmos("other")),
    TaskMetric(
        Metric("edit_accuracy", "edit accuracy", abs, "higher", _EDIT + "share of changed frames that are as asked"),
        _edit("accuracy"),
    ),
    TaskMetric(
        Metric("edit_kept", "unedited distance", abs, "lower", _EDIT + "where nothing was to change", "dB"), _edit("kept_db")
    ),
    TaskMetric(
        Metric("edit_changed", "edited distance", abs, "lower", _EDIT + "where it was to change", "dB"), _edit("edited_db")
    ),
    TaskMetric(Metric("edit_length", "length error", abs, "lower", "against the reference edit", "s"), _edit("length_s")),
    TaskMetric(Metric("clap_score", "CLAP score", None, "higher", "sound beside text, by plug-in", hears_reference=False)),
)

_SEPARATION = ("si_sdr", "sdr", "mel_distance", "stft_distance")
_SPEECH = ("pesq_wb", "pesq_nb", "stoi", "estoi")
_HEARD = ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "utmos", "speaker_similarity", "wer")
_EDITING = ("edit_accuracy", "edit_kept", "edit_changed", "edit_length")
SETS: dict[str, tuple[str, ...]] = {
    "sr": (*_SEPARATION, *_SPEECH, *_HEARD, "plcmos"),
    "tse": (*_SEPARATION, *_SPEECH, *_HEARD),
    "rtse": (*_SEPARATION, *_SPEECH, *_HEARD),
    "ss": (*_SEPARATION, *_SPEECH, *_HEARD),
    "aec": (*_SEPARATION, *_SPEECH, *_HEARD, "aecmos_echo", "aecmos_other"),
    "vc": ("mel_distance", "stft_distance", *_HEARD),  # waveform ratios mean nothing for another voice
    "lass": (*_SEPARATION, "clap_score"),
    "speech_edit": (*_EDITING, *_HEARD),
    "event_edit": (*_EDITING, "clap_score"),
    "tta": (*_HEARD, "clap_score"),
    "codec": (*_SEPARATION, *_SPEECH, *_HEARD),
}


def choose_all(
    names: Sequence[str] = (), plug_ins: Sequence[PlugIn] = (), recogniser: Recogniser | None = None
) -> dict[str, TaskMetric]:
    """By name, these or all, with plug-ins in their places. ValueError for an unknown name, and for a plug-in's wrong file."""
    found = {metric.name: TaskMetric(metric) for metric in choose((), [one for one in plug_ins if one.metric not in _FED])}
    found |= {one.name: one for one in _OWN}
    for plug_in in (one for one in plug_ins if one.metric in _FED):
        (metric,) = choose((plug_in.metric,), (plug_in,))
        kept = _FED[plug_in.metric].metric
        metric = Metric(kept.name, kept.title, plug_in, kept.better, metric.about, hears_reference=False)
        found[metric.name] = TaskMetric(metric, partial(_about_text, metric=metric))
    similar = found["speaker_similarity"].metric
    found["speaker_similarity"] = TaskMetric(similar, partial(_similar, metric=similar) if similar.score else None)
    if all(one.metric != "wer" for one in plug_ins):
        found["wer"] = _wer(recogniser)
    unknown = [name for name in names if name not in found]
    if unknown:
        near = difflib.get_close_matches(unknown[0], found, n=1)
        raise ValueError(
            f"no metric {unknown[0]!r}: " + (f"did you mean {near[0]!r}?" if near else f"there are {', '.join(found)}")
        )
    return {name: one for name, one in found.items() if not names or name in names}


_FED = {one.name: one for one in _OWN if one.name == "clap_score"}  # plug-ins that are fed otherwise than registry's


def _wer(recogniser: Recogniser | None) -> TaskMetric:
    known = METRICS["wer"]
    about = recogniser.about if recogniser else "jiwer, against the transcript"
    metric = Metric("wer", known.title, word_errors.score, "lower", about, "%", ("jiwer",), True, hears_reference=False)
    if recogniser is None:
        return TaskMetric(metric, without=NO_RECOGNISER)
    return TaskMetric(
        metric, lambda heard: word_errors.score(heard.estimate, heard.sample_rate_hz, heard.transcript, recogniser)
    )


def of_task(name: str, metrics: dict[str, TaskMetric]) -> list[TaskMetric]:
    """Those of a task; plug-ins under names of their own are for every task."""
    standard = {one for names in SETS.values() for one in names}
    return [one for one in metrics.values() if one.name in SETS[name] or one.name not in standard]


def score(heard: Heard, metrics: Sequence[TaskMetric]) -> Iterator[tuple[str, Score, float]]:
    """Name, score and the CPU seconds that it took: what else this machine does is not counted."""
    for one in metrics:
        started = time.process_time()
        found = _score(heard, one)
        yield one.name, found, time.process_time() - started


def _score(heard: Heard, one: TaskMetric) -> Score:
    refusal = one.why_not() or _unasked(heard, one)
    if refusal:
        return Score(None, refusal)
    if one.hear is None:
        reference = heard.reference if one.metric.hears_reference else heard.estimate
        pair = Pair(reference, heard.estimate, heard.sample_rate_hz, heard.domain, heard.is_original)
        return score_pair(pair, [one.metric])[one.name]
    try:
        value = float(one.hear(heard))
    except Unscorable as error:
        return Score(None, str(error))
    return Score(value) if math.isfinite(value) else Score(None, f"the metric's answer is {value}")


def _unasked(heard: Heard, one: TaskMetric) -> str:
    """Why a metric is not run on this."""
    metric, reference = one.metric, heard.reference
    if metric.speech_only and heard.domain != SPEECH:
        return "made for speech"
    if not metric.hears_reference:
        return ""
    if reference is None:
        return NO_TARGET
    if heard.is_original:
        return "is the reference itself"
    if one.hear is None and len(reference) != len(heard.estimate):
        return "not as long as the target: they are not of the same time"
    return ""
