import io
import json
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.corpus_manifest import has_manifest, read, totals, write
from infra.storage import open_store
from tests.bytes_mutations import MUTATIONS, mutated
from tests.infra.test_corpus_schema import table


def test_what_is_written_is_read_back_from_folder_and_file(tmp_path):
    written = write(table(), str(tmp_path), name="mine")
    for location in (str(tmp_path), f"{tmp_path}/", str(tmp_path / "manifest.parquet")):
        corpus = read(location)
        assert corpus.table.equals(written.table)
        assert (corpus.id, corpus.name, corpus.root, corpus.location) == (written.id, "mine", str(tmp_path), location)
    assert corpus.table["text"][1].as_py() == 'he said: "1",\nand left'


def test_csv_and_parquet_of_the_same_content_have_the_same_id(tmp_path):
    corpus = write(table(), str(tmp_path / "parquet"))
    (tmp_path / "csv").mkdir()
    corpus.table.to_pandas().sample(frac=1, random_state=1).to_csv(tmp_path / "csv/manifest.csv", index=False)
    assert read(str(tmp_path / "csv")).id == corpus.id
    pq.write_table(corpus.table, tmp_path / "other.parquet", compression="gzip", version="1.0")
    assert read(str(tmp_path / "other.parquet")).id == corpus.id


def test_texts_that_look_like_missing_values_stay_texts(tmp_path):
    table(text=["NA", "null", "nan"]).to_pandas().to_csv(tmp_path / "m.csv", index=False)
    assert read(str(tmp_path / "m.csv")).table["text"].to_pylist() == ["NA", "null", "nan"]


def test_a_corpus_beside_its_audio_can_be_moved_and_another_knows_its_root(tmp_path):
    write(table(), str(tmp_path / "here"))
    (tmp_path / "here").rename(tmp_path / "there")
    assert read(str(tmp_path / "there")).root == str(tmp_path / "there")
    write(table(), str(tmp_path / "manifests"), root=str(tmp_path / "audio"))
    assert read(str(tmp_path / "manifests")).root == str(tmp_path / "audio")
    write(table(), str(tmp_path / "remote"), root="s3://bucket/audio/")
    assert read(str(tmp_path / "remote")).root == "s3://bucket/audio"


def test_a_csv_takes_its_root_from_the_description_beside_it(tmp_path):
    table().to_pandas().to_csv(tmp_path / "manifest.csv", index=False)
    assert read(str(tmp_path)).root == str(tmp_path)
    (tmp_path / "corpus.json").write_text(json.dumps({"root": "audio", "name": "mine"}))
    assert (read(str(tmp_path)).root, read(str(tmp_path)).name) == (str(tmp_path / "audio"), "mine")


def test_the_description_holds_totals_and_what_was_given(tmp_path):
    corpus = write(
        table(role=["speech", "speech", "music"]), str(tmp_path), about={"format": "folder", "rejects": {"silent": 2}}
    )
    described = json.loads((tmp_path / "corpus.json").read_text())
    assert (described["id"], described["format"], described["rejects"]) == (corpus.id, "folder", {"silent": 2})
    assert described["totals"] == totals(corpus.table)
    assert described["totals"]["roles"]["speech"]["files"] == 2
    assert described["totals"]["licences"] == {"CC0 1.0": 3}


def test_one_split_is_cut_out(tmp_path):
    corpus = write(table(group=None, speaker=None, split=["train", "test", "train"]), str(tmp_path))
    assert corpus.of_split("train")["id"].to_pylist() == ["clip-0", "clip-2"]
    with pytest.raises(ValueError, match=r"no file has split 'valid'.*train \(2 files\), test \(1 files\)"):
        corpus.of_split("valid")
    with pytest.raises(ValueError, match="did you mean 'train'"):
        corpus.of_split("trian")


def test_nothing_is_written_of_a_table_that_is_not_sound(tmp_path):
    with pytest.raises(ValueError, match="column 'role'"):
        write(table(role=["speech", "speech", "talk"]), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "text, message",
    [
        (b"", r"m\.csv: cannot be read as csv"),
        (b"id,path,id\n1,2,3\n", r"m\.csv: .*column 'id' is there twice"),
        (b"id,path\n1,2\n3,4,5\n", r"m\.csv: .*Row #3: Expected 2 columns, got 3: 3,4,5"),
        (b"id,path\n1,2,3\n", r"m\.csv: cannot be read as csv: .*Row #2: Expected 2"),
        (b"id,path\n\xff\xfe,2\n", r"m\.csv: cannot be read as csv: .*invalid UTF8"),
        (b'id,path\n"1,2\n', r"m\.csv: cannot be read as csv"),
        (b"id,path\n1,2\n", r"m\.csv: no column role, sample_rate_hz"),
    ],
)
def test_a_damaged_csv_is_an_error_that_names_it(tmp_path, text, message):
    (tmp_path / "m.csv").write_bytes(text)
    with pytest.raises(ValueError, match=message):
        read(str(tmp_path / "m.csv"))


