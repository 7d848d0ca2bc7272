import numpy as np
import pandas as pd
import pytest

from infra.storage import open_store
from tests.training.data.conftest import sound, write_corpus, write_dataset
from training.data.config import DataConfig
from training.data.held_out import HeldOut, held_out, identity, ordered


@pytest.fixture
def run(tmp_path):
    return open_store(str(tmp_path / "run"))


@pytest.fixture
def place(tmp_path):
    """Speech of 5 speakers with 4 clips each, 3 of them held out, and 4 held-out pieces of music."""
    names = [f"speech/s{speaker}-{clip}" for speaker in range(5) for clip in range(4)] + [f"music/{n}" for n in range(4)]
    held = {name: "test" if name.startswith("music") or int(name[8]) > 1 else "train" for name in names}
    speakers = {name: name[7:9] if name.startswith("speech") else "" for name in names}
    files = {name: sound(at, 0.5) for at, name in enumerate(names)}
    return write_corpus(tmp_path / "corpus", files, split=held, speaker=speakers)


def test_speakers_of_the_training_never_occur_and_take_turns(place, run):
    items = held_out(DataConfig(corpora=(place,)), HeldOut(per_domain=6), 8000, run)
    speech = [item for item in items if item.domain == "speech"]
    assert [item.speaker for item in speech[:3]] != [item.speaker for item in speech[:1]] * 3
    assert {item.speaker for item in speech[:3]} == {item.speaker for item in speech[3:]} == {"s2", "s3", "s4"}
    assert len([item for item in items if item.domain == "music"]) == 4


def test_a_longer_choice_begins_with_the_shorter_one(place, run):
    def keys(count):
        return [
            item.key for item in held_out(DataConfig(corpora=(place,)), HeldOut(count), 8000, run) if item.domain == "speech"
        ]

    assert keys(5)[:3] == keys(3)


def test_the_choice_is_the_same_in_any_place_and_order_and_has_an_id(place, tmp_path, run):
    config = DataConfig(corpora=(place,))
    items = held_out(config, HeldOut(3), 8000, run)
    again = held_out(config, HeldOut(3), 8000, run)
    assert identity(items) == identity(again)
    assert identity(items) != identity(held_out(config, HeldOut(4), 8000, run))
    assert identity(items) != identity(held_out(config, HeldOut(3, seconds=0.4), 8000, run))


def test_an_item_is_the_whole_clip_or_its_middle_at_its_own_level(place, run):
    config = DataConfig(corpora=(place,))
    (whole, *_), (middle, *_) = held_out(config, HeldOut(1), 8000, run), held_out(config, HeldOut(1, seconds=0.1), 8000, run)
    assert whole.key == middle.key
    assert (whole.wave.shape, middle.wave.shape) == ((4000,), (800,))
    assert np.array_equal(whole.wave[1600:2400], middle.wave)
    assert whole.sample_rate_hz == 8000
    assert held_out(config, HeldOut(1), 16000, run)[0].wave.shape == (8000,)


def test_what_cannot_serve_is_left_out_and_the_next_takes_its_place(place, tmp_path, run, capsys):
    config = DataConfig(corpora=(place,))
    first, second, *_ = [item.key for item in held_out(config, HeldOut(3), 8000, run) if item.domain == "speech"]
    (tmp_path / "corpus" / f"{first}.wav").unlink()
    items = [item.key for item in held_out(config, HeldOut(3), 8000, run) if item.domain == "speech"]
    assert items[0] == second
    assert len(items) == 3
    assert f"{first}.wav: missing" in capsys.readouterr().out


def test_data_without_a_held_out_split_are_refused(tmp_path, corpus_at, dataset_at, run):
    with pytest.raises(ValueError, match="no file has split 'test'"):
        held_out(DataConfig(corpora=(corpus_at,)), HeldOut(), 8000, run)
    with pytest.raises(ValueError, match="test or valid is wanted here"):
        held_out(DataConfig(shards=(str(dataset_at),)), HeldOut(), 8000, run)
    with pytest.raises(ValueError, match="splits other than train"):
        HeldOut(splits=("train",))


def test_a_dataset_simulated_from_held_out_speakers_serves_too(tmp_path, run):
    write_dataset(open_store(str(tmp_path / "sr-0")), (3, 3), split="test")
    items = held_out(DataConfig(shards=(str(tmp_path / "sr-0"),)), HeldOut(4), 8000, run)
    assert len({item.key for item in items}) == 4
    assert {item.domain for item in items} == {"speech"}


def test_order_is_by_hash_within_turns():
    clips = pd.DataFrame(
        {"key": [f"k{n}" for n in range(9)], "speaker": ["a"] * 6 + [""] * 3, "group": ["g"] * 6 + ["x", "x", ""]}
    )
    found = ordered(clips.sample(frac=1, random_state=0, ignore_index=True))
    assert found["key"].tolist() == ordered(clips)["key"].tolist()
    assert found["turn"].tolist() == [0, 0, 0, 1, 1, 2, 3, 4, 5]
