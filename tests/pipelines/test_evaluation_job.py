import pickle
from types import SimpleNamespace

import pyarrow as pa

from pipelines.evaluation_job import Judging, bundle_id, code_version, pieces


def dataset(identity: str, shards: dict[str, int]) -> SimpleNamespace:
    rows = [{"key": f"{shard}-{n}", "shard": f"{shard}.tar"} for shard, count in shards.items() for n in range(count)]
    return SimpleNamespace(
        store=SimpleNamespace(url="/place"), description={"id": identity}, manifest=pa.Table.from_pylist(rows)
    )


def test_pieces_hold_every_example_once_and_never_of_two_shards():
    found = pieces([dataset("a" * 64, {"x": 5, "y": 2}), dataset("b" * 64, {"x": 1})], 2, 0)
    assert [len(piece.keys) for piece in found] == [2, 2, 1, 2, 1]
    keys = [(piece.dataset_id, key) for piece in found for key in piece.keys]
    assert len(set(keys)) == len(keys) == 8
    assert len({piece.name for piece in found}) == 5


def test_another_size_of_pieces_takes_other_names():
    one = dataset("a" * 64, {"x": 4})
    assert not {piece.name for piece in pieces([one], 2, 0)} & {piece.name for piece in pieces([one], 4, 0)}


def test_the_first_examples_are_taken_where_a_count_is_given():
    assert sum(len(piece.keys) for piece in pieces([dataset("a" * 64, {"x": 5, "y": 2})], 2, 6)) == 6


def test_what_is_sent_to_actors_can_be_sent():
    judging = Judging(("si_sdr",))
    assert pickle.loads(pickle.dumps(judging)) == judging and list(judging.chosen()) == ["si_sdr"]


def test_ids_are_of_contents():
    assert bundle_id({"a": 1, "b": 2}) == bundle_id({"b": 2, "a": 1}) != bundle_id({"a": 2})
    assert len(code_version()) == 12
