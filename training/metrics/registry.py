"""All metrics: name, unit, which way is better, what they need, what they were made for."""

import difflib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

from training.metrics import dnsmos, mel_distance, pesq_score, si_sdr, stft_distance, stoi_score
from training.metrics.plug_in import PlugIn, Score

NO_WEIGHTS = "not run: no weights"


@dataclass(frozen=True)
class Metric:
    """A number for one clip. `score` is None where the metric needs a plug-in and has none."""

    name: str
    title: str
    score: Score | None
    better: Literal["higher", "lower"]
    about: str  # definition and version
    unit: str = ""
    packages: tuple[str, ...] = ()  # importable by these names, which are those of their distributions
    speech_only: bool = False
    hears_reference: bool = True

    def why_not(self) -> str:
        """Why it cannot run here; "" if it can."""
        absent = [package for package in self.packages if importlib.util.find_spec(package) is None]
        if absent:
            return f"not run: {', '.join(absent)} is not installed"
        return "" if self.score else NO_WEIGHTS

    def versions(self) -> dict[str, str]:
        """Of the packages, where it runs."""
        return {} if self.why_not() else {package: version(package) for package in self.packages}


_SPEECH = {"speech_only": True}
_DNSMOS = {"packages": ("speechmos", "onnxruntime"), "hears_reference": False, **_SPEECH}
_DNSMOS_ABOUT = "DNSMOS P.835, 16 kHz, weights of the package speechmos; heard without the reference"
_ALL = (
    Metric(
        "mel_distance",
        "mel distance",
        mel_distance.score,
        "lower",
        "L1 of mel and log10 mel power, windows 2048 and 512, 150 and 80 bands",
    ),
    Metric(
        "stft_distance",
        "STFT distance",
        stft_distance.score,
        "lower",
        "L1 of STFT magnitude and log10 power, windows 2048 and 512",
    ),
    Metric("si_sdr", "SI-SDR", si_sdr.score, "higher", "means removed, within ±100 dB", unit="dB"),
    Metric(
        "pesq_wb",
        "PESQ wb",
        pesq_score.score_wide,
        "higher",
        "P.862.2 without Corrigendum 2, 16 kHz",
        "MOS",
        ("pesq",),
        **_SPEECH,
    ),
    Metric(
        "pesq_nb",
        "PESQ nb",
        pesq_score.score_narrow,
        "higher",
        "P.862 with P.862.1, 8 kHz",
        "MOS",
        ("pesq",),
        **_SPEECH,
    ),
    Metric("stoi", "STOI", stoi_score.score, "higher", "Taal 2011, pystoi, 10 kHz", packages=("pystoi",), **_SPEECH),
    Metric(
        "estoi",
        "ESTOI",
        stoi_score.score_extended,
        "higher",
        "Jensen and Taal 2016, pystoi, 10 kHz",
        packages=("pystoi",),
        **_SPEECH,
    ),
    Metric("dnsmos_sig", "DNSMOS SIG", dnsmos.score_signal, "higher", _DNSMOS_ABOUT, "MOS", **_DNSMOS),
    Metric("dnsmos_bak", "DNSMOS BAK", dnsmos.score_background, "higher", _DNSMOS_ABOUT, "MOS", **_DNSMOS),
    Metric("dnsmos_ovrl", "DNSMOS OVRL", dnsmos.score_overall, "higher", _DNSMOS_ABOUT, "MOS", **_DNSMOS),
    Metric("utmos", "UTMOS", None, "higher", "by plug-in", "MOS", hears_reference=False, **_SPEECH),
    Metric("speaker_similarity", "speaker similarity", None, "higher", "cosine of embeddings, by plug-in", **_SPEECH),
    Metric("wer", "word errors", None, "lower", "by plug-in", "%", **_SPEECH),
)
METRICS = {metric.name: metric for metric in _ALL}
CHEAP = ("mel_distance", "stft_distance", "si_sdr", "stoi")  # for validation while training


def choose(names: Sequence[str] = (), plug_ins: Sequence[PlugIn] = ()) -> list[Metric]:
    """These metrics, or all, with the plug-ins in their places; one of a new name joins at the end, higher being better.

    Plug-ins are opened once, so that a wrong file is named now. ValueError for it and for an unknown name.
    """
    known = dict(METRICS)
    for plug_in in plug_ins:
        plug_in.open()
        known[plug_in.metric] = _with(known.get(plug_in.metric), plug_in)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ValueError(
                f"no metric {name!r}: " + (f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}")
            )
    return [metric for name, metric in known.items() if not names or name in names]


def _with(metric: Metric | None, plug_in: PlugIn) -> Metric:
    about = f"plug-in {plug_in.function or plug_in.path}" + (f", sha256 {plug_in.sha256[:16]}" if plug_in.sha256 else "")
    if metric is None:
        return Metric(plug_in.metric, plug_in.metric.replace("_", " "), plug_in, "higher", about)
    kept = {name: getattr(metric, name) for name in ("unit", "speech_only", "hears_reference")}
    return Metric(metric.name, metric.title, plug_in, metric.better, about, **kept)
