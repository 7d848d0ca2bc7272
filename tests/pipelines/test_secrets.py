"""The secret key of S3 is nowhere in what a run leaves: outputs, datasets, checkpoints, Ray's logs, its dashboard."""

import json
import os
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster
from ray.job_submission import JobSubmissionClient

from infra.storage import open_store
from tests.pipelines.conftest import ROOT, command, finished
from tests.pipelines.test_simulate_cluster import AUTHENTICATION, free_port, wait_for_job_agent
from tests.training.toy_trainee import Toy

SMALL = ("--count", 8, "--examples-per-shard", 4, "--task.duration-s", 1.0, "--rerender", 0)
LIMIT_S = 600  # of a machine that is busy with other tests
pytestmark = [pytest.mark.cluster, pytest.mark.s3, pytest.mark.slow]
SHOWN = ("/api/jobs/", "/api/v0/tasks?detail=1", "/api/v0/actors?detail=1", "/api/v0/workers?detail=1", "/nodes?view=summary")


@pytest.fixture(scope="module")
def node(s3):
    """A head with two CPUs, started with the keys in its environment, as a pod with a mounted secret is."""
    # Ray's sockets lie below RAY_TMPDIR, and the path of a socket has at most 107 bytes: pytest's own folders are too deep.
    with tempfile.TemporaryDirectory(prefix="ray-") as folder, pytest.MonkeyPatch.context() as patch:
        for name, value in (AUTHENTICATION | {"RAY_TMPDIR": folder}).items():
            patch.setenv(name, value)
        head = {"num_cpus": 2, "include_dashboard": True, "dashboard_port": free_port()}
        cluster = Cluster(initialize_head=True, head_node_args=head | {"dashboard_agent_listen_port": free_port()})
        cluster.dashboard = f"http://127.0.0.1:{head['dashboard_port']}"
        wait_for_job_agent(cluster.dashboard)
        yield cluster
        cluster.shutdown()


def shown(dashboard: str) -> dict[str, bytes]:
    """What the dashboard's pages are filled with."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return {page: opener.open(dashboard + page, timeout=30).read() for page in SHOWN}


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}


def test_the_secret_key_is_in_nothing_that_a_run_leaves(node, corpus, s3, tmp_path):
    secret = os.environ["AWS_SECRET_ACCESS_KEY"].encode()
    on_cluster = AUTHENTICATION | {"RAY_ADDRESS": node.address}
    code, simulated = finished(
        command("pipelines.simulate", "sr", "--corpus", corpus, "--out", f"{s3}/secret", *SMALL, environment=on_cluster),
        LIMIT_S,
    )
    assert code == 0, simulated
    toy = Toy(out=str(tmp_path / "toy"), checkpoints=f"{s3}/secret-toy", workers=2, steps=4)
    given = json.dumps({"out": toy.out, "checkpoints": toy.checkpoints, "workers": toy.workers, "steps": toy.steps})
    code, trained = finished(command("tests.training.toy_trainee", given, environment=on_cluster), LIMIT_S)
    assert code == 0, trained
    client = JobSubmissionClient(node.dashboard)
    job = client.submit_job(
        entrypoint=f"cd {ROOT} && .venv/bin/python -m pipelines.verify --out {s3}/secret --rerender 0",
        submission_id=uuid.uuid4().hex,
    )
    for status in iter(lambda: client.get_job_status(job), None):
        if status.is_terminal():
            break
        time.sleep(0.5)
    store = open_store(s3)
    left = {name: store.get(name) for name in store.list("secret")}
    assert any(name.endswith("dataset.json") for name in left) and any(name.endswith("manifest.json") for name in left)
    left |= files_below(tmp_path) | files_below(Path(os.environ["RAY_TMPDIR"])) | shown(node.dashboard)
    left |= {"simulate": simulated.encode(), "toy": trained.encode(), "job": client.get_job_logs(job).encode()}
    assert any("raylet" in name for name in left) and job.encode() in left["/api/jobs/"]
    assert [name for name, data in left.items() if secret in data] == []


def test_a_wrong_key_is_refused_without_showing_it(corpus, s3):
    wrong = {"AWS_SECRET_ACCESS_KEY": "Marker0fASecret"}
    code, output = finished(
        command("pipelines.simulate", "sr", "--corpus", corpus, "--out", f"{s3}/wrong", *SMALL, environment=wrong)
    )
    assert code == 5 and "s3://" in output, output
    assert "Marker0fASecret" not in output and "Traceback" not in output
