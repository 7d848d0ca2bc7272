import os

import pandas as pd
import pytest

from infra.storage import open_store
from pipelines.formats.tree import Tree, as_json, candidates, phrase, records
from tests.pipelines.formats.conftest import text


@pytest.fixture
def tree(tmp_path):
    for name in ("a/1.wav", "a/2.WAV", "b/3.txt", "b/latin.txt"):
        text(tmp_path / name, f"this is {name}\n")
    (tmp_path / "b/latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    return Tree(open_store(str(tmp_path)))


def test_a_match_gives_the_named_groups_of_the_files_it_finds(tree):
    found = tree.match(r"(?i)(?P<folder>\w+)/(?P<number>\d)(?P<mark>!)?\.wav$")
    assert found.to_dict("list") == {
        "path": ["a/1.wav", "a/2.WAV"],
        "folder": ["a", "a"],
        "number": ["1", "2"],
        "mark": ["", ""],
    }


def test_a_match_of_nothing_still_has_its_columns(tree):
    assert list(tree.match(r"(?P<x>nothing)").columns) == ["path", "x"]


def test_texts_come_by_name_and_in_either_encoding(tree):
    assert tree.texts(["b/latin.txt", "b/3.txt"]).to_dict() == {"b/latin.txt": "café", "b/3.txt": "this is b/3.txt"}
    assert tree.texts([]).empty


def test_a_csv_without_a_needed_column_is_an_error_that_names_both(tmp_path):
    text(tmp_path / "meta.csv", "file,class\nx,dog\n")
    tree = Tree(open_store(str(tmp_path)))
    assert tree.csv("meta.csv", ("file",)).to_dict("list") == {"file": ["x"], "class": ["dog"]}
    with pytest.raises(ValueError, match=r"meta\.csv: no column fold; it has file, class"):
        tree.csv("meta.csv", ("fold",))


def test_a_name_that_is_not_unicode_is_an_error_that_shows_it(tmp_path):
    os.close(os.open(os.fsencode(tmp_path) + b"/caf\xe9.wav", os.O_CREAT))
    with pytest.raises(ValueError, match="not valid Unicode"):
        Tree(open_store(str(tmp_path)))


def test_a_candidate_gets_every_column():
    rows = candidates(
        pd.DataFrame({"path": ["x/a.wav", "x/b.wav", "y/b.c.flac", "y/b.c.wav"], "speaker": ["s", None, "", ""]}), role="noise"
    )
    assert list(rows["id"]) == ["x/a", "x/b", "y/b.c.flac", "y/b.c.wav"]
    assert list(rows["group"]) == ["s", "x/b", "y/b.c.flac", "y/b.c.wav"]
    assert set(rows["role"]) == {"noise"}
    assert rows.isna().sum().sum() == 0
    assert rows["stated_frames"].tolist() == [0, 0, 0, 0]


def test_class_names_become_phrases():
    assert phrase(pd.Series(["Dog_bark-02", " Rain "])).tolist() == ["dog bark 02", "rain"]


def test_json_leaves_empty_texts_out():
    assert as_json(records(a=["x", ""], b=[1, ""])) == ['{"a": "x", "b": 1}', ""]
