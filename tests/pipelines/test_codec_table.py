import pytest

from pipelines.codec_measures import LayerUsage, Rate, Speed
from pipelines.codec_report import described
from pipelines.codec_table import CODEC, NARROW, PUBLISHED, PUBLISHED_COLUMNS, Report, Row, aggregate, interval, number, text
from pipelines.listen_page import MINUS
from training.metrics.confidence import Mean
from training.metrics.registry import METRICS, NO_WEIGHTS, choose
from training.metrics.scoring import Score


def row(index: int, codec: dict[str, float | None], narrow: dict[str, float | None], domain: str = "speech") -> Row:
    """A clip with these values; speakers have two clips each."""
    scores = {}
    for system, values in ((CODEC, codec), (NARROW, narrow)):
        scores[system] = {name: Score(value, "silent" if value is None else "") for name, value in values.items()}
        scores[system]["utmos"] = Score(None, NO_WEIGHTS)
    return Row(f"k{index}", domain, f"s{index // 2}", 1.0, scores)


def report(rows: list[Row], names: tuple[str, ...]) -> Report:
    metrics = choose(names)
    about = {metric.name: described(metric) for metric in metrics}
    return Report(
        {"id": "ab" * 32, "num_parameters": 3_100_000, "sample_rate_hz": 16000, "codebook_size": 1024},
        {"clips": "0123"},
        about,
        {CODEC: "", NARROW: "narrow"},
        Rate(2000.0, 25.0, 25.0, 8, 60.0),
        Speed(30.0, 20.0, 12.0, "CPU", 1, 5.0, 8),
        [LayerUsage("acoustic", 1, 0.5, 100.0, 1500)],
        aggregate(rows, metrics, 0),
        rows,
        {"codecs": PUBLISHED},
    )


@pytest.fixture
def rows() -> list[Row]:
    rows = [
        row(n, {"stoi": 0.8 + 0.01 * n, "mel_distance": 1.0}, {"stoi": 0.7, "mel_distance": 1.5 + 0.1 * n}) for n in range(6)
    ]
    rows[5] = row(5, {"stoi": None, "mel_distance": 1.0}, {"stoi": 0.7, "mel_distance": 2.0})
    return [*rows, row(6, {"stoi": None, "mel_distance": 2.0}, {"stoi": None, "mel_distance": 3.0}, "music")]


def test_a_clip_without_a_value_is_left_out_of_the_mean_and_its_reason_counted(rows):
    cell = report(rows, ("stoi", "mel_distance")).cell("speech", CODEC, "stoi")
    assert cell.mean.value == pytest.approx(0.82)
    assert (cell.mean.num_clips, cell.num_clips, cell.reasons) == (5, 6, {"silent": 1})


def test_what_no_clip_has_is_no_number(rows):
    found = report(rows, ("stoi", "mel_distance"))
    assert found.cell("music", CODEC, "stoi").mean is None
    assert found.shown_metrics("music") == ["mel_distance"]
    assert found.shown_metrics("speech") == ["mel_distance", "stoi"]


def test_a_gain_is_positive_where_the_codec_is_better_whichever_way_that_is_and_over_the_clips_both_have(rows):
    found = report(rows, ("stoi", "mel_distance"))
    assert found.cell("speech", NARROW, "stoi").gain.value == pytest.approx(0.12)
    assert found.cell("speech", NARROW, "stoi").gain.num_clips == 5
    assert found.cell("speech", NARROW, "mel_distance").gain.value == pytest.approx(0.75)
    assert found.cell("speech", CODEC, "stoi").gain is None


def test_the_interval_of_a_constant_gain_is_a_point_though_the_clips_differ():
    rows = [row(n, {"stoi": 0.1 * n + 0.05}, {"stoi": 0.1 * n}) for n in range(8)]
    gain = report(rows, ("stoi",)).cell("speech", NARROW, "stoi").gain
    assert (gain.low, gain.high) == (pytest.approx(0.05), pytest.approx(0.05))


def test_the_text_has_every_system_and_says_what_was_not_run(rows):
    said = text(report(rows, ("stoi", "mel_distance", "utmos")))
    assert "2,000 bits/s" in said
    assert "speech: 6 clips of 3 speakers or recordings" in said
    assert "music: 1 clip of one speaker or recording" in said
    assert "UTMOS: not run: no weights" in said
    assert "(5 clips)" in said
    assert "mel distance ↓" in said
    assert said.index("speech:") < said.index("music:")
    assert max(len(line) for line in said.splitlines()) < 200


def test_numbers_have_three_figures_and_a_real_minus():
    assert [number(value) for value in (0.9474, 2.193, 12.04, -22.59, 1906.6)] == [
        "0.947",
        "2.19",
        "12.0",
        f"{MINUS}22.6",
        "1,906.6",
    ]
    assert interval(Mean(1.0, 0.5, 1.5, 3, 2)) == "[0.500, 1.50]"
    assert interval(Mean(1.0, None, None, 3, 1)) == ""


def test_the_published_figures_have_a_value_for_every_column():
    assert {len(values) for values in PUBLISHED.values()} == {len(PUBLISHED_COLUMNS)}
    assert PUBLISHED["H-Codec 1.0"][:3] == (2000, 2.99, 0.94)
    assert {"pesq_wb", "stoi", "utmos"} <= METRICS.keys()
