import base64
import re
from dataclasses import replace

import numpy as np
import pytest

from infra.shards import decode_flac
from pipelines.codec_page import example, page
from pipelines.codec_table import CODEC, NARROW
from tests.pipelines.test_codec_table import report, row
from tests.pipelines.test_listen import HOSTILE, Page


@pytest.fixture
def shown():
    """A report of three clips and the players of the first."""
    rows = [row(n, {"stoi": 0.8, "mel_distance": 1.0}, {"stoi": None, "mel_distance": 1.5}) for n in range(3)]
    found = report(rows, ("stoi", "mel_distance", "utmos"))
    rng = np.random.default_rng(0)
    waves = {system: rng.normal(0, 0.1, 8000).astype(np.float32) for system in (CODEC, NARROW)}
    return found, example(rows[0], waves, 16000), waves


def test_every_system_has_a_player_with_its_samples_and_a_spectrogram(shown):
    found, first, waves = shown
    html = Page(page(found, [first]))
    for player, (system, wave) in zip(html.all("audio"), waves.items(), strict=True):
        audio, rate_hz = decode_flac(base64.b64decode(player["src"].removeprefix("data:audio/flac;base64,")))
        assert (player["aria-label"], rate_hz) == (f"{system} of k0", 16000)
        assert np.abs(audio[0] / 32767 - wave).max() < 1 / 32767
    assert len(html.all("img")) == 2


def test_what_a_file_cannot_hold_is_clipped_or_silent(shown):
    rows = shown[0].rows
    wave = np.array([0.5, 7.0, -7.0, np.nan, np.inf] * 400, np.float32)
    made = example(rows[0], {CODEC: wave}, 16000)
    audio, _ = decode_flac(base64.b64decode(made.roles[0].audio.removeprefix("data:audio/flac;base64,")))
    assert audio[0, :5].tolist() == [16384, 32767, -32767, 0, 0]


def test_the_numbers_of_the_report_are_in_the_table_and_a_missing_one_is_a_dash_with_its_reason(shown):
    found, first, _ = shown
    html = page(found, [first])
    assert ">0.800<small>" in html
    assert re.search(r'title="silent">\N{EN DASH}<', html)
    assert "codec better by 0.500 [0.500, 0.500]" in html
    assert "UTMOS: not run: no weights" in html
    assert "mel distance 1.50" in html
    assert "--share: 50.00" in html


def test_published_figures_are_said_to_be_of_other_data(shown):
    found, first, _ = shown
    html = page(found, [first])
    assert html.index("<b>Other data:</b> these figures are for LibriSpeech test-clean") < html.index("<td>H-Codec 1.0</td>")
    assert "<td>0.60</td>" in html


def test_the_page_needs_nothing_from_outside_and_names_stay_text(shown):
    found, first, _ = shown
    hostile = replace(found, parents={"corpora": [HOSTILE]}, rows=[replace(row, key=HOSTILE) for row in found.rows])
    text = page(hostile, [replace(first, row=hostile.rows[0])])
    html = Page(text)
    places = [attributes[name] for _, attributes in html.tags for name in ("src", "href", "srcset") if name in attributes]
    assert all(place.startswith("data:") for place in places)
    assert len(html.all("script")) == 1
    assert not [attributes for _, attributes in html.tags if any(name.startswith("on") for name in attributes)]
    assert HOSTILE in html.text["h3"]
    policy = next(meta["content"] for meta in html.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
