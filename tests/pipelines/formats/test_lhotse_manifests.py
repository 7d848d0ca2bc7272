"""The manifests are written by lhotse itself."""

import json
import os

import lhotse
import pytest
from lhotse.supervision import AlignmentItem

from pipelines.corpus import TooManyRejects
from tests.pipelines.formats.conftest import built, sound


@pytest.fixture(autouse=True)
def folders(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "data/manifests").mkdir(parents=True)


@pytest.fixture
def audio(tmp_path):
    return [sound(tmp_path / f"audio/{name}.wav", seconds=1.0, rate_hz=16000) for name in ("a", "b")]


def recordings(paths):
    return lhotse.RecordingSet.from_recordings(lhotse.Recording.from_file(path) for path in paths)


def supervision(recording, speaker, start=0.0, text="hello world", alignment=None):
    return lhotse.SupervisionSegment(
        id=f"{recording}-{speaker}-{start}", recording_id=recording, start=start, duration=0.5, text=text, speaker=speaker,
        language="en", gender="F", alignment=alignment,
    )  # fmt: skip


def test_supervisions_give_speaker_text_and_words(audio, tmp_path):
    words = {"word": [AlignmentItem("hello", 0.1, 0.2), AlignmentItem("world", 0.3, 0.15)]}
    recordings(audio).to_file(tmp_path / "m/x_recordings_dev-clean.jsonl.gz")
    parts = [supervision("a", "s1", 0.5, "again"), supervision("a", "s1", 0.0, alignment=words), supervision("b", "s2")]
    lhotse.SupervisionSet.from_segments(parts).to_file(tmp_path / "m/x_supervisions_dev-clean.jsonl.gz")
    rows = built(tmp_path / "m", tmp_path / "out", licence="CC0 1.0")
    row = rows["a.wav"]
    assert (row["id"], row["role"], row["speaker"], row["text"]) == ("a", "speech", "s1", "hello world again")
    assert json.loads(row["words"]) == [["hello", 0.1, 0.3], ["world", 0.3, 0.45]]
    assert json.loads(row["labels"]) == {"gender": "f", "lang": "en"}
    assert (row["split"], row["licence"], row["num_frames"]) == ("valid", "CC0 1.0", 16000)
    assert json.loads((tmp_path / "out/corpus.json").read_text())["root"] == str(tmp_path / "audio")


def test_cuts_serve_as_well_their_words_counted_from_the_files_start(audio, tmp_path):
    words = {"word": [AlignmentItem("late", 0.6, 0.2)]}
    part = supervision("a", "s1", 0.5, "late", alignment=words)
    cuts = lhotse.CutSet.from_manifests(
        recordings(audio[:1]), lhotse.SupervisionSet.from_segments([part])
    ).trim_to_supervisions()
    cuts.to_file(tmp_path / "m/cuts_train.jsonl")
    (row,) = built(tmp_path / "m", tmp_path / "out").values()
    assert (row["speaker"], row["text"], row["split"]) == ("s1", "late", "train")
    assert json.loads(row["words"]) == [["late", 0.6, 0.8]]


def test_a_recording_of_several_speakers_is_refused(audio, tmp_path):
    recordings(audio).to_file(tmp_path / "m/recordings.jsonl")
    parts = [supervision("a", "s1"), supervision("a", "s2", 0.5), supervision("b", "s2")]
    lhotse.SupervisionSet.from_segments(parts).to_file(tmp_path / "m/supervisions.jsonl")
    assert list(built(tmp_path / "m", tmp_path / "out", max_reject_share=0.5)) == ["b.wav"]
    assert 'a,a.wav,unsupported,"2 speakers in one file' in (tmp_path / "out/quarantine.csv").read_text()


def test_a_recording_with_transforms_is_refused(audio, tmp_path):
    changed = lhotse.Recording.from_file(audio[0]).perturb_speed(1.1)
    lhotse.RecordingSet.from_recordings([changed]).to_file(tmp_path / "m/recordings.jsonl.gz")
    with pytest.raises(TooManyRejects, match="unsupported 1"):
        built(tmp_path / "m", tmp_path / "out")


def test_the_role_comes_from_the_manifests_name(audio, tmp_path):
    recordings(audio).to_file(tmp_path / "m/musan_recordings_noise.jsonl.gz")
    assert {row["role"] for row in built(tmp_path / "m", tmp_path / "out").values()} == {"noise"}


def test_relative_sources_are_looked_for_from_the_manifests_upwards(audio, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recordings([os.path.relpath(path) for path in audio]).to_file("data/manifests/recordings.jsonl.gz")
    rows = built(tmp_path / "data/manifests", tmp_path / "out")
    assert set(rows) == {"audio/a.wav", "audio/b.wav"}


def test_a_file_shorter_than_its_manifest_says_is_quarantined(audio, tmp_path):
    recordings(audio).to_file(tmp_path / "m/recordings.jsonl.gz")
    sound(audio[0], seconds=0.5, rate_hz=16000)
    assert list(built(tmp_path / "m", tmp_path / "out", max_reject_share=0.5)) == ["b.wav"]
    assert 'truncated,"8000 frames, its manifest says 16000"' in (tmp_path / "out/quarantine.csv").read_text()


def test_a_cut_gzip_is_an_error_that_names_it(audio, tmp_path):
    path = tmp_path / "m/recordings.jsonl.gz"
    recordings(audio).to_file(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"recordings\.jsonl\.gz: not whole JSON lines"):
        built(tmp_path / "m", tmp_path / "out")


def test_supervisions_alone_are_an_error_that_says_what_is_missing(tmp_path):
    lhotse.SupervisionSet.from_segments([supervision("a", "s1")]).to_file(tmp_path / "m/supervisions.jsonl.gz")
    with pytest.raises(ValueError, match=r"put recordings\.jsonl\.gz beside"):
        built(tmp_path / "m", tmp_path / "out")
