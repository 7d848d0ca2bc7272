"""Small pictures for a page that stands alone: spectrograms as PNG, histograms as SVG."""

import struct
import zlib

import numpy as np

from simulation.signals.levels import from_int16

WINDOW_S, HOP_S = 0.032, 0.01
MAX_COLUMNS = 1000  # a longer signal has a longer hop
ROWS, COLOURS = 96, 64
LOWEST_DB, HIGHEST_DB = (
    -100.0,
    -28.0,
)  # of a row's mean, a full-scale sine in one bin being 0: the floor of 16 bit to loud speech
# Black, violet, red, yellow: evenly spaced stops along matplotlib's "inferno" (CC0), perceptually uniform.
STOPS = (
    (0, 0, 4),
    (31, 12, 72),
    (85, 15, 109),
    (136, 34, 106),
    (186, 54, 85),
    (227, 89, 51),
    (249, 140, 10),
    (249, 201, 50),
    (252, 255, 164),
)
TICKS_HZ = (500, 1000, 2000, 4000, 8000, 16000)
BINS = 28
WIDTH, HEIGHT = 280, 64
ROW_HEIGHT, FEW = 22, 40  # of a strip; so many values are drawn one by one


def spectrogram_png(audio: np.ndarray, sample_rate_hz: int) -> bytes:
    """A mel spectrogram of int16 `(channels, samples)`, channels averaged in power; a colour is one level in all of them."""
    power_db = 10 * np.log10(np.maximum(_mel_power(from_int16(audio), sample_rate_hz), 1e-20))
    shade = (power_db - LOWEST_DB) / (HIGHEST_DB - LOWEST_DB)
    return _png(np.rint(np.clip(shade, 0, 1) * (COLOURS - 1)).astype(np.uint8).T[::-1])


