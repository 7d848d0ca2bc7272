import pytest
import torch

from infra.dataset import open_dataset
from infra.shards import ShardError
from pipelines.bundle import Bundle
from pipelines.evaluation_job import Job, Judging, bundle_id, cases_of, code_version, pieces, systems_of
from tests.pipelines.model_bundles import make_bundle


def test_pieces_are_neighbours_of_one_shard_and_hold_every_example_once(dataset):
    opened = open_dataset(dataset)
    found = pieces([opened], 3, 0)
    assert [len(piece.keys) for piece in found] == [3, 1, 3, 1]
    assert [key for piece in found for key in piece.keys] == opened.manifest["key"].to_pylist()
    assert len({piece.name for piece in found}) == 4 and {piece.task for piece in found} == {"sr"}
    assert [key for piece in pieces([opened], 3, 5) for key in piece.keys] == opened.manifest["key"].to_pylist()[:5]


def test_a_piece_gives_its_examples(dataset):
    piece = pieces([open_dataset(dataset)], 3, 0)[1]
    assert [case.key for case in cases_of(piece)] == list(piece.keys)


def test_a_shard_that_is_gone_is_named(dataset):
    piece = pieces([open_dataset(dataset)], 3, 0)[2]
    dataset.delete("shard-000001.tar")
    with pytest.raises(ShardError, match=r"shard-000001\.tar: in the manifest, and not there; rerun what made it"):
        cases_of(piece)


def test_an_actor_with_other_code_or_another_model_refuses(tmp_path):
    place = str(make_bundle(tmp_path))
    identity = bundle_id(Bundle.open(place).about)
    job = Job({"model": place}, {"model": identity}, Judging(), "out", code_version())
    assert set(systems_of(job).models) == {"model"}
    with pytest.raises(RuntimeError, match="other code than the driver"):
        systems_of(Job({"model": place}, {"model": identity}, Judging(), "out", "0"))
    with pytest.raises(RuntimeError, match="another model than on the driver's"):
        systems_of(Job({"model": place}, {"model": "0"}, Judging(), "out", code_version()))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_models_go_where_the_job_says_even_if_the_machine_has_a_gpu(device, tmp_path, monkeypatch):
    asked = []
    place = str(make_bundle(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.nn.Module, "to", lambda module, place: (asked.append(place), module)[1])
    identity = bundle_id(Bundle.open(place, device="cpu").about)
    asked.clear()
    systems_of(Job({"model": place}, {"model": identity}, Judging(), "out", code_version(), device))
    assert asked[:2] == [device, device]  # codec and language model; what else there is follows them


def test_a_metric_that_there_is_not_is_told_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'si_sdr'"):
        Judging(("si_sdrr",)).chosen()
