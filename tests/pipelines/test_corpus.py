import csv
import json
from pathlib import Path

import pandas as pd
import pytest
import soundfile

from infra import corpus_manifest
from infra.storage import open_store
from pipelines.corpus import Build, TooManyRejects, build, main, resolve
from pipelines.formats.splits import Shares
from tests.pipelines.conftest import command, finished
from tests.pipelines.formats.conftest import sound, text

REAL = Path(__file__).parents[2] / "../shared/corpus"


@pytest.fixture
def root(tmp_path):
    """A tree of five voices with four files each, and two noises."""
    root = tmp_path / "tree"
    for voice in "abcde":
        for take in range(4):
            sound(root / f"speech/{voice}/{take}.wav")
    sound(root / "noise/hum.flac")
    sound(root / "noise/rain.ogg")
    return root


def quarantined(out: Path) -> dict[str, str]:
    """Path -> reason."""
    with open(out / "quarantine.csv") as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file)}


def test_a_build_is_complete_and_says_what_it_made(root, tmp_path, capsys):
    corpus = build(Build(root=str(root), out=str(tmp_path / "out"), name="mine", workers=0))
    assert corpus.table.num_rows == 22
    assert (corpus.name, corpus.root) == ("mine", str(root))
    described = json.loads((tmp_path / "out/corpus.json").read_text())
    assert (described["format"], described["files_checked"], described["rejects"]) == ("folder", 22, {})
    printed = capsys.readouterr().out
    assert "mine: 22 files" in printed
    assert "warning: 22 files have no known licence; --licence names it" in printed
    assert quarantined(tmp_path / "out") == {}


def test_the_same_tree_gives_the_same_id_wherever_it_lies(root, tmp_path):
    first = build(Build(root=str(root), out=str(tmp_path / "one"), workers=0))
    root.rename(tmp_path / "moved")
    second = build(Build(root=str(tmp_path / "moved"), out=str(tmp_path / "two"), workers=0))
    assert first.id == second.id


def test_no_speaker_is_in_two_splits(root, tmp_path):
    shares = Shares(valid=0.3, test=0.3)
    table = build(Build(root=str(root), out=str(tmp_path / "out"), shares=shares, workers=0)).table.to_pandas()
    assert table.groupby("group")["split"].nunique().max() == 1
    assert table["split"].nunique() > 1


