"""The numbers of a codec report: rows a clip, means with their intervals, differences, and the table for the terminal."""

import collections
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipelines.codec_measures import LayerUsage, Rate, Speed
from training.metrics.confidence import Mean, mean
from training.metrics.registry import Metric
from training.metrics.scoring import SPEECH, Score

CODEC, ORIGINAL, NARROW, FROM_MEL = "codec", "original", "4 kHz low-pass", "Griffin-Lim"
SYSTEMS = {
    ORIGINAL: "the clip itself; only metrics that hear no reference say anything of it",
    NARROW: "resampled to 8 kHz and back, nothing quantised",
    FROM_MEL: "80-band mel spectrogram with phases by Griffin-Lim, nothing quantised",
}
PUBLISHED_ON = "LibriSpeech test-clean"
PUBLISHED_COLUMNS = ("bits/s", "PESQ", "STOI", "UTMOS", "speaker similarity", "word errors %")
# As the H-Codec report (arXiv 2512.20151) states them.
PUBLISHED = {
    "H-Codec 1.0": (2000, 2.99, 0.94, 4.06, 0.84, 3.18),
    "X-Codec": (2000, 2.64, 0.92, 3.88, 0.77, 3.33),
    "DAC": (2000, 1.42, 0.84, 1.83, 0.60, 4.32),
    "EnCodec": (6000, 2.77, 0.94, 3.09, 0.89, 2.64),
    "BiCodec": (650, 2.51, 0.92, 4.18, 0.80, 3.23),
    "X-Codec2": (800, 2.43, 0.92, 4.13, 0.82, 3.53),
}


@dataclass(frozen=True)
class Row:
    """One clip: the scores of every system by metric."""

    key: str
    domain: str
    cluster: str  # what is drawn together: the speaker, or the recording that the clip is cut from
    duration_s: float
    scores: dict[str, dict[str, Score]]  # system -> metric


@dataclass(frozen=True)
class Cell:
    """A metric of a system over the clips of a domain."""

    domain: str
    system: str
    metric: str
    mean: Mean | None  # None where no clip has a value
    gain: Mean | None  # of the codec over this system, in the metric's unit, positive is better; None for the codec itself
    num_clips: int
    reasons: dict[str, int]  # why clips have no value, and how many


@dataclass(frozen=True)
class Report:
    """Everything that report.json and report.html say."""

    codec: dict[str, Any]  # id, parameters, configuration
    parents: dict[str, Any]  # what the clips and the code are
    metrics: dict[str, dict[str, Any]]  # by name: title, unit, better, about, versions, why it was not run
    systems: dict[str, str]  # name -> what it is
    rate: Rate
    speed: Speed
    usage: list[LayerUsage]
    table: list[Cell]
    rows: list[Row]
    published: dict[str, Any]

    def domains(self) -> list[str]:
        """Speech first, which most metrics are made for."""
        return sorted({row.domain for row in self.rows}, key=lambda domain: (domain != SPEECH, domain))

    def cell(self, domain: str, system: str, metric: str) -> Cell:
        return self._cells[domain, system, metric]

    @cached_property
    def _cells(self) -> dict[tuple[str, str, str], Cell]:
        return {(cell.domain, cell.system, cell.metric): cell for cell in self.table}

    def clips(self, domain: str) -> str:
        """How many there are, in words."""
        rows = [row for row in self.rows if row.domain == domain]
        num_clusters = len({row.cluster for row in rows})
        sources = "one speaker or recording" if num_clusters == 1 else f"{num_clusters} speakers or recordings"
        return f"{len(rows)} {'clip' if len(rows) == 1 else 'clips'} of {sources}"

    def shown_systems(self, domain: str) -> list[str]:
        """Those that some metric says anything of."""
        found = {cell.system for cell in self.table if cell.domain == domain and cell.mean}
        return [name for name in self.systems if name in found]

    def shown_metrics(self, domain: str) -> list[str]:
        """Those that have a value for some clip of the domain."""
        found = {cell.metric for cell in self.table if cell.domain == domain and cell.mean}
        return [name for name in self.metrics if name in found]


