"""A real cluster of this machine: started and stopped by the command, a pipeline on it, and what Prometheus would see."""

import json
import os
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from infra.local_cluster import ClusterError, LocalCluster, free_ports
from infra.metrics import METRICS
from tests.infra.deploy.expressions import RAY, series_of
from tests.pipelines.conftest import ROOT, command, finished, write_corpus
from tests.pipelines.test_simulate import SMALL, dataset_in

SAY_ALL = """
import time, ray
from infra import cluster, metrics
cluster.start()
for name, metric in metrics.METRICS.items():
    say = {"counter": metrics.count, "gauge": metrics.put, "histogram": metrics.observe}[metric.kind]
    say(name, 1.5, **dict.fromkeys(metric.tags, "x"))
time.sleep(6)
"""


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A head and two workers, started by the command; its environment is what the command prints."""
    root = tmp_path_factory.mktemp("cluster")
    words = [sys.executable, "-m", "infra.local_cluster", "start", "--nodes", "2", "--root", str(root)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=environment)
    cluster = LocalCluster(root)
    try:
        assert done.returncode == 0, done.stderr
        cluster.printed = dict(
            line.removeprefix("export ").split("=", 1) for line in done.stdout.splitlines() if line[0] == "e"
        )
        yield cluster
    finally:
        cluster.stop()


def scraped(cluster: LocalCluster) -> set[str]:
    """Names of all series that the nodes show to whoever asks, as Prometheus would."""
    names = set()
    for port in metrics_ports(cluster):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
            lines = answer.read().decode().splitlines()
        names |= {line.split("{")[0].split(" ")[0] for line in lines if line and not line.startswith("#")}
    return names


def metrics_ports(cluster: LocalCluster) -> list[str]:
    words = [word for pid in cluster.pids() for word in Path(f"/proc/{pid}/cmdline").read_text().split("\0")]
    return [word.partition("=")[2] for word in words if word.startswith("--metrics-export-port=")]


def seen(cluster: LocalCluster, wanted: set[str], limit_s: float = 60.0) -> set[str]:
    """Those of the wanted series that have come within the limit."""
    end, found = time.monotonic() + limit_s, set()
    while not wanted <= found and time.monotonic() < end:
        found |= scraped(cluster)
        time.sleep(1)
    return found & wanted


@pytest.mark.cluster
@pytest.mark.slow
def test_a_pipeline_runs_on_it_and_its_metrics_are_there(local, tmp_path):
    assert local.printed == local.environment()
    assert local.num_nodes() == 3
    corpus = write_corpus(tmp_path / "corpus")
    process = command(
        "pipelines.simulate", "sr", "--corpus", corpus, "--out", tmp_path / "out", *SMALL, environment=local.printed
    )
    wanted = {f"ray_quarkline_{name}_total" for name in ("examples", "shards", "audio_seconds")} | RAY
    assert seen(local, wanted, limit_s=120) == wanted
    code, output = finished(process)
    assert code == 0, output
    assert json.loads((dataset_in(tmp_path / "out") / "dataset.json").read_text())["totals"]["examples"] == 24


@pytest.mark.cluster
@pytest.mark.slow
def test_every_metric_has_the_name_that_dashboards_and_alerts_use(local):
    done = subprocess.run(
        [sys.executable, "-c", SAY_ALL], cwd=ROOT, env=os.environ | local.printed, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    wanted = {series for name, metric in METRICS.items() for series in series_of(name, metric.kind)}
    assert seen(local, wanted) == wanted


@pytest.mark.cluster
@pytest.mark.slow
def test_without_the_token_nobody_gets_in_and_the_token_is_the_owner_s(local, tmp_path):
    assert stat.S_IMODE(local.token_path.stat().st_mode) == 0o600
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(f"{local.dashboard()}/nodes?view=summary", timeout=20)
    assert error.value.code == 401
    token = local.token_path.read_text()
    (tmp_path / "wrong").write_text("0" * 64)
    script = "import ray; ray.init()"
    wrong = os.environ | local.printed | {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "wrong")}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=wrong, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert token not in done.stdout + done.stderr
    for path in (local.root / "log").iterdir():
        assert token not in path.read_text()
    for pid in local.pids():
        assert token not in Path(f"/proc/{pid}/cmdline").read_text()


@pytest.mark.cluster
@pytest.mark.slow
def test_a_second_start_is_refused_and_a_worker_that_leaves_is_gone_when_its_work_is(local):
    with pytest.raises(ClusterError, match="runs already"):
        local.start(1)
    node = worker_of(local)
    drain = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--node-id", node]
    drain += [
        "--reason",
        "DRAIN_NODE_REASON_PREEMPTION",
        "--reason-message",
        "taken away",
        "--deadline-remaining-seconds",
        "90",
    ]
    done = subprocess.run(drain, cwd=ROOT, env=os.environ | local.printed, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    end = time.monotonic() + 60
    while local.num_nodes() > 2 and time.monotonic() < end:
        time.sleep(0.5)
    assert local.num_nodes() == 2


def worker_of(cluster: LocalCluster) -> str:
    """The id of a node that is not the head."""
    request = urllib.request.Request(f"{cluster.dashboard()}/nodes?view=summary")
    request.add_header("Authorization", f"Bearer {cluster.token_path.read_text()}")
    with urllib.request.urlopen(request, timeout=20) as answer:
        nodes = [node["raylet"] for node in json.load(answer)["data"]["summary"]]
    return next(node["nodeId"] for node in nodes if not node["isHeadNode"])


@pytest.mark.cluster
@pytest.mark.slow
def test_stopping_leaves_nothing(local):
    folder = local.folder
    assert folder.is_dir()
    local.stop()
    assert not folder.exists() and not local.token_path.exists()
    assert local.pids() == []
    left = [path for path in Path("/proc").glob("[0-9]*/environ") if f"RAY_CLUSTER_OF={local.root}" in readable(path)]
    assert left == []
    with pytest.raises(ClusterError, match="no cluster runs here"):
        local.environment()


def readable(path: Path) -> list[str]:
    try:
        return path.read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def test_free_ports_are_all_different():
    assert len(set(free_ports(20))) == 20


def test_what_is_asked_for_must_make_sense_and_what_is_not_there_can_be_stopped(tmp_path):
    with pytest.raises(ValueError, match="--nodes is 0"):
        LocalCluster(tmp_path / "a").start(0)
    LocalCluster(tmp_path / "b").stop()
    with pytest.raises(ClusterError, match="no cluster runs here"):
        LocalCluster(tmp_path / "b").environment()