def _mel_power(audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Mean power of the bins in each mel band, `(columns, ROWS)`; column n lies around n hops."""
    hop = max(round(HOP_S * sample_rate_hz), -(-audio.shape[1] // MAX_COLUMNS))
    window = np.hanning(max(round(WINDOW_S * sample_rate_hz), 2 * hop) + 1)[:-1].astype(np.float32)
    padded = np.pad(audio, ((0, 0), (len(window) // 2, len(window) // 2)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, len(window), axis=1)[:, : audio.shape[1] : hop]
    power = np.square(np.abs(np.fft.rfft(frames * window)) * (2 / window.sum())).mean(axis=0)
    edges = _hz(np.linspace(0, _mel(sample_rate_hz / 2), ROWS + 1)) / (sample_rate_hz / 2) * (power.shape[1] - 1)
    edges += 0.5  # bin n reaches half a bin below and above n
    below = np.pad(
        np.cumsum(power, axis=1, dtype=np.float64), ((0, 0), (1, 0))
    )  # the integral: a band is a difference of two, whole bins or not
    first = np.minimum(edges.astype(int), power.shape[1] - 1)
    integral = below[:, first] + (edges - first) * power[:, first]
    return np.diff(integral, axis=1) / np.diff(edges)


def _mel(hz: float | np.ndarray) -> float | np.ndarray:
    return 2595 * np.log10(1 + np.asarray(hz) / 700)


def _hz(mel: np.ndarray) -> np.ndarray:
    return 700 * (10 ** (mel / 2595) - 1)


def frequency_ticks(sample_rate_hz: int) -> list[tuple[str, float]]:
    """What to write beside a spectrogram and how far up, 0 to 1."""
    top = sample_rate_hz / 2
    return [
        (f"{hz // 1000} k" if hz >= 1000 else str(hz), float(_mel(hz) / _mel(top))) for hz in TICKS_HZ if 0.03 < hz / top < 0.9
    ]


def _png(pixels: np.ndarray) -> bytes:
    """Indices into the colours, `(rows, columns)` uint8, as a palette PNG."""
    at = np.linspace(0, len(STOPS) - 1, COLOURS)
    palette = np.stack([np.interp(at, range(len(STOPS)), stops) for stops in zip(*STOPS, strict=True)], axis=1)
    rows = np.pad(pixels, ((0, 0), (1, 0)))  # each begins with its filter: none
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 3, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"PLTE", np.rint(palette).astype(np.uint8).tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in (*chunks, (b"IEND", b"")))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def histogram_svg(measured: np.ndarray, requested: np.ndarray, marks: list[float]) -> str:
    """Bars for what was measured, an outline for what was requested, a mark for each example on the page.

    All values finite, at least two different ones among them. Coloured by the page's style: classes bar, asked, mark, axis.
    """
    edges = np.histogram_bin_edges(np.concatenate([measured, requested]), BINS)
    counts = [np.histogram(values, edges)[0] for values in (measured, requested)]
    scale = (HEIGHT - 8) / max(int(count.max()) for count in counts)
    step = WIDTH / BINS
    bars = "".join(_bar(n * step, step, count * scale) for n, count in enumerate(counts[0]) if count)
    outline = "".join(f"V{HEIGHT - count * scale:.1f}h{step:g}" for count in counts[1])
    asked = f'<path class="asked" d="M0 {HEIGHT}{outline}V{HEIGHT}"/>' if len(requested) else ""
    across = WIDTH / (edges[-1] - edges[0])
    flags = "".join(f'<path class="mark" d="M{(at - edges[0]) * across:.1f} {HEIGHT + 1}l4 7h-8z"/>' for at in marks)
    axis = f'<path class="axis" d="M0 {HEIGHT}h{WIDTH}"/>'
    return f'<svg viewBox="-5 0 {WIDTH + 10} {HEIGHT + 9}" aria-hidden="true">{bars}{asked}{axis}{flags}</svg>'


def _bar(x: float, width: float, height: float) -> str:
    height = max(height, 1.0)
    return f'<rect class="bar" x="{x + 0.5:.1f}" y="{HEIGHT - height:.1f}" width="{width - 1:.1f}" height="{height:.1f}"/>'


def strip_svg(values: np.ndarray, ends: tuple[float, float], middle: tuple[float, float, float] | None = None) -> str:
    """One row of a chart of several: a line for each value, or bars where there are many; `middle`: mean and its interval.

    All values within `ends`, the axis that the rows share. Coloured by the page's style: classes bar, one, axis, mark.
    """
    across = WIDTH / max(ends[1] - ends[0], 1e-12)
    at = (np.asarray(values, float) - ends[0]) * across
    if len(at) <= FEW:
        drawn = "".join(f'<path class="one" d="M{x:.1f} 3V{ROW_HEIGHT - 5}"/>' for x in at)
    else:
        counts, edges = np.histogram(at, 2 * BINS, (0, WIDTH))
        heights = counts / counts.max() * (ROW_HEIGHT - 6)
        drawn = "".join(
            f'<path class="bar" d="M{x:.1f} {ROW_HEIGHT - 4}v{-max(height, 1):.1f}h{edges[1] - 0.5:.1f}V{ROW_HEIGHT - 4}z"/>'
            for x, height in zip(edges, heights)
            if height
        )
    axis = f'<path class="axis" d="M0 {ROW_HEIGHT - 4}h{WIDTH}"/>'
    drawn += axis + _middle(middle, ends[0], across)
    return f'<svg viewBox="-5 0 {WIDTH + 10} {ROW_HEIGHT}" aria-hidden="true">{drawn}</svg>'


def _middle(middle: tuple[float, float, float] | None, start: float, across: float) -> str:
    if middle is None:
        return ""
    mean, low, high = ((value - start) * across for value in middle)
    line = f'<path class="interval" d="M{low:.1f} {ROW_HEIGHT - 4}H{high:.1f}"/>'
    return f'{line}<circle class="mark" cx="{mean:.1f}" cy="{ROW_HEIGHT - 4}" r="3"/>'
