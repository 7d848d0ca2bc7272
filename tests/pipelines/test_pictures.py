import struct
import xml.etree.ElementTree
import zlib

import numpy as np
import pytest

from pipelines.pictures import COLOURS, MAX_COLUMNS, ROWS, frequency_ticks, histogram_svg, spectrogram_png, strip_svg


def pixels(png: bytes) -> np.ndarray:
    """Palette indices `(rows, columns)`, every checksum held."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", png, at + 8 + length)[0] == zlib.crc32(kind + data)
        chunks[kind] = data
        at += 12 + length
    assert list(chunks) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    assert len(chunks[b"PLTE"]) == 3 * COLOURS
    columns, rows = struct.unpack_from(">II", chunks[b"IHDR"])
    return np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(rows, columns + 1)[:, 1:]


def tone(hz: float, sample_rate_hz: int = 16000, seconds: float = 1.0, channels: int = 1) -> np.ndarray:
    at = np.arange(round(seconds * sample_rate_hz)) / sample_rate_hz
    return np.tile((8000 * np.sin(2 * np.pi * hz * at)).astype(np.int16), (channels, 1))


@pytest.mark.parametrize(
    "sample_rate_hz, hz", [(8000, 500), (8000, 2000), (16000, 500), (16000, 4000), (48000, 1000), (48000, 16000)]
)
def test_a_tone_is_a_line_at_its_tick(sample_rate_hz, hz):
    image = pixels(spectrogram_png(tone(hz, sample_rate_hz) // 32, sample_rate_hz))
    assert image.shape == (ROWS, 100)
    brightest = 1 - (np.flatnonzero(image[:, 50] == image[:, 50].max()).mean() + 0.5) / ROWS
    ticks = dict(frequency_ticks(sample_rate_hz))
    assert brightest == pytest.approx(ticks[f"{hz // 1000} k" if hz >= 1000 else str(hz)], abs=1.5 / ROWS)


def test_a_click_is_a_column_at_its_time():
    audio = np.zeros((1, 16000), np.int16)
    audio[0, 8000] = 20000
    assert np.argmax(pixels(spectrogram_png(audio, 16000)).sum(axis=0)) == 50


def test_louder_is_brighter_and_silence_is_black():
    loud, quiet = (pixels(spectrogram_png(audio, 16000)) for audio in (tone(1000) // 32, tone(1000) // 512))
    assert int(loud.max()) - int(quiet.max()) == pytest.approx(24.1 / 72 * (COLOURS - 1), abs=1.5)
    assert pixels(spectrogram_png(np.zeros((1, 16000), np.int16), 16000)).max() == 0


def test_lengths_and_channels_of_all_kinds_have_a_picture():
    assert pixels(spectrogram_png(np.ones((1, 1), np.int16), 16000)).shape == (ROWS, 1)
    assert pixels(spectrogram_png(tone(1000, seconds=60), 16000)).shape[1] <= MAX_COLUMNS
    assert (pixels(spectrogram_png(tone(1000, channels=2), 16000)) == pixels(spectrogram_png(tone(1000), 16000))).all()


def test_a_histogram_counts_every_value():
    values = np.array([0.0, 1.0, 1.0, 1.0, 10.0])
    svg = xml.etree.ElementTree.fromstring(histogram_svg(values, values, [10.0]))
    heights = [float(bar.get("height")) for bar in svg.iter("rect")]
    assert len(heights) == 3
    assert heights[1] == pytest.approx(3 * heights[0], abs=0.2)
    assert [path.get("class") for path in svg.iter("path")] == ["asked", "axis", "mark"]
    assert "asked" not in histogram_svg(values, np.array([]), [])


def test_a_strip_draws_few_values_one_by_one_and_many_as_bars_on_the_axis_it_is_given():
    few = xml.etree.ElementTree.fromstring(strip_svg(np.array([0.0, 5.0, 10.0]), (0.0, 10.0), (5.0, 2.5, 7.5)))
    lines = [path.get("d").split()[0] for path in few if path.get("class") == "one"]
    assert lines == ["M0.0", "M140.0", "M280.0"]
    assert [circle.get("cx") for circle in few if circle.get("class") == "mark"] == ["140.0"]
    assert [path.get("d") for path in few if path.get("class") == "interval"] == ["M70.0 18H210.0"]
    many = xml.etree.ElementTree.fromstring(strip_svg(np.linspace(0, 5, 500), (0.0, 10.0)))
    bars = [float(path.get("d").split()[0][1:]) for path in many if path.get("class") == "bar"]
    assert len(bars) == 29 and max(bars) == 140.0  # of 56: the upper half is empty but for its first, which has the last value
    assert not [one for one in many if one.get("class") in ("one", "interval", "mark")]
