"""The same command on a cluster of several nodes: connected to, losing a node, and as a submitted job."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster
from ray.job_submission import JobSubmissionClient

from infra.storage import FolderStore
from tests.pipelines.conftest import ROOT, command, contents, finished
from tests.pipelines.test_simulate import SMALL, dataset_in, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
AUTHENTICATION = {"RAY_AUTH_MODE": "disabled"}  # a cluster of this machine, on loopback


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for_job_agent(dashboard: str, timeout_s: float = 90) -> None:
    """The head takes jobs some seconds after it has started."""
    client = JobSubmissionClient(dashboard)
    end = time.monotonic() + timeout_s
    while True:
        try:
            client.submit_job(entrypoint="true")
            return
        except RuntimeError:
            if time.monotonic() > end:
                raise
            time.sleep(1)


@pytest.fixture(scope="module")
def nodes():
    """A head without CPUs and three nodes with one each."""
    patch = pytest.MonkeyPatch()
    for name, value in (AUTHENTICATION | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}).items():
        patch.setenv(name, value)
    head = {"num_cpus": 0, "include_dashboard": True, "dashboard_port": free_port()}
    head["dashboard_agent_listen_port"] = free_port()  # the default belongs to whichever Ray of this machine came first
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.workers = [cluster.add_node(num_cpus=1, dashboard_agent_listen_port=free_port()) for _ in range(3)]
    cluster.dashboard = f"http://127.0.0.1:{head['dashboard_port']}"
    wait_for_job_agent(cluster.dashboard)
    yield cluster
    cluster.shutdown()
    patch.undo()


@pytest.fixture(scope="module")
def alone(corpus, tmp_path_factory):
    """What one process on this machine makes of the same command."""
    out = tmp_path_factory.mktemp("alone")
    code, output = finished(command("pipelines.simulate", "sr", "--corpus", corpus, "--out", out, *SMALL, "--workers", 2))
    assert code == 0, output
    return contents(dataset_in(out))


def test_a_lost_node_loses_nothing(nodes, alone, corpus, tmp_path):
    arguments = ("sr", "--corpus", corpus, "--out", tmp_path, *SMALL)
    process = command("pipelines.simulate", *arguments, environment=AUTHENTICATION | {"RAY_ADDRESS": nodes.address})
    wait_for(lambda: list(tmp_path.glob("*/rows/*.json")), process)
    nodes.remove_node(nodes.workers.pop(), allow_graceful=False)
    code, output = finished(process)
    assert code == 0, output
    assert contents(dataset_in(tmp_path)) == alone
    hidden = [path.name for path in dataset_in(tmp_path).rglob(".*")]  # of a writer on the lost node, in mid put
    assert all(name.startswith(FolderStore.TEMPORARY) for name in hidden)  # which is swept when it is old


def test_a_submitted_job_makes_the_same_data(nodes, alone, corpus, tmp_path):
    variables = ["TASK=sr", f"CORPUS={corpus}", f"OUT={tmp_path}", f"ARGS={' '.join(map(str, SMALL))}"]
    process = subprocess.Popen(
        ["make", "--no-print-directory", "simulate", *variables],
        cwd=ROOT,
        env=os.environ | AUTHENTICATION | {"RAY_ADDRESS": nodes.dashboard},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    code, output = finished(process)
    assert code == 0, output
    assert "succeeded" in output
    described = {name: sha256 for name, sha256 in contents(dataset_in(tmp_path)).items() if name != "dataset.json"}
    assert described == {name: sha256 for name, sha256 in alone.items() if name != "dataset.json"}  # no git, so no commit in it


def test_a_cluster_that_is_not_there_is_named(corpus, tmp_path):
    started = time.monotonic()
    environment = AUTHENTICATION | {"RAY_ADDRESS": f"127.0.0.1:{free_port()}", "RAY_gcs_rpc_server_connect_timeout_s": "2"}
    arguments = ("sr", "--corpus", corpus, "--out", tmp_path, *SMALL)
    code, output = finished(command("pipelines.simulate", *arguments, environment=environment))
    assert code == 5, output
    assert environment["RAY_ADDRESS"] in output
    assert time.monotonic() - started < 120
