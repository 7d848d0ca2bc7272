"""The starter corpus: whole, honest, split by speaker and recording, the same bytes again, and safe to kill."""

import hashlib
import io
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from infra import corpus_manifest
from pipelines import starter
from pipelines.starter import Options

ROOT = Path(__file__).parents[2]
SMALL = Options(hours=0.01, workers=1)  # 2 utterances a speaker, 1 take of all else


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return starter.build(replace(SMALL, out=tmp_path_factory.mktemp("starter"), workers=2))


@pytest.fixture(scope="module")
def rows(corpus):
    return corpus.table.to_pylist()


def run(out, *more):
    return [sys.executable, "-m", "pipelines.starter", "--out", str(out), "--hours", "0.01", *more]


def test_every_row_is_what_its_file_holds(corpus, rows):
    for row in rows:
        data = (Path(corpus.root) / row["path"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        frames, rate = soundfile.read(io.BytesIO(data), always_2d=True)
        assert (len(frames), frames.shape[1], rate) == (row["num_frames"], row["num_channels"], row["sample_rate_hz"])
        assert 0.02 < np.abs(frames).max() < 1 - 2**-15, row["path"]


def test_every_sound_is_captioned_labelled_licensed_and_called_synthetic(rows):
    for row in rows:
        labels = json.loads(row["labels"])
        assert row["caption"] and row["label"] and row["group"] and row["licence"]
        assert labels["synthetic"] is True
        assert labels["label"] == row["label"] and labels["category"] == labels["hierarchy"][0]
        spoken = row["role"] == "speech" or row["label"] in ("babble", "crowd")
        assert ("eSpeak NG" in row["licence"]) == spoken and (spoken or row["licence"] == "CC0-1.0")


def test_speech_has_its_text_and_the_times_of_its_words(rows):
    speech = [row for row in rows if row["role"] == "speech"]
    for row in speech:
        words = json.loads(row["words"])
        assert len(words) == len(row["text"].split())
        assert words[0][1] >= 0 and words[-1][2] <= row["num_frames"] / row["sample_rate_hz"]
    told = {row["text"]: set() for row in speech}
    for row in speech:
        told[row["text"]].add(row["speaker"])
    everybody = {row["speaker"] for row in speech}
    assert everybody in told.values()  # a parallel sentence


def test_no_group_and_no_speaker_is_in_two_splits_and_each_split_has_all_roles(rows):
    for column in ("group", "speaker", "sha256"):
        pairs = {(row[column], row["split"]) for row in rows if row[column]}
        assert max(Counter(value for value, _ in pairs).values()) == 1
    for split, least in (("train", 8), ("valid", 2), ("test", 2)):
        here = [row for row in rows if row["split"] == split]
        assert {row["role"] for row in here} == {"speech", "event", "noise", "music"}
        assert len({row["speaker"] for row in here if row["role"] == "speech"}) >= least
        assert len({row["label"] for row in here if row["role"] == "event"}) >= 16


def test_the_full_plan_has_the_hours_that_are_promised():
    counts = Counter(item.role for item in starter.plan(Options()))
    assert counts["event"] >= 300 and counts["noise"] >= 30 and counts["music"] >= 20 and counts["speech"] >= 12 * 20
    half = Counter(item.role for item in starter.plan(Options(hours=starter.FULL_HOURS / 2)))
    assert half["speech"] == counts["speech"] / 2
    ids = [item.id for item in starter.plan(Options())]
    assert len(set(ids)) == len(ids)


def test_one_worker_and_two_make_the_same_bytes(corpus, tmp_path):
    speech = replace(SMALL, out=tmp_path, roles=("speech",))
    alone = {row["id"]: row["sha256"] for row in starter.build(speech).table.to_pylist()}
    together = {row["id"]: row["sha256"] for row in corpus.table.to_pylist() if row["role"] == "speech"}
    assert alone == together and len(alone) == 40


def test_another_seed_makes_other_sounds():
    item = next(item for item in starter.plan(SMALL) if item.role == "event")
    one, other = (starter.MAKERS["event"](starter.Rng(seed, "starter", 0), item).audio for seed in (0, 1))
    assert one.shape != other.shape or not np.allclose(one, other, atol=1e-3)


def test_a_second_call_finds_it_and_touches_nothing(corpus):
    before = {path: path.stat().st_mtime_ns for path in Path(corpus.root).rglob("*")}
    again = starter.build(replace(SMALL, out=Path(corpus.root)))
    assert again.id == corpus.id
    assert {path: path.stat().st_mtime_ns for path in Path(corpus.root).rglob("*")} == before
    names = {path.name for path in Path(corpus.root).iterdir()}
    assert names == {"speech", "event", "noise", "music", "manifest.parquet", "corpus.json"}


def test_other_options_in_its_place_are_refused(corpus):
    with pytest.raises(ValueError, match=r"holds another corpus .*'seed': 0.*choose another --out"):
        starter.build(replace(SMALL, out=Path(corpus.root), seed=1))


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "speech").mkdir()
    (tmp_path / "speech" / "mine.wav").write_bytes(b"precious")
    with pytest.raises(ValueError, match="holds 'speech' and no starter corpus"):
        starter.build(replace(SMALL, out=tmp_path))
    assert (tmp_path / "speech" / "mine.wav").read_bytes() == b"precious"


def test_a_corpus_whose_files_are_gone_is_not_taken_for_whole(tmp_path):
    small = replace(SMALL, out=tmp_path, roles=("speech",))
    row = starter.build(small).table.to_pylist()[7]
    (tmp_path / row["path"]).unlink()
    with pytest.raises(ValueError, match="1 files of its manifest are gone"):
        starter.build(small)


def test_a_killed_run_leaves_no_corpus_and_no_worker_and_a_rerun_completes_it(tmp_path):
    out = tmp_path / "corpus"
    process = subprocess.Popen(run(out, "--roles", "event", "--workers", "2"), cwd=ROOT, stderr=subprocess.DEVNULL)
    _wait(lambda: len(list(out.rglob("*.flac"))) > 10)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 10 < len(list(out.rglob("*.flac"))) < 100
    with pytest.raises(FileNotFoundError):
        corpus_manifest.read(str(out))
    _wait(lambda: not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers))
    (out / "event" / "of-an-older-recipe.flac").write_bytes(b"")
    made = starter.build(replace(SMALL, out=out, roles=("event",), workers=2))
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.flac")) == sorted(made.table["path"].to_pylist())
    assert made.table.num_rows == 100
    assert not (out / starter.UNFINISHED).exists()


def test_two_runs_at_once_make_one_corpus(tmp_path):
    small = replace(SMALL, out=tmp_path / "corpus", roles=("music",))
    found = []
    process = subprocess.Popen(run(small.out, "--roles", "music", "--workers", "1"), cwd=ROOT, stdout=subprocess.DEVNULL)
    _wait(lambda: list(small.out.rglob("*.flac")))
    waiting = threading.Thread(target=lambda: found.append(starter.build(small)))
    waiting.start()
    assert process.wait() == 0
    waiting.join()
    assert found[0].table.num_rows == 20
    for row in found[0].table.to_pylist():
        assert hashlib.sha256((small.out / row["path"]).read_bytes()).hexdigest() == row["sha256"]


def test_the_command_says_what_it_made_and_refuses_nonsense(corpus):
    shown = subprocess.run(run(corpus.root), cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert "speech" in shown.stdout and "min" in shown.stdout and corpus.root in shown.stdout
    shown = subprocess.run(run(corpus.root, "--workers", "0"), cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 2 and "workers 0" in shown.stderr


def _wait(done, limit_s=60):
    end = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
