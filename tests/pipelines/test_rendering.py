import hashlib

import msgspec
import pytest

from infra import corpus_manifest
from infra.shards import read
from pipelines.rendering import Isolated, LabelError, Recipe, clips_of, loader, make_shard, render, scene_from, scene_of
from simulation.bank import Bank
from simulation.example import SourceError
from simulation.registry import task

RATE_HZ = 16000


def recipe(**changes) -> Recipe:
    values = {"task": "sr", "config": task("sr").Config(duration_s=2.0), "sample_rate_hz": RATE_HZ, "min_source_rate_hz": 0}
    values |= {"seed": 0, "count": 6, "first": 0, "examples_per_shard": 4, "stems": True, "split": "train", "gate": "fail"}
    return Recipe(**(values | changes))


@pytest.fixture(scope="module")
def bank(corpus):
    return Bank(corpus_manifest.read(str(corpus)).of_split("train"), RATE_HZ)


@pytest.fixture(scope="module")
def load(corpus):
    return loader(str(corpus), RATE_HZ)


def test_an_example_is_the_same_however_often_it_is_rendered(bank, load):
    first = render(recipe(), bank, load, 3)
    assert first.members == render(recipe(), bank, load, 3).members
    assert first.row == render(recipe(), bank, load, 3).row
    assert first.members != render(recipe(seed=1), bank, load, 3).members
    assert first.members != render(recipe(), bank, load, 3, attempt=1).members


def test_a_stored_scene_is_the_drawn_one(bank, load):
    record = msgspec.json.decode(render(recipe(), bank, load, 0).members["json"])
    assert scene_from(record) == scene_of(recipe(), bank, 0, 0)
    with pytest.raises(ValueError, match="not one that this version"):
        scene_from(record | {"scene": {"level_db": "loud"}})


def test_shards_cover_the_indices_once_whatever_their_size(bank, load):
    for size in (1, 4, 6, 64):
        asked = recipe(examples_per_shard=size, first=10)
        covered = [index for shard in range(asked.num_shards()) for index in asked.indices(shard)]
        assert covered == list(range(10, 16))


def test_a_shard_holds_what_its_rows_say(bank, load):
    data, rows = make_shard(recipe(), 1, lambda index, attempt: render(recipe(), bank, load, index, attempt))
    assert rows.sha256 == hashlib.sha256(data).hexdigest()
    samples = list(read(data, "shard", rows.sha256, len(rows.examples)))
    assert [sample.key for sample in samples] == [row["key"] for row in rows.examples] == ["sr-s0-00000004", "sr-s0-00000005"]
    for sample, row in zip(samples, rows.examples, strict=True):
        audio = {name.removesuffix(".flac"): value for name, value in sample.members.items() if name != "json"}
        assert list(audio) == row["roles"]
        assert {value[0].shape for value in audio.values()} == {(1, row["num_samples"])}


def test_stems_can_be_left_out(bank, load):
    roles = render(recipe(stems=False), bank, load, 0).row["roles"]
    assert roles == ["input", "target"]


def test_every_source_is_named_with_its_licence(bank, load):
    row = render(recipe(), bank, load, 0).row
    scene = scene_of(recipe(), bank, 0, 0)
    assert row["sources"] == [clip.id for clip in clips_of(scene)]
    assert row["licences"] == ["CC0 1.0"] * len(row["sources"])


def failing(bank, load, bad_index: int, attempts: int, error: Exception):
    def attempt(index, number):
        if index == bad_index and number < attempts:
            raise error
        return render(recipe(), bank, load, index, number)

    return attempt


def test_a_source_that_fails_is_drawn_again_and_named(bank, load):
    error = SourceError("speech-s0-1", "speech/s0/1.flac", "truncated", "half of it")
    _, rows = make_shard(recipe(), 0, failing(bank, load, 2, 2, error))
    assert len(rows.examples) == 4
    assert [row["attempt"] for row in rows.examples] == [0, 0, 2, 0]
    assert [(reject["key"], reject["reason"], reject["path"]) for reject in rows.rejects] == [
        ("sr-s0-00000002", "truncated", "speech/s0/1.flac")
    ] * 2


def test_an_index_is_given_up_after_bounded_attempts(bank, load):
    error = SourceError("a", "a.flac", "missing", "")
    _, rows = make_shard(recipe(), 0, failing(bank, load, 2, 99, error))
    assert [row["index"] for row in rows.examples] == [0, 1, 3]
    assert len(rows.rejects) == 4


def test_a_wrong_label_fails_the_shard_unless_told_to_redraw(bank, load):
    attempt = failing(bank, load, 1, 1, LabelError("sr-s0-00000001: snr_db"))
    with pytest.raises(LabelError, match="snr_db"):
        make_shard(recipe(), 0, attempt)
    _, rows = make_shard(recipe(gate="redraw"), 0, attempt)
    assert [reject["reason"] for reject in rows.rejects] == ["labels"]
    assert len(rows.examples) == 4


def test_attempts_in_a_process_of_their_own_give_the_same_bytes(corpus, bank, load):
    alone = make_shard(recipe(), 1, lambda index, attempt: render(recipe(), bank, load, index, attempt))
    with Isolated(recipe(), bank, str(corpus)) as attempt:
        assert make_shard(recipe(), 1, attempt) == alone
