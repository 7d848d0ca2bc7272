"""The whole chain, by the commands of a user: on this machine alone, and on a cluster of two nodes over a real S3 server."""

import json
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from infra.command_line import ShardsFailed
from infra.storage import open_store
from pipelines import smoke
from pipelines.smoke import Smoke, Step, steps
from tests.pipelines.conftest import command, finished
from tests.pipelines.test_simulate_cluster import AUTHENTICATION, free_port
from training.metrics.clip_table import read

TIMEOUT_S = 1200  # where other tests take the cores; alone it is to take 180 s
SMALL = {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """The starter corpus, a small one: for both chains."""
    folder = tmp_path_factory.mktemp("smoke") / "corpus"
    words = ("pipelines.starter", "--out", folder, "--hours", "0.05", "--roles", "speech", "noise")
    code, output = finished(command(*words, environment=SMALL), TIMEOUT_S)
    assert code == 0, output
    return folder


def evaluation_below(place: str):
    store = open_store(place)
    (name,) = {name.partition("/")[0] for name in store.list() if name.endswith("evaluation.json")}
    return read(store.child(name))


@pytest.mark.slow
@pytest.mark.cluster
def test_the_chain_goes_from_simulation_to_an_evaluation(corpus, tmp_path):
    words = ("pipelines.smoke", "--out", tmp_path, "--corpus", corpus)
    code, output = finished(command(*words, environment=SMALL), TIMEOUT_S)
    assert code == 0, output
    assert "all of it works" in output
    found = evaluation_below(str(tmp_path / "evaluations")).clips.to_pandas()
    assert found.groupby("system").size().to_dict() == dict.fromkeys(("input", "mask", "model", "oracle", "target"), 4)
    assert found[found.system == "input"]["metric.si_sdr"].notna().all()
    assert (tmp_path / "clean.flac").stat().st_size > 1000
    code, output = finished(command(*words, environment=SMALL), TIMEOUT_S)  # what is there is used again
    assert code == 0, output
    assert len(list((tmp_path / "evaluations").iterdir())) == 1


@pytest.fixture
def two_nodes():
    """A head without CPUs and two nodes with one each."""
    head = {"num_cpus": 0, "include_dashboard": False, "dashboard_agent_listen_port": free_port()}
    patch = pytest.MonkeyPatch()
    for name, value in AUTHENTICATION.items():
        patch.setenv(name, value)
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(num_cpus=1, dashboard_agent_listen_port=free_port())
    yield cluster
    cluster.shutdown()
    patch.undo()


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.s3
def test_the_same_chain_on_two_nodes_over_s3(s3, two_nodes, corpus, tmp_path):
    environment = SMALL | AUTHENTICATION | {"RAY_ADDRESS": two_nodes.address}
    words = ("pipelines.smoke", "--out", f"{s3}/smoke", "--work", tmp_path, "--corpus", corpus)
    code, output = finished(command(*words, environment=environment), TIMEOUT_S)
    assert code == 0, output
    found = evaluation_below(f"{s3}/smoke/evaluations")
    assert found.clips.num_rows == 20 and not list(tmp_path.rglob("*.tar"))
    assert (
        json.loads(open_store(f"{s3}/smoke/bundle").get("bundle.json"))["lm"]["id"]
        == found.description["parents"]["models"]["model"]["lm"]
    )


def test_the_steps_are_those_of_a_user_in_their_order(tmp_path):
    names = [step.name.partition(" ")[0] for step in steps(Smoke(out=str(tmp_path)))]
    wanted = ["starter", "simulate", "train-codec", "encode", "train-lm", "bundle", "infer", "evaluate"]
    assert list(dict.fromkeys(names)) == wanted


def test_a_step_that_fails_ends_it_with_what_it_said(tmp_path, monkeypatch):
    step = Step("encode", lambda: ["pipelines.encode", "--data", "/nowhere"])
    monkeypatch.setattr(smoke, "steps", lambda config: iter([step]))
    with pytest.raises(ShardsFailed, match=r"encode ended with 2(.|\n)*--codec is missing"):
        smoke.smoke(Smoke(out=str(tmp_path)))


def test_a_store_needs_a_local_folder_beside_it():
    with pytest.raises(ValueError, match="give --work"):
        Smoke(out="s3://bucket/x")
    with pytest.raises(ValueError, match="give a local folder"):
        Smoke(work="s3://bucket/x")
