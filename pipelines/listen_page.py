"""The page of pipelines.listen: what it shows, as data; how numbers are worded; the HTML, by the template listen.html."""

import base64
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from infra.shards import encode_flac
from pipelines.outliers import Choice, Reason, label_names, misses, values_of
from pipelines.page import html
from pipelines.pictures import frequency_ticks, histogram_svg, spectrogram_png
from simulation.example import Clip
from simulation.labels import RESIDUAL_LIMIT_DB, disagreements, tolerance_of
from simulation.signals.levels import active_power, db, from_int16

UNITS = {"db": "dB", "s": "s", "hz": "Hz", "ms": "ms", "share": "%"}
ACRONYMS = {
    "snr": "SNR",
    "sir": "SIR",
    "sdr": "SDR",
    "rt60": "RT60",
    "drr": "DRR",
    "dc": "DC",
    "f0": "F0",
    "erle": "ERLE",
    "ser": "SER",
    "enr": "ENR",
}
MINUS, SPACE = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"
ENDLESS_DB = 200.0  # what the labels say for the level of silence, and for a ratio to it
EQUAL_LEVEL_DB = -26.0  # active level where "equal loudness" puts every role
PEAK = 0.99
ASKED = (
    "instruction",
    "caption",
    "query",
    "transcript",
    "text",
)  # texts that are part of the task; others describe the example


@dataclass(frozen=True)
class Role:
    """One signal of an example, with everything that its player needs."""

    name: str
    audio: str  # data URI or link, FLAC
    picture: str  # data URI or link, PNG
    duration_s: float
    level: str
    peak: str
    equal_gain: float  # to the level that all roles share under "equal loudness", without clipping
    timeline: str  # roles of one time line are switched at the same position
    ticks: list[tuple[str, float]]


@dataclass(frozen=True)
class LabelRow:
    """A line of the table of requested against measured labels."""

    name: str
    requested: str
    measured: str
    limit: str  # empty for a label that is held to nothing
    missed: bool


@dataclass(frozen=True)
class Card:
    """One example."""

    key: str
    why: list[str]
    random: bool
    texts: dict[str, str]
    roles: list[Role]
    labels: list[LabelRow]
    sources: list[Clip]
    scene: str

    def longest_s(self) -> float:
        return max(role.duration_s for role in self.roles)

    def asked(self) -> dict[str, str]:
        return {name: text for name, text in self.texts.items() if name.rstrip("0123456789") in ASKED}

    def described(self) -> dict[str, str]:
        return {name: text for name, text in self.texts.items() if name not in self.asked()}

    def num_bytes(self) -> int:
        return sum(len(role.audio) + len(role.picture) for role in self.roles)


@dataclass(frozen=True)
class Distribution:
    """A label over the whole manifest."""

    name: str
    svg: str  # empty where all values are the same
    lowest: str
    median: str
    highest: str
    note: str
    num_missed: int


@dataclass(frozen=True)
class Section:
    """One dataset."""

    task: str
    place: str
    identity: str
    facts: list[str]
    licences: dict[str, int]
    distributions: list[Distribution]
    cards: list[Card]

    def num_missed(self) -> int:
        """Labels of all examples that are not what was requested."""
        return sum(chart.num_missed for chart in self.distributions)


def page(sections: list[Section]) -> str:
    """The whole HTML document; every text in it is escaped."""
    return html("listen.html", sections=sections)


def role(
    name: str,
    audio: np.ndarray,
    sample_rate_hz: int,
    aligned: bool = True,
    *,
    keep: Callable[[str, bytes], str] | None = None,
) -> Role:
    """The player of int16 `(channels, samples)`; what is not `aligned` with the other roles keeps a position of its own.

    `keep` gives the place of a file of this kind and these bytes; without it they are in the page itself.
    """
    keep = keep or _data_uri
    signal = from_int16(audio)
    level_db, peak = db(active_power(signal, sample_rate_hz)), float(np.abs(signal).max(initial=0.0))
    return Role(
        name,
        keep("audio/flac", encode_flac(audio, sample_rate_hz)),
        keep("image/png", spectrogram_png(audio, sample_rate_hz)),
        audio.shape[1] / sample_rate_hz,
        quantity("level_db", round(level_db, 1)),
        quantity("peak_db", round(db(peak**2), 1)),
        round(min(10 ** ((EQUAL_LEVEL_DB - level_db) / 20), PEAK / peak), 4) if peak else 1.0,
        "main" if aligned else name,
        frequency_ticks(sample_rate_hz),
    )


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def label_rows(requested: dict[str, float], measured: dict[str, float]) -> list[LabelRow]:
    """One line a label: those with a request first, each judged as the gate does."""
    missed = {line.partition(":")[0] for line in disagreements(requested, measured)}
    rows = []
    for label in [*requested, *(label for label in measured if label not in requested)]:
        values = (quantity(label, labels[label]) if label in labels else "" for labels in (requested, measured))
        rows.append(LabelRow(label_name(label), *values, _limit(label, requested), label in missed))
    return rows


