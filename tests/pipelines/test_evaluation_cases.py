import numpy as np
import pytest

from infra.dataset import open_dataset
from infra.shards import ShardError
from pipelines.evaluation_cases import band, case, case_seed, cases, slices


@pytest.fixture
def opened(dataset):
    return open_dataset(dataset)


def first_shard(opened):
    rows = [row for row in opened.manifest.to_pylist() if row["shard"] == "shard-000000.tar"]
    return rows, opened.store.get("shard-000000.tar")


def test_an_example_is_what_its_row_and_its_members_say(opened):
    rows, data = first_shard(opened)
    found = list(cases(opened, rows, data))
    assert [one.key for one in found] == [row["key"] for row in rows] and len(found) == 4
    one = found[0]
    assert one.task == "sr" and one.dataset == opened.description["id"] and one.domain == "speech"
    assert one.input.dtype == np.float32 and one.input.shape == one.targets[0].shape == (16000,)
    assert one.num_targets == 1 and one.transcripts[0] == "" and one.reference is None
    assert one.cluster.startswith("s")  # the speaker


def test_only_what_is_asked_for_is_decoded(opened):
    rows, data = first_shard(opened)
    wanted = rows[2]["key"]
    assert [one.key for one in cases(opened, rows, data, {wanted})] == [wanted]


def test_bytes_that_are_not_the_manifest_s_are_refused(opened):
    rows, data = first_shard(opened)
    with pytest.raises(ShardError):
        list(cases(opened, rows, data[:-512]))


def test_a_member_that_is_missing_is_named():
    row = {"key": "k", "task": "sr", "roles": ["input", "target"], "sample_rate_hz": 16000}
    with pytest.raises(ShardError, match=r"x: k\.input\.flac is missing"):
        case("d", row, {}, "x: k")


@pytest.mark.parametrize(
    ("value", "said"), [(-1, "under 0 dB"), (0, "0 to 5 dB"), (4.9, "0 to 5 dB"), (5, "5 dB and more"), (50, "5 dB and more")]
)
def test_a_band_holds_its_lower_edge(value, said):
    assert band(value, (0.0, 5.0), "db") == said


def test_measured_labels_go_before_requested_ones_and_what_is_not_finite_says_nothing():
    row = {"num_samples": 48000, "sample_rate_hz": 16000, "roles": ["input", "target"], "task": "sr"}
    row |= {"measured_snr_db": 7.0, "requested_snr_db": 1.0, "requested_sir_db": float("nan"), "text_operation": "insert"}
    assert slices(row) == {"snr_db": "5 to 10 dB", "duration_s": "2 to 5 s", "operation": "insert"}


def test_what_is_drawn_depends_on_the_example_alone(opened):
    rows, data = first_shard(opened)
    one, two = list(cases(opened, rows, data))[:2]
    assert case_seed(0, one) == case_seed(0, one) and len({case_seed(0, one), case_seed(0, two), case_seed(1, one)}) == 3
