"""The verb that fills word times, on synthetic speech and on some files of the real corpus."""

import json
import os
import signal
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from infra import corpus_manifest
from infra.command_line import TooManyRejects
from pipelines import align as verb
from pipelines.align import Align, align, align_batch, main
from pipelines.forced_alignment import Limits
from simulation.bank import Bank
from simulation.clips import read
from simulation.labels import disagreements
from simulation.seeds import Rng
from simulation.tasks import speech_edit
from tests.simulation import espeak_corpus
from tests.simulation.espeak_corpus import changed

REAL = Path(__file__).parents[2] / "../shared/corpus"
LOOSE = Limits(min_score=-6.0, min_word_score=-20.0, quiet_db=-60.0, max_unspoken_s=9.0)


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """A corpus of synthetic speech without word times; one file has the wrong text, one is gone, one has no text."""
    root = tmp_path_factory.mktemp("bare")
    table = espeak_corpus.write(root)
    texts = table["text"].to_pylist()
    texts[7], texts[3] = "Nothing of what is written here was ever said by anybody.", ""
    table = changed(changed(table, "text", texts), "words", [""] * table.num_rows)
    (root / table["path"][8].as_py()).unlink()
    corpus_manifest.write(table, str(root), name="bare")
    return root


@pytest.fixture(scope="module")
def aligned(bare, tmp_path_factory) -> corpus_manifest.Corpus:
    out = tmp_path_factory.mktemp("aligned")
    return align(Align(str(bare), str(out), limits=LOOSE, workers=0, max_reject_share=0.5))


def test_word_times_are_filled_in_and_the_rest_stays(bare, aligned):
    before, after = corpus_manifest.read(str(bare)), aligned
    rest = [name for name in before.table.column_names if name != "words"]
    assert after.table.select(rest).equals(before.table.select(rest))
    assert Path(after.root) == bare and after.id != before.id
    filled = [bool(cell) for cell in after.table["words"].to_pylist()]
    assert filled == [True] * 3 + [False] + [True] * 3 + [False] * 2 + [True]
    words = json.loads(after.table["words"][0].as_py())
    assert [word for word, _, _ in words][:3] == ["Please", "turn", "down"]


def test_what_was_refused_is_named_with_its_reason(bare, aligned):
    rows = pd.read_csv(f"{aligned.location}/quarantine.csv")
    names = corpus_manifest.read(str(bare)).table["id"].to_pylist()
    assert list(rows["id"]) == [names[7], names[8]]
    assert rows["reason"][0] in ("not_aligned", "bad_score", "bad_word") and rows["reason"][1] == "unreadable"
    assert list(rows.columns) == ["id", "path", "reason", "detail"]
    assert json.loads(Path(f"{aligned.location}/corpus.json").read_text())["rejects"]["unreadable"] == 1


def test_the_aligned_corpus_serves_speech_editing(aligned):
    bank = Bank(aligned.table, 16000)
    load = partial(read, open_file=lambda path: f"{aligned.root}/{path}", sample_rate_hz=16000)
    for index in range(6):
        example = speech_edit.render(speech_edit.draw(speech_edit.Config(), bank, Rng(0, "speech_edit", index)), load)
        assert disagreements(example.requested, example.measured) == []


def test_files_that_have_word_times_are_left_alone_unless_asked(aligned, bare, tmp_path):
    assert verb.wanted(aligned.table, again=False).to_pylist() == [7, 8]
    assert verb.wanted(aligned.table, again=True).to_pylist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    with pytest.raises(ValueError, match="nothing to align: 7 files have word times"):
        verb.wanted(aligned.table.filter(pa.compute.not_equal(aligned.table["words"], "")), again=False)


def test_too_many_refusals_end_it_and_leave_no_manifest(bare, tmp_path):
    with pytest.raises(TooManyRejects, match=r"2 of 9 files were refused \(.*unreadable 1.*quarantine\.csv names each"):
        align(Align(str(bare), str(tmp_path), limits=LOOSE, workers=0, max_reject_share=0.1))
    assert [path.name for path in tmp_path.iterdir()] == ["quarantine.csv"]


def test_the_corpus_itself_is_never_overwritten(bare):
    with pytest.raises(ValueError, match="choose another --out"):
        align(Align(str(bare), str(bare)))


