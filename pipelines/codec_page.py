"""The page of a codec report: tables, usage bars and players, as one HTML document by the template codec_report.html."""

from dataclasses import dataclass

import numpy as np

from pipelines.codec_table import PUBLISHED_COLUMNS, PUBLISHED_ON, Report, Row, interval, number
from pipelines.listen_page import Role, role
from pipelines.page import html
from simulation.signals.levels import to_int16

BESIDE_PLAYERS = ("mel_distance", "si_sdr", "pesq_wb", "stoi", "dnsmos_ovrl")


@dataclass(frozen=True)
class Example:
    """A clip to listen to: one player for each system."""

    row: Row
    roles: list[Role]

    def said(self, system: str, report: Report) -> str:
        """The scores of one player in a line."""
        scores = {name: self.row.scores[system][name].value for name in BESIDE_PLAYERS if name in report.metrics}
        return ", ".join(
            f"{report.metrics[name]['title']} {number(value)}" for name, value in scores.items() if value is not None
        )


def example(row: Row, waves: dict[str, np.ndarray], sample_rate_hz: int) -> Example:
    """Players of mono waves `(samples,)` by system, as 16 bit files: clipped at full scale, 0 for what is not finite."""
    return Example(row, [role(name, as_file(wave), sample_rate_hz) for name, wave in waves.items()])


def as_file(wave: np.ndarray) -> np.ndarray:
    """Mono float `(samples,)` as int16 `(1, samples)`: clipped at full scale, 0 for what is not finite."""
    return to_int16(np.clip(np.nan_to_num(np.asarray(wave, np.float32)[None], posinf=0.0, neginf=0.0), -1, 1))


def page(report: Report, examples: list[Example]) -> str:
    """The whole HTML document; every text in it is escaped."""
    published = {"columns": PUBLISHED_COLUMNS, "on": PUBLISHED_ON}
    filters = {"number": number, "interval": interval}
    return html("codec_report.html", filters, report=report, examples=examples, published=published)