def _limit(label: str, requested: dict[str, float]) -> str:
    if label == "stem_residual_db":
        return f"≤{SPACE}{quantity(label, RESIDUAL_LIMIT_DB)}"
    tolerance = tolerance_of(label)
    if label not in requested or not tolerance:
        return ""
    allowed = tolerance.absolute + tolerance.relative * abs(requested[label])
    return f"±{SPACE}{quantity(label, allowed)}" if allowed else "exact"


def distribution(labels: pd.DataFrame, name: str, choices: list[Choice]) -> Distribution:
    """How one label is spread, with marks where the chosen examples lie."""
    measured, requested = values_of(labels, f"measured_{name}"), values_of(labels, f"requested_{name}")
    shown = measured if np.isfinite(measured).any() else requested
    present = shown[~np.isnan(shown)]
    drawn, asked = _drawable(name, measured), _drawable(name, requested)
    spread = np.unique(np.concatenate([drawn, asked]))
    marks = _drawable(name, shown[[choice.row for choice in choices]]).tolist()
    lowest, median, highest = (quantity(name, float(value)) for value in (present.min(), np.median(present), present.max()))
    num_endless = len(present) - len(_drawable(name, shown))
    note = f"{len(present):,} of {len(labels):,}" if len(present) < len(labels) else ""
    note += (", " if note else "") + f"{num_endless:,} at ±∞" if num_endless and len(spread) > 1 else ""
    svg = histogram_svg(drawn, asked, marks) if len(spread) > 1 else ""
    ends = lowest.partition(SPACE)[0], highest.partition(SPACE)[0]  # the median says the unit
    return Distribution(label_name(name), svg, ends[0], median, ends[1], note, int((misses(labels, name) > 0).sum()))


def _drawable(name: str, values: np.ndarray) -> np.ndarray:
    """Values that fit on an axis: neither absent nor the level of silence."""
    return values[np.isfinite(values) & ~(name.endswith("_db") & (np.abs(values) >= ENDLESS_DB))]


def distributions(labels: pd.DataFrame, choices: list[Choice]) -> list[Distribution]:
    """Every label of the manifest: those that were requested first, those that never vary last."""
    names = sorted(label_names(labels), key=lambda name: f"requested_{name}" not in labels)
    return sorted((distribution(labels, name, choices) for name in names), key=lambda entry: not entry.svg)


def sentence(reason: Reason) -> str:
    """Why an example was chosen."""
    name, usual = label_name(reason.label), quantity(reason.label, reason.usual)
    found = "not" if math.isnan(reason.value) else quantity(reason.label, reason.value)
    if reason.kind == "miss":
        return f"{name} misses its request: {usual} asked, {found} measured"
    return f"{reason.kind} {name}: {found} (median {usual})"


def label_name(label: str) -> str:
    """`enrolment_snr_db` -> "enrolment SNR"; a share and a number of samples keep their word."""
    words = label.removesuffix("_per_s").split("_")
    words = words[:-1] if words[-1] in UNITS.keys() - {"share"} and len(words) > 1 else words
    return " ".join(_acronym(word) for word in words)


def _acronym(word: str) -> str:
    stem = word.rstrip("0123456789")
    return ACRONYMS.get(word) or (ACRONYMS[stem] + " " + word[len(stem) :] if stem in ACRONYMS else word)


def quantity(label: str, value: float) -> str:
    """A label's value with its unit: ("snr_db", -4.9) -> "−4.9 dB"."""
    unit = "/s" if label.endswith("_per_s") else UNITS.get(label.rpartition("_")[2], "")
    if unit == "dB" and abs(value) >= ENDLESS_DB:
        return f"{MINUS if value < 0 else ''}∞{SPACE}dB"
    value = 100 * value if unit == "%" else value
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
    number = f"{value:,.{digits}f}"
    number = number.rstrip("0").rstrip(".") if "." in number else number
    return f"{'0' if number == '-0' else number.replace('-', MINUS)}{SPACE}{unit}".rstrip()