def test_times_are_taken_from_files_where_they_are_named(bare, tmp_path):
    rows = corpus_manifest.read(str(bare)).table.to_pylist()
    times = tmp_path / "times"
    times.mkdir()
    lines = [f"{rows[0]['id']} 1 {number / 10:.2f} 0.1 {word}" for number, word in enumerate(rows[0]["text"].lower().split())]
    lines += [f"{rows[1]['id']} 1 0.1 0.1 other"]
    (times / "all.ctm").write_text("\n".join(lines).replace(".\n", "\n"))
    found = align(Align(str(bare), str(tmp_path / "out"), times=str(times), max_reject_share=1.0))
    cells = found.table["words"].to_pylist()
    assert json.loads(cells[0])[1] == ["turn", 0.1, 0.2]
    assert [bool(cell) for cell in cells] == [True] + [False] * 9
    reasons = pd.read_csv(tmp_path / "out/quarantine.csv").set_index("id")["reason"]
    assert reasons[rows[1]["id"]] == "other_text" and reasons[rows[2]["id"]] == "no_times"


@pytest.mark.parametrize(
    ("options", "message"), [({"max_reject_share": 2.0}, "max-reject-share"), ({"workers": -1}, "workers")]
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Align(**options)


def test_the_command_line_aligns(bare, tmp_path, capsys):
    assert (
        main(
            [
                "--corpus",
                str(bare),
                "--out",
                str(tmp_path),
                "--limits.min-score",
                "-6",
                "--limits.min-word-score",
                "-20",
                "--workers",
                "0",
                "--max-reject-share",
                "1",
            ]
        )
        == 0
    )
    assert "of 9 files aligned" in capsys.readouterr().out


def suicidal(root: str, limits: Limits, columns: dict[str, list]) -> pa.Table:
    """Dies at one file, as a decoder's fault would make it."""
    if any(path.endswith("2.flac") for path in columns["path"]):
        os.kill(os.getpid(), signal.SIGKILL)
    return align_batch(root, limits, columns)


@pytest.mark.cluster
def test_on_ray_the_rows_are_the_same_and_a_file_that_kills_its_worker_is_named(bare, aligned, monkeypatch):
    import ray

    speech = corpus_manifest.read(str(bare)).table.take(verb.wanted(corpus_manifest.read(str(bare)).table, again=False))
    here = verb.align_all(str(bare), speech, Align(limits=LOOSE, workers=0))
    monkeypatch.setattr(verb, "FILES_PER_TASK", 4)
    try:
        there = verb.align_all(str(bare), speech, Align(limits=LOOSE, workers=1))
        assert there.equals(here)
        monkeypatch.setattr(verb, "align_batch", suicidal)
        few = speech.slice(0, 4)
        reasons = verb.align_all(str(bare), few, Align(limits=LOOSE, workers=1))["reason"].to_pylist()
    finally:
        ray.shutdown()
    assert [reason == "crash" for reason in reasons] == [path.endswith("2.flac") for path in few["path"].to_pylist()]
    assert reasons.count("crash") == 1


def test_real_speech_is_aligned_edited_and_still_says_its_text(tmp_path):
    if not (REAL / "speech" / "manifest.csv").is_file():
        pytest.skip("the real corpus ../shared/corpus is not at hand")
    rows = pd.read_csv(REAL / "speech" / "manifest.csv", keep_default_na=False)
    rows = rows[(rows["text"] != "") & rows["speaker"].isin(["vctk-p225", "lj"])].groupby("speaker").head(5)
    rows = rows.rename(columns={"sample_rate": "sample_rate_hz", "license": "licence"}).assign(role="speech", split="train")
    rows["num_frames"] = (rows["duration_s"] * rows["sample_rate_hz"]).astype(int) - 100
    corpus_manifest.write(pa.Table.from_pandas(rows, preserve_index=False), str(tmp_path / "in"), root=str(REAL))
    found = align(Align(str(tmp_path / "in"), str(tmp_path / "out"), workers=0, max_reject_share=0.5))
    assert sum(map(bool, found.table["words"].to_pylist())) >= 7
    load = partial(read, open_file=lambda path: f"{REAL}/{path}", sample_rate_hz=16000)
    bank, aligner, fits = Bank(found.table, 16000), verb.Aligner(Limits(min_score=-99, min_word_score=-99)), []
    for index in range(8):
        example = speech_edit.render(speech_edit.draw(speech_edit.Config(), bank, Rng(0, "speech_edit", index)), load)
        assert disagreements(example.requested, example.measured) == []
        for role, other in (("input", "target"), ("target", "input")):
            audio = example.signals[role][0].astype("float32") / 32768
            try:
                own, wrong = (aligner.align(audio, 16000, example.texts[f"{side}_transcript"]) for side in (role, other))
                fits.append(own.likelihood > wrong.likelihood)
            except verb.Refused:
                fits.append(True)
    assert sum(fits) >= 13
