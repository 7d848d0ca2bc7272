import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from infra.storage import FolderStore, open_store
from pipelines import corpus as corpora
from pipelines.codec_report import CodecReport, Options, judge, report
from pipelines.codec_table import CODEC, FROM_MEL, NARROW, ORIGINAL
from tests.codec.samples import DYNAMIC, make
from tests.pipelines.codec_clips import CORPUS, clips
from tests.pipelines.mu_law_codec import MuLawCodec
from tests.pipelines.test_listen import wait

QUICK = ("mel_distance", "si_sdr", "pesq_wb", "stoi", "utmos")


@pytest.fixture(scope="module")
def items():
    return clips()


@pytest.fixture(scope="module")
def folder(items, tmp_path_factory) -> FolderStore:
    """The report of 6-bit mu-law, 3-bit mu-law in the place of step 0, scored in this process."""
    store = open_store(str(tmp_path_factory.mktemp("report")))
    options = Options({"step 0": MuLawCodec(3)}, {"weights": "none"}, QUICK, num_heard=1)
    report(MuLawCodec(6), items, store, options)
    return store


def means(found: dict, metric: str, domain: str = "speech") -> dict[str, float]:
    cells = [cell for cell in found["table"] if (cell["metric"], cell["domain"]) == (metric, domain) and cell["mean"]]
    return {cell["system"]: cell["mean"]["value"] for cell in cells}


def test_the_report_knows_better_from_worse(folder):
    found = json.loads(folder.get("report.json"))
    for metric, better in (("si_sdr", 1), ("pesq_wb", 1), ("stoi", 1), ("mel_distance", -1)):
        heard = means(found, metric)
        assert better * heard[CODEC] > better * heard["step 0"], metric
    assert means(found, "mel_distance")[NARROW] > means(found, "mel_distance")[FROM_MEL]
    assert means(found, "si_sdr")[FROM_MEL] < 0 < means(found, "si_sdr")[NARROW]


def test_the_report_says_what_the_codec_costs_and_what_it_was_made_from(folder):
    found = json.loads(folder.get("report.json"))
    assert found["rate"]["bits_per_s"] == pytest.approx(2 * 6 * 16000)
    assert {line["stream"]: line["share"] for line in found["usage"]}["semantic"] == 1 / 64
    assert found["speed"]["both"] > 0
    assert found["codec"]["num_parameters"] == 1
    assert found["parents"]["weights"] == "none"
    assert len(found["parents"]["clips"]) == 12
    assert found["metrics"]["pesq_wb"]["versions"] == {"pesq": "0.0.4"}
    assert found["published"]["codecs"]["H-Codec 1.0"][0] == 2000


def test_what_was_not_run_is_null_with_its_reason_and_never_zero(folder):
    found = json.loads(folder.get("report.json"))
    assert found["metrics"]["utmos"]["why_not"] == "not run: no weights"
    for row in found["rows"]:
        assert row["scores"].keys() == {ORIGINAL, CODEC, "step 0", NARROW, FROM_MEL}
        assert row["scores"][CODEC]["utmos"] == {"value": None, "reason": "not run: no weights"}
        assert row["scores"][CODEC]["stoi"]["reason"] == ("" if row["domain"] == "speech" else "made for speech")


def test_processes_find_the_same_numbers(folder, items, tmp_path):
    options = Options({"step 0": MuLawCodec(3)}, {"weights": "none"}, QUICK, num_processes=2, num_heard=1)
    report(MuLawCodec(6), items, open_store(str(tmp_path)), options)
    here, there = (json.loads(store.get("report.json")) for store in (folder, open_store(str(tmp_path))))
    assert here | {"speed": None} == there | {"speed": None}


def test_a_codec_that_breaks_has_reasons_and_no_numbers(items, tmp_path):
    codec = MuLawCodec()
    torch.nn.init.constant_(codec.gain, float("nan"))
    found = report(codec.train(), items[:1], open_store(str(tmp_path)), Options(metrics=QUICK))
    cell = found.cell("speech", CODEC, "stoi")
    assert cell.mean is None
    assert list(cell.reasons) == ["24000 of 24000 samples of the estimate are not finite"]
    assert codec.training


def test_clips_and_codecs_that_cannot_be_judged_are_named(items, tmp_path):
    store = open_store(str(tmp_path))
    with pytest.raises(ValueError, match="no held-out clips"):
        report(MuLawCodec(), [], store)
    with pytest.raises(ValueError, match=r"\(24000,\) samples at 16000 Hz.*at 48000 Hz"):
        report(MuLawCodec(sample_rate_hz=48000), items, store)
    with pytest.raises(ValueError, match=r"\(2, 800\)"):
        report(MuLawCodec(), [replace(items[0], wave=np.zeros((2, 800), np.float32))], store)
    with pytest.raises(ValueError, match="step 0 is for 48000 Hz"):
        report(MuLawCodec(), items, store, Options({"step 0": MuLawCodec(sample_rate_hz=48000)}))
    assert store.list() == {}


@pytest.mark.slow
def test_the_command_judges_a_saved_codec_of_dynamic_rate(tmp_path, capsys):
    if not CORPUS.is_dir():
        pytest.skip(f"no corpus at {CORPUS}")
    make(DYNAMIC).save_pretrained(tmp_path / "run" / "model")
    choice = replace(CodecReport("").choice, per_domain=1, seconds=2.0)
    found = judge(CodecReport(str(tmp_path / "run" / "model"), str(CORPUS), choice=choice, metrics=QUICK, workers=0))
    assert json.loads((tmp_path / "run" / "report.json").read_text())["codec"]["id"] == found.codec["id"]
    assert found.domains() == ["speech", "event", "music"]
    assert found.parents["corpora"] == [corpora.resolve(str(CORPUS)).id]
    assert found.rate.positions_per_s <= found.rate.frame_rate_hz + 1
    assert "report.html: open it in a browser" in capsys.readouterr().out


def test_a_wrong_metric_is_told_before_the_model_is_looked_for(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'stoi'"):
        judge(CodecReport(str(tmp_path), metrics=("stio",)))
    with pytest.raises(ValueError, match=r"give NAME=FILE\.onnx@SHA256"):
        judge(CodecReport(str(tmp_path), plug_in=("utmos=/x.pt",)))


@pytest.mark.browser
def test_in_a_browser_players_load_pictures_show_and_a_second_player_stops_the_first(browser, folder):
    browser.open(folder.root / "report.html")
    players = "[...document.querySelectorAll('audio')]"
    wait(browser, f"{players}.every(audio => audio.readyState >= 2 && Math.abs(audio.duration - 1.5) < 0.01)")
    assert browser.run(f"return {players}.length") == 3 * 5
    assert browser.run("return [...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.run("return document.querySelectorAll('table.results').length") == 3
    browser.run(f"window.plays = []; {players}.forEach((audio, n) => audio.addEventListener('play', () => plays.push(n)))")
    browser.run("window.press = number => document.querySelectorAll('button.switch')[number].click()")
    browser.run("press(0); press(1)")
    wait(browser, f"plays.join() === '0,1' && {players}[0].paused")
    assert browser.complaints() == []
