import numpy as np
import pytest

from infra.dataset import Dataset, open_dataset
from infra.shards import ShardError
from pipelines.evaluation_cases import band, case_seed, cases, slices
from tests.training.token_datasets import simulated


@pytest.fixture(scope="module")
def made(tmp_path_factory, request):
    """Datasets of two tasks."""
    from tests.pipelines.conftest import write_corpus

    folder = tmp_path_factory.mktemp("cases")
    corpus = write_corpus(folder / "corpus")
    changes = {"tse": {"duration_s": 1.0}, "ss": {"duration_s": 1.0, "third_voice_probability": 0.0}}
    return {name: simulated(name, folder / name, corpus, count=2, **change) for name, change in changes.items()}


def of(dataset: Dataset, shard: bytes | None = None):
    rows = dataset.manifest.to_pylist()
    return list(cases(dataset, rows, dataset.store.get(rows[0]["shard"]) if shard is None else shard))


def test_a_case_has_what_systems_are_given_and_metrics_compare_with(made):
    for case, row in zip(of(made["tse"]), made["tse"].manifest.to_pylist(), strict=True):
        assert (case.key, case.task, case.sample_rate_hz) == (row["key"], "tse", 16000)
        assert case.input.shape == case.targets[0].shape == (16000,) and case.reference is not None
        assert case.cluster in {"s0", "s1", "s2", "s3"} and case.dataset == made["tse"].description["id"]
        assert {"snr_db", "duration_s"} >= {"duration_s"} and case.slices["duration_s"] == "under 2 s"
    assert all(len(case.targets) == case.num_targets == len(case.transcripts) == 2 for case in of(made["ss"]))
    assert {case.slices["num_voices"] for case in of(made["ss"])} == {"2"}


def test_waves_are_those_of_the_shard_at_full_scale_one(made):
    case = of(made["tse"])[0]
    assert case.input.dtype == np.float32 and 0 < np.abs(case.input).max() <= 1


def test_draws_depend_on_the_seed_and_the_example_alone(made):
    first, second = of(made["tse"])
    assert case_seed(0, first) == case_seed(0, of(made["tse"])[0])
    assert len({case_seed(0, first), case_seed(1, first), case_seed(0, second)}) == 3


def test_a_damaged_shard_is_named(made):
    dataset = open_dataset(made["tse"].store)
    shard = dataset.manifest["shard"][0].as_py()
    with pytest.raises(ShardError, match=shard):
        of(dataset, dataset.store.get(shard)[:-1024])


def test_bands_are_told_in_words():
    assert [band(value, (0.0, 5.0), "db") for value in (-1, 0, 4.9, 5)] == [
        "under 0 dB",
        "0 to 5 dB",
        "0 to 5 dB",
        "5 dB and more",
    ]


def test_slices_come_from_labels_texts_and_what_an_importer_says():
    row = {"task": "sr", "roles": ["input", "target"], "num_samples": 48000, "sample_rate_hz": 16000}
    row |= {"requested_snr_db": 3.0, "measured_snr_db": 7.0, "text_operation": "delete", "slice_room": "large", "slice_x": None}
    assert slices(row) == {"snr_db": "5 to 10 dB", "duration_s": "2 to 5 s", "operation": "delete", "room": "large"}
