import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.corpus_schema import SCHEMA, content_id, validate


def table(num_rows: int = 3, **columns) -> pa.Table:
    """A sound manifest; a column given as None is left out."""
    numbers = range(num_rows)
    known = {
        "id": [f"clip-{number}" for number in numbers],
        "path": [f"a b/{number}.flac" for number in numbers],
        "role": ["speech"] * num_rows,
        "speaker": [f"s{number // 2}" for number in numbers],
        "group": [f"s{number // 2}" for number in numbers],
        "text": [f'he said: "{number}",\nand left' for number in numbers],
        "sample_rate_hz": [16000] * num_rows,
        "num_frames": [100 + number for number in numbers],
        "licence": ["CC0 1.0"] * num_rows,
        "sha256": [f"{number:064x}" for number in numbers],
        "split": ["train"] * num_rows,
    }
    return pa.table({name: values for name, values in (known | columns).items() if values is not None})


def test_a_sound_manifest_gets_all_columns_their_types_and_no_null():
    checked = validate(table(text=["a", None, "c"]), "m.csv")
    assert checked.schema.equals(SCHEMA)
    assert checked["text"].to_pylist() == ["a", "", "c"]
    assert checked["caption"].to_pylist() == ["", "", ""]
    assert checked["num_channels"].to_pylist() == [1, 1, 1]
    assert sum(column.null_count for column in checked.columns) == 0


def test_columns_of_other_names_are_left_out():
    assert validate(table(loudness=[1.0, 2.0, 3.0]), "m.csv").column_names == SCHEMA.names


def test_whole_numbers_may_come_as_text_or_float():
    checked = validate(table(sample_rate_hz=["16000", "8000", "48000"], num_frames=[1.0, 2.0, 3.0]), "m.csv")
    assert checked["sample_rate_hz"].to_pylist() == [16000, 8000, 48000]
    assert checked["num_frames"].to_pylist() == [1, 2, 3]


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"role": None}, r"m\.csv: no column role \(it has id, path"),
        ({"sample_rate_hz": None, "sample_rate": [1, 1, 1]}, r"unknown column 'sample_rate', did you mean 'sample_rate_hz'"),
        ({"captions": ["", "", ""]}, r"unknown column 'captions', did you mean 'caption'"),
        ({"licence": None, "license": ["", "", ""]}, r"unknown column 'license', did you mean 'licence'"),
        ({"split": None, "part": ["", "", ""]}, r"no column split \(it has"),
        ({"role": ["speech", "music", "noises"]}, r"column 'role', row 3: 'noises' is not allowed, must be one of speech"),
        ({"split": ["train", "eval", "dev"]}, r"column 'split', row 2: 'eval' .* \(and 1 more rows\)"),
        ({"num_frames": ["1", "x", "3"]}, r"column 'num_frames', row 2: 'x' must be a whole number"),
        ({"num_frames": [1, None, 3]}, r"column 'num_frames', row 2: None must be a whole number"),
        ({"num_frames": [1.0, 2.5, 3.0]}, r"column 'num_frames', row 2: 2\.5 must be a whole number"),
        ({"num_frames": [1, 0, 3]}, r"column 'num_frames', row 2: 0 must be 1 or more"),
        ({"sample_rate_hz": [1, 2, 2**40]}, r"column 'sample_rate_hz' does not fit int32"),
        ({"sample_rate_hz": [True, True, True]}, r"column 'sample_rate_hz' is bool, must be whole numbers"),
        ({"text": [["a"], ["b"], ["c"]]}, r"column 'text' is list.*, must be text"),
        ({"labels": ["{}", "dog", ""]}, r"column 'labels', row 2: 'dog' must be a JSON object"),
        ({"words": ["", "", "{}"]}, r"column 'words', row 3: '\{\}' must be a JSON list"),
        ({"sha256": ["0" * 64, "0" * 63, "F" * 64]}, r"column 'sha256', row 2: .* must be 64 hex digits"),
        ({"id": ["a", "", "c"]}, r"column 'id', row 2: ''"),
        ({"id": ["a", "b", "a"]}, r"column 'id', rows 1 and 3: 'a' is there twice"),
        ({"split": ["train", "test", "test"]}, r"column 'group': 's0' is in splits test and train"),
        ({"group": None, "split": ["train", "test", "test"]}, r"'s0' is in splits test and train"),
    ],
)  # fmt: skip
def test_what_is_not_sound_is_an_error_that_names_file_column_row_and_remedy(columns, message):
    with pytest.raises(ValueError, match=message):
        validate(table(**columns), "m.csv")


@pytest.mark.parametrize(
    "path", ["../x.wav", "a/../../x", "/etc/x.wav", "./x.wav", "a//x", "", "C:/x.wav", "s3://b/x", "a\\..\\x", "a\x00b"]
)
def test_a_path_that_could_leave_the_root_is_refused(path):
    with pytest.raises(ValueError, match=r"column 'path', row 2: .* is no path below the corpus root"):
        validate(table(path=["x.wav", path, "y.wav"]), "m.csv")


@pytest.mark.parametrize("path", ["..a/b.wav", "a..b/c d.wav", "ünï/ö (1) & b.wav"])
def test_odd_names_below_the_root_are_fine(path):
    assert validate(table(path=["x.wav", path, "y.wav"]), "m.csv")["path"][1].as_py() == path


def test_files_without_group_and_speaker_may_be_in_any_split():
    validate(table(group=None, speaker=None, split=["train", "test", "valid"]), "m.csv")


def test_a_manifest_without_rows_is_refused():
    with pytest.raises(ValueError, match="has no rows"):
        validate(table(0), "m.csv")


@given(st.permutations(range(6)), st.integers(1, 6))
def test_the_id_hangs_on_the_content_alone(order, rows_per_chunk):
    whole = validate(table(6), "m")
    mixed = whole.take(order)
    chunked = pa.concat_tables([mixed.slice(start, rows_per_chunk) for start in range(0, 6, rows_per_chunk)])
    assert content_id(chunked) == content_id(whole)


@pytest.mark.parametrize(
    "change",
    [{"text": ["a", "b", "c"]}, {"num_frames": [100, 101, 103]}, {"speaker": ["s0", "s0s1", ""], "group": ["s0", "", ""]}],
)
def test_the_id_changes_with_any_cell(change):
    assert content_id(validate(table(**change), "m")) != content_id(validate(table(), "m"))


def test_the_id_tells_where_one_cell_ends_and_the_next_begins():
    one, other = (validate(table(2, text=texts), "m") for texts in (["ab", "c"], ["a", "bc"]))
    assert content_id(one) != content_id(other)


def test_a_million_rows_are_checked_without_an_object_for_each():
    numbers = pa.array(np.arange(1_000_000)).cast(pa.string())
    group = pa.array(np.arange(1_000_000) // 400).cast(pa.string())
    big = pa.table(
        {
            "id": pc.binary_join_element_wise("clip", numbers, "-"),
            "path": pc.binary_join_element_wise("a/b", numbers, "/"),
            "role": pa.repeat("speech", 1_000_000),
            "group": group,
            "sample_rate_hz": pa.repeat(16000, 1_000_000),
            "num_frames": pa.array(np.arange(1, 1_000_001)),
            "licence": pa.repeat("CC0 1.0", 1_000_000),
            "sha256": pc.utf8_lpad(numbers, 64, "0"),
            "split": pa.repeat("train", 1_000_000),
        }
    )
    before = pa.total_allocated_bytes()
    checked = validate(big, "m")
    assert len(content_id(checked)) == 64
    assert pa.total_allocated_bytes() - before < 2 * big.nbytes