def test_every_kind_of_damage_is_quarantined_with_its_reason_and_nothing_is_skipped(root, tmp_path):
    whole = (root / "speech/a/0.wav").read_bytes()
    (root / "speech/a/0.wav").write_bytes(whole[: len(whole) // 2])
    (root / "noise/hum.flac").write_bytes((root / "noise/hum.flac").read_bytes()[:-50])
    (root / "noise/rain.ogg").write_bytes((root / "noise/rain.ogg").read_bytes()[:-50])
    soundfile.write(root / "speech/a/1.wav", [0.1, 1e30, float("nan")] * 500, 8000, subtype="FLOAT")
    soundfile.write(root / "speech/b/0.wav", [], 8000)
    soundfile.write(root / "speech/b/1.wav", [0.0] * 800, 8000)
    soundfile.write(root / "speech/c/0.wav", [1.0, 1.0, -1.0, -1.0] * 200, 8000)
    (root / "speech/c/1.wav").write_bytes((root / "speech/c/2.wav").read_bytes())
    (root / "speech/d/x.m4a").write_bytes(b"x")
    corpus = build(Build(root=str(root), out=str(tmp_path / "out"), max_reject_share=0.5, workers=0))
    assert quarantined(tmp_path / "out") == {
        "speech/a/0.wav": "truncated",
        "noise/hum.flac": "undecodable",
        "noise/rain.ogg": "truncated",
        "speech/a/1.wav": "not_finite",
        "speech/b/0.wav": "empty",
        "speech/b/1.wav": "silent",
        "speech/c/0.wav": "clipped",
        "speech/c/2.wav": "duplicate",
        "speech/d/x.m4a": "unsupported",
    }
    assert corpus.table.num_rows == 23 - 9
    described = json.loads((tmp_path / "out/corpus.json").read_text())
    assert described["rejects"]["truncated"] == 2


def test_too_many_rejects_stop_the_build_before_the_manifest(root, tmp_path):
    for take in range(3):
        (root / f"speech/a/{take}.wav").write_bytes(b"no audio")
    config = Build(root=str(root), out=str(tmp_path / "out"), workers=0)
    with pytest.raises(
        TooManyRejects, match=r"3 of 22 files cannot serve \(undecodable 3\), more than --max-reject-share 0\.05"
    ):
        build(config)
    assert not (tmp_path / "out/manifest.parquet").exists()
    assert len(quarantined(tmp_path / "out")) == 3
    with pytest.raises(TooManyRejects):
        main(["build", "--root", str(root), "--out", str(tmp_path / "out"), "--workers", "0"])
    assert (
        main(["build", "--root", str(root), "--out", str(tmp_path / "out"), "--workers", "0", "--max-reject-share", "0.2"]) == 0
    )


def test_a_corpus_of_rejects_alone_is_never_written(root, tmp_path):
    for path in root.rglob("*.*"):
        path.write_bytes(b"no audio")
    with pytest.raises(TooManyRejects):
        build(Build(root=str(root), out=str(tmp_path / "out"), max_reject_share=1.0, workers=0))


def test_files_that_no_table_lists_are_counted_aloud(tmp_path, capsys):
    root = tmp_path / "ESC-50-master"
    for name in ("1-1-A-0.wav", "1-2-A-0.wav", "extra.wav"):
        sound(root / "audio" / name)
    rows = "\n".join(f"1-{source}-A-0.wav,1,0,dog,True,{source},A" for source in (1, 2))
    text(root / "meta/esc50.csv", f"filename,fold,target,category,esc10,src_file,take\n{rows}\n")
    build(Build(root=str(root), out=str(tmp_path / "out"), workers=0))
    assert "1 audio files below the root are in no row, audio/extra.wav for one" in capsys.readouterr().out


def test_ids_that_are_there_twice_stop_the_build_before_the_check(root, tmp_path):
    text(root / "noise/hum.json", json.dumps({"group": "g"}))
    rows = [f"same,{path.relative_to(root)},CC0 1.0,8000" for path in sorted(root.glob("noise/*.*")) if path.suffix != ".json"]
    text(root / "noise/manifest.csv", "\n".join(["id,path,license,sample_rate", *rows]) + "\n")
    with pytest.raises(ValueError, match="column 'id', rows 1 and 2: 'same' is there twice"):
        build(Build(root=str(root), out=str(tmp_path / "out"), format="corpus-csv", workers=0))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"format": "librispech"}, "no format 'librispech': did you mean 'librispeech'"),
        ({"max_reject_share": 2.0}, "--max-reject-share is 2.0"),
        ({"workers": -1}, "--workers is -1"),
        ({"root": "nowhere"}, "nowhere: no such folder"),
        ({"root": ""}, "no root"),
    ],
)
def test_a_mistaken_configuration_is_an_error_before_anything_is_done(root, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        build(Build(**{"root": str(root), "out": str(tmp_path / "out"), "workers": 0} | options))


def test_a_read_only_tree_is_built_elsewhere_and_used_again(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = sorted(root.rglob("*"))
    first = resolve(str(root))
    assert first.location.startswith("data/corpora/tree-")
    assert sorted(root.rglob("*")) == before
    capsys.readouterr()
    assert resolve(f"{root}/").id == first.id
    assert "built before" in capsys.readouterr().out
    assert resolve(first.location).id == first.id
    assert resolve(f"{first.location}/manifest.parquet").root == str(root)


def test_a_tree_that_has_changed_is_built_again(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = resolve(str(root))
    sound(root / "noise/more.wav")
    assert resolve(str(root)).table.num_rows == first.table.num_rows + 1


def test_two_roots_of_one_name_do_not_share_a_corpus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for parent in ("x", "y"):
        sound(tmp_path / parent / "tree/noise/a.wav")
    assert resolve("x/tree").location != resolve("y/tree").location


@pytest.mark.slow
def test_without_a_name_it_is_the_starter_corpus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    corpus = resolve("")
    assert corpus.name == "starter"
    assert (tmp_path / corpus.location / "manifest.parquet").exists()


def test_what_is_no_corpus_is_an_error_that_says_what_was_looked_for(tmp_path):
    text(tmp_path / "notes.txt", "")
    with pytest.raises(ValueError, match="Looked for:"):
        resolve(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no such manifest"):
        resolve(str(tmp_path / "x.csv"))


def test_show_prints_hours_by_role_split_and_licence(root, tmp_path, capsys):
    build(Build(root=str(root), out=str(tmp_path / "out"), workers=0))
    capsys.readouterr()
    assert main(["show", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "tree: 22 files, 0.00 hours" in printed
    assert all(word in printed for word in ("role", "split", "speech", "noise", "train", "licence", "unknown", "8000"))


def test_the_command_ends_with_2_for_a_mistake_and_names_the_remedy(tmp_path):
    code, output = finished(command("pipelines.corpus", "build", "--root", tmp_path / "nowhere"))
    assert (code, "nowhere: no such folder" in output) == (2, True)
    code, output = finished(command("pipelines.corpus", "build", "--root", tmp_path, "--formt", "folder"))
    assert (code, "--format" in output) == (2, True)
    code, output = finished(command("pipelines.corpus", "biuld"))
    assert (code, "did you mean 'build'" in output) == (2, True)


@pytest.mark.s3
def test_a_tree_on_s3_gives_the_same_corpus_as_in_a_folder(root, tmp_path, s3):
    store = open_store(f"{s3}/tree")
    for path in root.rglob("*.*"):
        store.put(path.relative_to(root).as_posix(), path.read_bytes())
    here = build(Build(root=str(root), out=str(tmp_path / "out"), workers=0))
    there = build(Build(root=f"{s3}/tree", out=f"{s3}/corpora/tree", workers=0))
    assert (there.id, there.root) == (here.id, f"{s3}/tree")
    assert resolve(f"{s3}/corpora/tree").table.equals(there.table)


def test_the_real_corpus_is_read_whole(tmp_path):
    if not REAL.is_dir():
        pytest.skip("no ../shared/corpus beside the repository")
    corpus = build(Build(root=str(REAL), out=str(tmp_path / "out"), workers=0))
    listed = pd.concat([pd.read_csv(path) for path in sorted(REAL.glob("*/manifest.csv")) if path.parent.name != "pairs"])
    table = corpus.table.to_pandas().set_index("id")
    listed = listed.set_index("id").loc[table.index]
    assert len(table) + len(quarantined(tmp_path / "out")) == len(listed)
    assert (table["sha256"] == listed["sha256"]).all()
    assert (table["split"] == listed["split"]).all()
    assert (table["group"] == listed["group"]).all()
    assert table["role"].value_counts().to_dict() == {"speech": 733, "event": 250, "noise": 42, "rir": 38, "music": 19}
    assert table.loc[table["role"].isin(["event", "music", "noise"]), "label"].ne("").all()
    assert table.loc[table["role"] == "rir", "labels"].str.contains("t20_s").all()
    assert quarantined(tmp_path / "out") == {}
    assert corpus_manifest.read(str(tmp_path / "out")).id == corpus.id


def test_a_corpus_that_was_begun_and_not_finished_is_refused(tmp_path):
    (tmp_path / "corpus.json").write_text("{}")
    with pytest.raises(ValueError, match="not finished"):
        resolve(str(tmp_path))
