import hashlib
import json

import pytest

from tests.pipelines.formats.conftest import RATE_HZ, built, sound, text

HEADER = "id,path,dataset,license,speaker,text,labels,caption,sample_rate,duration_s,split,group,sha256,attribution"


def manifest(root, folder, rows):
    """A manifest.csv of the files at `folder/<name>.flac`, with these columns over the usual ones."""
    lines = [HEADER]
    for name, columns in rows.items():
        path = sound(root / folder / f"{name}.flac")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        known = {
            "id": f"{folder}__{name}",
            "path": f"{folder}/{name}.flac",
            "dataset": "D",
            "license": "CC0 1.0",
            "split": "train",
        }
        known |= {"sample_rate": RATE_HZ, "duration_s": 0.2, "sha256": digest, "group": name} | columns
        cells = [str(known.get(column, "")).replace('"', '""') for column in HEADER.split(",")]
        lines.append(",".join(f'"{cell}"' for cell in cells))
    text(root / folder / "manifest.csv", "\n".join(lines) + "\n")


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "corpus"
    manifest(
        root, "speech", {"a": {"speaker": "s1", "group": "s1", "text": "Hello, you."}, "b": {"speaker": "s2", "split": "test"}}
    )
    manifest(root, "events", {"c": {"labels": json.dumps({"label": "dog", "category": "animal"}), "caption": "A dog."}})
    manifest(root, "rirs", {"d": {"labels": json.dumps({"t20_s": 0.5}), "attribution": "A. Lab"}})
    manifest(root, "pairs", {"e": {"split": "test"}})
    return root


def test_columns_are_renamed_and_labels_kept(root, tmp_path):
    rows = built(root, tmp_path / "out")
    assert {path: row["role"] for path, row in rows.items()} == {
        "speech/a.flac": "speech",
        "speech/b.flac": "speech",
        "events/c.flac": "event",
        "rirs/d.flac": "rir",
    }
    speech, dog, room = rows["speech/a.flac"], rows["events/c.flac"], rows["rirs/d.flac"]
    assert (speech["id"], speech["text"]) == ("speech__a", "Hello, you.")
    assert (speech["licence"], speech["sample_rate_hz"]) == ("CC0 1.0", RATE_HZ)
    assert (dog["label"], dog["caption"]) == ("dog", "A dog.")
    assert json.loads(room["labels"]) == {"t20_s": 0.5, "dataset": "D", "attribution": "A. Lab"}
    assert (speech["split"], rows["speech/b.flac"]["split"]) == ("train", "test")


def test_pairs_are_left_out_and_said_to_be(root, tmp_path, capsys):
    assert not any(path.startswith("pairs") for path in built(root, tmp_path / "out"))
    assert "1 rows of pairs/manifest.csv are left out" in capsys.readouterr().out


def test_one_role_folder_can_be_the_root(root, tmp_path):
    rows = built(root / "speech", tmp_path / "out", layout="corpus-csv")
    assert {path: row["role"] for path, row in rows.items()} == {"a.flac": "speech", "b.flac": "speech"}


@pytest.mark.parametrize(
    "columns, reason",
    [
        ({"sample_rate": 16000}, "wrong_rate,\"8000 Hz, its manifest says 16000 Hz\""),
        ({"duration_s": 0.4}, "truncated,\"1600 frames, its manifest says 3200\""),
        ({"duration_s": 0.1}, "changed,\"1600 frames, its manifest says 800\""),
        ({"sha256": "0" * 64}, "changed,\"sha256 "),
    ],
)  # fmt: skip
def test_a_file_that_is_not_what_its_manifest_says_is_quarantined(tmp_path, columns, reason):
    manifest(tmp_path / "corpus", "noise", {"a": {}, "b": columns})
    assert list(built(tmp_path / "corpus", tmp_path / "out", max_reject_share=0.5)) == ["noise/a.flac"]
    assert f"noise__b,noise/b.flac,{reason}" in (tmp_path / "out/quarantine.csv").read_text()


def test_a_path_that_leaves_the_root_is_refused(tmp_path):
    sound(tmp_path / "outside.flac")
    manifest(tmp_path / "corpus", "noise", {"a": {"path": "../outside.flac"}})
    with pytest.raises(ValueError, match=r"column 'path', row 1: '\.\./outside\.flac' is no path below the corpus root"):
        built(tmp_path / "corpus", tmp_path / "out")


def test_labels_that_are_not_json_are_an_error_that_names_the_file(tmp_path):
    manifest(tmp_path / "corpus", "noise", {"a": {"labels": "{dog}"}})
    with pytest.raises(ValueError, match=r"noise/a\.flac: labels are not a JSON object"):
        built(tmp_path / "corpus", tmp_path / "out")
