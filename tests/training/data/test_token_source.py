import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infra.dataset import open_dataset
from infra.storage import open_store
from lm.config import TokenConfig
from tests.training.data.conftest import write_dataset
from tests.training.token_datasets import rewritten
from training.data.quarantine import Rejected
from training.data.token_config import TaskWeights, TokenData
from training.data.token_examples import Encoded
from training.data.token_source import Wanted, open_token_sources, tokens_of

WANTED = Wanted(max_positions=8192)


def opened(*stores, wanted: Wanted = WANTED, **options):
    return open_token_sources(TokenData(datasets=tuple(store.url for store in stores), **options), wanted)


def changed(store, folder, **columns):
    """A copy with other values in every row of the manifest, or those of a function of row number and value."""

    def change(rows, description):
        for number, row in enumerate(rows):
            for name, value in columns.items():
                row[name] = value(number, row[name]) if callable(value) else value

    return rewritten(store, folder, change)


def redescribed(store, folder, **changes):
    def change(rows, description):
        for name, value in changes.items():
            description[name] = description[name] | value if isinstance(value, dict) else value

    return rewritten(store, folder, change)


def test_every_dataset_is_a_source_of_its_task(tokens):
    sources = opened(*tokens.values())
    assert [source.domain for source in sources] == list(tokens)
    for source in sources:
        assert source.tokens == tokens_of(open_dataset(open_store(source.where)))
        assert (source.split, source.num_clips) == ("train", 4 if source.domain != "sr" else 8) or source.domain == "ss"


def test_a_folder_of_datasets_is_all_token_datasets_in_it(tokens, tmp_path):
    for name in ("sr", "tse"):
        shutil.copytree(tokens[name].url, tmp_path / "data" / name)
    write_dataset(open_store(str(tmp_path / "data" / "audio")), (2,))
    sources = open_token_sources(TokenData(datasets=(str(tmp_path / "data"),)), WANTED)
    assert [source.domain for source in sources] == ["sr", "tse"]
    assert [source.id for source in sources] == [source.id for source in opened(tokens["sr"], tokens["tse"])]


def test_what_is_fetched_are_the_members_of_its_row(tokens):
    (source,) = opened(tokens["sr"])
    fetched = source.fetch(np.array([7, 0, 3]))
    for clip, found in fetched.items():
        assert isinstance(found, Encoded)
        assert found.row["key"] == source.table["key"][clip].as_py()
        assert {"target_acoustic.npy", "target_semantic.npy", "input.flac"} <= found.members.keys()


def test_the_text_of_a_task_is_its_condition(tokens):
    sources = {source.domain: source for source in opened(*tokens.values())}
    for name, columns in (("lass", ["text_caption"]), ("tta", ["text_transcript", "text_caption"])):
        manifest = open_dataset(tokens[name]).manifest.to_pylist()
        wanted = {row["key"]: next(row[column] for column in columns if row[column]) for row in manifest}
        assert dict(zip(sources[name].table["key"].to_pylist(), sources[name].table["text"].to_pylist())) == wanted
    assert set(sources["sr"].table["text"].to_pylist()) == {None}


def test_separation_of_other_than_two_voices_is_left_out_with_a_reason(tokens, capsys):
    counts = [len(row["target_roles"]) for row in open_dataset(tokens["ss"]).manifest.to_pylist()]
    assert 2 in counts and 3 in counts
    (source,) = opened(tokens["ss"])
    assert source.num_clips == counts.count(2)
    assert {rejected.reason for rejected in source.left_out} == {"other_sources"}
    assert "1 other_sources" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "columns", "reason"),
    [
        ("tse", {"reference_num_samples": 0}, "missing_condition"),
        ("lass", {"text_caption": ""}, "missing_condition"),
        ("lass", {"text_caption": " "}, "bad_text"),
        ("lass", {"text_caption": "a" * 600}, "bad_text"),
        ("lass", {"text_caption": "two\nlines"}, "bad_text"),
        ("sr", {"input_num_samples": 0}, "missing_condition"),
        ("tta", {"num_frames": 5000}, "too_long"),
    ],
)
def test_an_example_that_cannot_serve_is_left_out_with_a_reason(tokens, tmp_path, name, columns, reason):
    one = {column: lambda number, old, new=new: new if number == 1 else old for column, new in columns.items()}
    (source,) = opened(changed(tokens[name], tmp_path / "one", **one))
    assert [rejected.reason for rejected in source.left_out] == [reason]
    assert source.left_out[0].key not in source.table["key"].to_pylist()
    with pytest.raises(ValueError, match=f"{reason}.*no example is left to train on"):
        opened(changed(tokens[name], tmp_path / "all", **columns))


def test_a_long_aligned_example_is_kept_to_be_cut(tokens):
    (source,) = opened(tokens["sr"], wanted=replace(WANTED, max_positions=40))
    assert source.num_clips == 8
    with pytest.raises(ValueError, match="too_long"):
        opened(tokens["sr"], wanted=replace(WANTED, max_positions=8))


