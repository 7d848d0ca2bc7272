"""On a cluster that grows from zero, by Ray's own autoscaler: commands set it going, and all nodes that come get work."""

import time

import pytest
import ray

from infra import cluster
from infra.actors import Crew, Resources
from tests.pipelines.conftest import command, finished
from tests.pipelines.growing_cluster import growing, num_nodes

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture
def nodes(monkeypatch):
    """Up to two nodes of a CPU and what Ray takes for a GPU."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with growing({"CPU": 1, "GPU": 1}, most=2) as address:
        monkeypatch.setenv("RAY_ADDRESS", address)
        yield address
        ray.shutdown()


@ray.remote(num_cpus=1, num_gpus=1)
class Worker:
    def node(self, number: int) -> str:
        time.sleep(0.5)
        return ray.get_runtime_context().get_node_id()


def test_actors_wait_for_nodes_with_gpus_and_all_of_them_work(nodes):
    cluster.start()
    assert "GPU" not in ray.cluster_resources()
    with pytest.raises(ValueError, match="say with --max-workers how far this cluster may grow"):
        Resources(gpus_per_worker=1.0).count(40)
    with Crew(Worker.remote, Resources(gpus_per_worker=1.0, max_workers=3).count(40)) as crew:
        found = [node for _, node in crew.work("node", range(40))]
    assert len(found) == 40 and len(set(found)) == 2  # the third never has room, and no item waits for it


def test_encode_makes_a_cluster_grow_as_far_as_it_is_told(nodes, dataset, codec_folder, tmp_path):
    words = ("--data", dataset.url, "--codec", codec_folder, "--out", tmp_path / "tokens", "--max-workers", 2)
    code, output = finished(command("pipelines.encode", *words))
    assert code == 0, output
    assert "8 examples" in output and num_nodes(nodes) == 2
