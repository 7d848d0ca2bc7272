from lm.tasks import TASKS
from pipelines.model_card import MEANINGS, Card, text

ABOUT = {
    "codec": {"id": "c" * 64, "sample_rate_hz": 16000, "num_parameters": 2_500_000},
    "lm": {"id": "d" * 64, "num_parameters": 61_000_000},
    "encoders": {"audio": {"id": "log-mel", "place": "embedded"}, "text": {"id": "t5", "place": "/models/t5"}},
    "tasks": ["sr", "tta"],
}


def test_a_card_tells_tasks_parts_licences_parents_and_metrics():
    card = Card(
        "CC BY 4.0",
        {"CC0 1.0": 3, "CC BY 4.0": 70},
        ({"name": "sr-tokens-1", "id": "e" * 64, "examples": 12, "hours": 0.5},),
        {"DNSMOS": 3.21987, "judge | version": "2"},
    )
    found = text(card, ABOUT)
    for line in (
        "| sr | speech restoration: clean speech from degraded speech | input |",
        "| tta | audio from a text | text, reference if wanted |",
        "| codec | cccccccccccc | 2.5 M, 16000 Hz |",
        "| language model | dddddddddddd | 61.0 M |",
        "| text encoder | t5 | /models/t5 |",
        "Weights: CC BY 4.0.",
        "| sr-tokens-1 | eeeeeeeeeeee | 12 | 0.50 |",
        "| DNSMOS | 3.22 |",
        "| judge \\| version | 2 |",
    ):
        assert line in found.splitlines(), line
    assert found.index("| CC BY 4.0 | 70 |") < found.index("| CC0 1.0 | 3 |")


def test_what_nobody_said_is_said_to_be_missing():
    found = text(Card(), ABOUT)
    for line in ("Weights: not stated.", "Source clips: not stated.", "Not stated.", "Not measured."):
        assert line in found.splitlines()


def test_every_task_has_a_meaning():
    assert set(MEANINGS) == set(TASKS)