def test_the_text_check_of_an_encoder_is_asked_once_for_each_text(tokens):
    asked = []

    def check(text):
        asked.append(text)
        if text.startswith("isolate"):
            raise ValueError("the text encoder does not know isolate")

    (source,) = opened(tokens["lass"], wanted=replace(WANTED, check_text=check))
    assert len(asked) == len(set(asked))
    assert all("does not know isolate" in str(rejected) for rejected in source.left_out) and source.left_out


def test_a_reference_that_the_task_has_no_use_for_is_not_there(tokens, tmp_path):
    (source,) = opened(changed(tokens["sr"], tmp_path / "sr", reference_num_samples=16000))
    assert set(source.table["reference_num_samples"].to_pylist()) == {0}


def test_tokens_of_another_codec_are_refused_before_training(tokens, tmp_path):
    other = redescribed(tokens["tse"], tmp_path / "other", codec={"codebook_size": 64, "id": "another"})
    with pytest.raises(
        ValueError, match=rf"{other.url}: tokens of another codec: codebook_size 64, the model has 32.*codec 'another'"
    ):
        opened(tokens["sr"], other)
    model = tokens_of(open_dataset(tokens["sr"]))
    assert opened(tokens["sr"], wanted=replace(WANTED, codec=model))
    with pytest.raises(ValueError, match=r"tokens of another codec: num_acoustic 3, the model has 4"):
        opened(tokens["sr"], wanted=replace(WANTED, codec=replace(model, num_acoustic=4)))
    assert opened(tokens["sr"], wanted=replace(WANTED, codec=replace(model, codec="")))  # a model that does not know its codec
    assert isinstance(model, TokenConfig) and len(model.codec) == 64


def test_kept_features_serve_the_model_of_their_encoder_alone(tokens, tmp_path):
    kept = redescribed(tokens["sr"], tmp_path / "kept", features="log-mel")
    found = [
        opened(store, wanted=replace(WANTED, audio_encoder=encoder))[0].kept == {"has_features"}
        for store in (kept, tokens["sr"])
        for encoder in ("log-mel", "other", "")
    ]
    assert found == [True, False, False, False, False, False]
    source = opened(kept, wanted=replace(WANTED, audio_encoder="log-mel"))[0]
    assert all(one.row["has_features"] for one in source.fetch(np.array([0])).values())


def test_a_model_that_copies_wants_the_inputs_tokens(tokens, tmp_path):
    kept, wanted = redescribed(tokens["sr"], tmp_path / "kept", input_codes=True), replace(WANTED, input_codes=True)
    assert opened(kept, wanted=wanted)[0].kept == {"has_input_codes"} and not opened(kept)[0].kept
    with pytest.raises(ValueError, match="without the inputs' tokens, which this model copies"):
        opened(tokens["sr"], wanted=wanted)


def test_held_out_data_are_not_trained_on_and_training_data_not_held_out(tokens, tmp_path):
    test = redescribed(tokens["sr"], tmp_path / "test", split="test")
    with pytest.raises(ValueError, match="of the split 'test' of its corpus, train is wanted here"):
        opened(test)
    assert opened(test, wanted=replace(WANTED, splits=("test", "valid")))
    with pytest.raises(ValueError, match="of the split 'train' of its corpus, test or valid is wanted here"):
        opened(tokens["sr"], wanted=replace(WANTED, splits=("test", "valid")))
    with pytest.raises(ValueError, match="encoded before datasets said their split: encode again"):
        opened(redescribed(tokens["sr"], tmp_path / "old", split=None))


def test_nothing_there_the_same_twice_and_no_weight_are_refused(tokens, tmp_path):
    with pytest.raises(ValueError, match="no finished dataset of tokens at any place"):
        open_token_sources(TokenData(), WANTED)
    with pytest.raises(ValueError, match="make encode"):
        open_token_sources(TokenData(datasets=(str(tmp_path),)), WANTED)
    with pytest.raises(ValueError, match="are the same data"):
        opened(tokens["sr"], tokens["sr"])
    with pytest.raises(ValueError, match=r"none of the tasks that are there \(sr\) has a weight"):
        opened(tokens["sr"], weights=TaskWeights(sr=0))


def test_all_examples_of_a_damaged_shard_are_rejected_and_no_others(tokens, tmp_path):
    folder = Path(shutil.copytree(tokens["sr"].url, tmp_path / "sr"))
    (source,) = open_token_sources(TokenData(datasets=(str(folder),)), WANTED)
    (folder / "shard-000001.tar").write_bytes(b"gone")
    fetched = source.fetch(np.arange(8))
    assert [isinstance(fetched[clip], Rejected) for clip in range(8)] == [False] * 4 + [True] * 4
    assert {fetched[clip].reason for clip in range(4, 8)} == {"changed"}