def test_a_cut_parquet_file_is_an_error_that_names_it(tmp_path):
    write(table(), str(tmp_path))
    data = (tmp_path / "manifest.parquet").read_bytes()
    (tmp_path / "manifest.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"manifest\.parquet: cannot be read as parquet"):
        read(str(tmp_path))


def test_a_damaged_description_is_an_error_that_names_it(tmp_path):
    table().to_pandas().to_csv(tmp_path / "manifest.csv", index=False)
    (tmp_path / "corpus.json").write_text("{")
    with pytest.raises(ValueError, match=r"corpus\.json: not a JSON object"):
        read(str(tmp_path))


@pytest.mark.parametrize("location", ["nowhere", "nowhere/manifest.csv", "nowhere/x.parquet"])
def test_a_missing_manifest_is_named(tmp_path, location):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read(str(tmp_path / location))


def test_only_a_csv_with_our_columns_counts_as_a_manifest(tmp_path):
    store = open_store(str(tmp_path))
    assert not has_manifest(store)
    (tmp_path / "manifest.csv").write_text("id,path,license\n1,2,3\n")
    assert not has_manifest(store)
    table().to_pandas().to_csv(tmp_path / "manifest.csv", index=False)
    assert has_manifest(store)


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path):
    text = io.StringIO()
    table(text=["a", "b", "c"]).to_pandas().to_csv(text, index=False)
    (tmp_path / "m.csv").write_bytes(b"\xef\xbb\xbf" + text.getvalue().replace("\n", "\r\n").encode())
    assert read(str(tmp_path / "m.csv")).table["split"].to_pylist() == ["train"] * 3


def test_many_rows_read_in_pieces_are_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("infra.corpus_manifest.BLOCK_BYTES", 2000)
    corpus = write(table(50), str(tmp_path / "a"))
    table(50).to_pandas().to_csv(tmp_path / "m.csv", index=False)
    assert read(str(tmp_path / "m.csv")).id == corpus.id
    assert pa.compute.count_distinct(corpus.table["id"]).as_py() == 50


def made(kind: str) -> bytes:
    """A sound manifest's bytes."""
    buffer = io.BytesIO()
    if kind == "csv":
        table().to_pandas().to_csv(buffer, index=False)
    else:
        pq.write_table(table().replace_schema_metadata({b"quarkline.corpus": b'{"name": "a", "root": "."}'}), buffer)
    return buffer.getvalue()


SOUND = {kind: made(kind) for kind in ("csv", "parquet")}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["root", "name", "id", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def assert_refused_or_sound(folder, name: str) -> None:
    """Whatever lies there, `read` gives a corpus that keeps its rules, or a ValueError that names the place."""
    try:
        corpus = read(str(folder / name))
    except ValueError as error:
        assert str(folder) in str(error)
    else:
        assert corpus.table.num_rows and not any(path.startswith(("/", "..")) for path in corpus.table["path"].to_pylist())


@given(st.sampled_from(sorted(SOUND)), MUTATIONS)
@settings(max_examples=200, deadline=None)
def test_a_damaged_manifest_raises_nothing_but_a_named_value_error(tmp_path_factory, kind, mutations):
    folder = tmp_path_factory.getbasetemp() / "fuzz-manifest"
    folder.mkdir(exist_ok=True)
    (folder / f"manifest.{kind}").write_bytes(mutated(SOUND[kind], mutations))
    assert_refused_or_sound(folder, f"manifest.{kind}")


@given(st.sampled_from(sorted(SOUND)), st.binary(max_size=300), st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_bytes_in_the_place_of_a_manifest_raise_nothing_but_a_named_value_error(tmp_path_factory, kind, data, headed):
    folder = tmp_path_factory.getbasetemp() / "fuzz-bytes"
    folder.mkdir(exist_ok=True)
    head = {"csv": SOUND["csv"][: SOUND["csv"].index(b"\n") + 1], "parquet": b"PAR1"}[kind] * headed
    (folder / f"manifest.{kind}").write_bytes(head + data + (b"PAR1" if headed and kind == "parquet" else b""))
    assert_refused_or_sound(folder, f"manifest.{kind}")


@given(JSON, st.booleans())
@settings(max_examples=80, deadline=None)
def test_any_json_beside_or_inside_a_manifest_raises_nothing_but_a_named_value_error(tmp_path_factory, value, inside):
    folder = tmp_path_factory.getbasetemp() / "fuzz-json"
    folder.mkdir(exist_ok=True)
    about = json.dumps(value)
    if inside:
        pq.write_table(table().replace_schema_metadata({b"quarkline.corpus": about}), folder / "manifest.parquet")
    else:
        (folder / "manifest.csv").write_bytes(SOUND["csv"])
        (folder / "corpus.json").write_text(about)
    assert_refused_or_sound(folder, "manifest.parquet" if inside else "manifest.csv")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("corpus.json", b"[" * 100_000),
        ("manifest.csv", b'"' + b"a" * 200_000),
        ("manifest.csv", b"id,path\n" + b"," * 200_000),
        ("manifest.csv", b"\0" * 1000),
        ("manifest.parquet", b"PAR1" + b"\xff" * 1000 + b"\xff\xff\xff\x7fPAR1"),
    ],
)
def test_what_is_made_to_exhaust_a_reader_costs_nothing(tmp_path, name, data):
    (tmp_path / "manifest.csv").write_bytes(SOUND["csv"])
    (tmp_path / name).write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=name):
            read(str(tmp_path / ("manifest.csv" if name == "corpus.json" else name)))
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()
