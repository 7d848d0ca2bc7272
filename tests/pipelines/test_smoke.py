"""make smoke: every step of the chain, by the commands of a user, on this machine and on S3 with several nodes."""

import pytest
from ray.cluster_utils import Cluster

from infra.storage import open_store
from pipelines.smoke import Smoke
from tests.pipelines.conftest import command, finished
from training.metrics.clip_table import read

STEPS = ("starter", "simulate (train)", "train-codec", "encode (test)", "train-lm", "bundle", "infer", "evaluate")


@pytest.mark.slow
@pytest.mark.cluster
def test_the_chain_works_from_nothing_to_an_evaluation(tmp_path):
    code, output = finished(command("pipelines.smoke", "--out", tmp_path), timeout_s=900)
    assert code == 0 and "all of it works" in output, output
    assert all(name in output for name in STEPS)
    (place,) = (tmp_path / "evaluations").glob("evaluation-*")
    found = read(open_store(str(place)))
    assert {"model", "input", "oracle"} <= set(found.clips["system"].to_pylist()) and found.clips.num_rows == 4 * 5
    assert (tmp_path / "clean.flac").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.s3
def test_the_chain_works_on_s3_and_two_nodes(s3, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        words = ("pipelines.smoke", "--out", f"{s3}/smoke", "--work", tmp_path)
        code, output = finished(command(*words, environment={"RAY_ADDRESS": cluster.address}), timeout_s=900)
    finally:
        cluster.shutdown()
    assert code == 0 and "all of it works" in output, output
    (name,) = [name for name in open_store(f"{s3}/smoke").list("evaluations/") if name.endswith("/clips.parquet")]
    assert read(open_store(f"{s3}/smoke").child(name.rpartition("/")[0])).clips.num_rows == 20


def test_training_runs_want_a_local_folder():
    with pytest.raises(ValueError, match="give --work, a local folder"):
        Smoke(out="s3://bucket/smoke")
    with pytest.raises(ValueError, match="give a local folder"):
        Smoke(work="s3://bucket/work")