def aggregate(rows: Sequence[Row], metrics: Sequence[Metric], seed: int) -> list[Cell]:
    """A cell for each domain, system and metric."""
    domains, systems = (list(dict.fromkeys(names)) for names in ((row.domain for row in rows), rows[0].scores))
    return [
        _cell([row for row in rows if row.domain == domain], system, metric, seed)
        for domain in domains
        for system in systems
        for metric in metrics
    ]


def _cell(rows: Sequence[Row], system: str, metric: Metric, seed: int) -> Cell:
    scores = [row.scores[system][metric.name] for row in rows]
    reasons = collections.Counter(score.reason for score in scores if score.value is None)
    key = (seed, rows[0].domain)
    sign = 1 if metric.better == "higher" else -1

    def value(row: Row, of: str) -> float | None:
        return row.scores[of][metric.name].value

    def gain(row: Row) -> float | None:
        pair = value(row, CODEC), value(row, system)
        return None if None in pair else sign * (pair[0] - pair[1])

    over = None if system == CODEC else _mean(rows, gain, key)
    found = _mean(rows, lambda row: value(row, system), key)
    return Cell(rows[0].domain, system, metric.name, found, over, len(rows), dict(reasons))


def _mean(rows: Sequence[Row], value: Callable[[Row], float | None], key: tuple[str | int, ...]) -> Mean | None:
    found = [(number, row.cluster) for row in rows if (number := value(row)) is not None]
    return mean(*zip(*found), *key) if found else None


def number(value: float) -> str:
    """Three figures or so: 0.947, 2.19, 12.0, −22.6."""
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1
    return f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}")


def interval(found: Mean | None) -> str:
    """`[2.31, 2.60]`, or nothing where there is none."""
    return "" if found is None or found.low is None else f"[{number(found.low)}, {number(found.high)}]"


def text(report: Report) -> str:
    """The tables as text, a line a system, for the terminal."""
    rate, speed = report.rate, report.speed
    lines = [
        f"codec {report.codec['id'][:16]}, {report.codec['num_parameters'] / 1e6:.1f} M parameters, "
        f"{rate.bits_per_s:,.0f} bits/s, {round(rate.positions_per_s, 2):,g} positions/s of {rate.num_layers} codes, "
        f"{number(speed.both)} x real time ({speed.device}, {speed.num_threads} threads)"
    ]
    for domain in report.domains():
        names = report.shown_metrics(domain)
        lines += ["", f"{domain}: {report.clips(domain)}; mean ± half the 95 % interval"]
        head = [
            f"{report.metrics[name]['title']} {'↑' if report.metrics[name]['better'] == 'higher' else '↓'}" for name in names
        ]
        body = [
            [system, *(_worded(report.cell(domain, system, name)) for name in names)] for system in report.shown_systems(domain)
        ]
        lines += columns([["", *head], *body])
    lines += ["", *columns([["codebooks", "used", "perplexity", "codes seen"], *(_usage(line) for line in report.usage)])]
    absent = [f"{about['title']}: {about['why_not']}" for about in report.metrics.values() if about["why_not"]]
    return "\n".join([*lines, *([""] if absent else []), *absent])


def _worded(cell: Cell) -> str:
    if cell.mean is None:
        return "-"
    few = f" ({cell.mean.num_clips} clips)" if cell.mean.num_clips < cell.num_clips else ""
    half = "" if cell.mean.low is None else f" ±{number((cell.mean.high - cell.mean.low) / 2)}"
    return number(cell.mean.value) + half + few


def _usage(line: LayerUsage) -> list[str]:
    return [f"{line.stream} {line.layer}", f"{100 * line.share:.1f} %", f"{line.perplexity:.1f}", f"{line.num_codes:,}"]


def columns(rows: Iterable[Sequence[str]]) -> list[str]:
    rows = [list(row) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
