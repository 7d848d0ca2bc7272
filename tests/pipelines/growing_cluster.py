"""Ray's own autoscaler on this machine: a head without CPUs, and nodes that are started as tasks and actors wait for them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ray._private.services import get_node_ip_address
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID, FAKE_HEAD_NODE_TYPE

from infra.local_cluster import free_ports

NODES = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"  # processes on this machine
STORE_BYTES = 100_000_000


def description(address: str, node: dict[str, float], most: int) -> dict:
    """What the autoscaler reads: none to `most` nodes, each with these resources."""
    resources = node | {"object_store_memory": STORE_BYTES}
    head = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
    worker = {"resources": resources, "node_config": {}, "min_workers": 0, "max_workers": most}
    provider = {"type": "external", "module": NODES, "head_node_id": FAKE_HEAD_NODE_ID, "gcs_address": address}
    return {
        "cluster_name": "growing",
        "max_workers": most,
        "idle_timeout_minutes": 10.0,
        "provider": provider | {"launch_multiple": True},
        "available_node_types": {FAKE_HEAD_NODE_TYPE: head, "worker": worker},
        "head_node_type": FAKE_HEAD_NODE_TYPE,
        **{key: {} for key in ("auth", "docker", "file_mounts")},
        **{key: [] for key in (f"{when}setup_commands" for when in ("", "head_", "worker_"))},
        **{key: [] for key in ("initialization_commands", "head_start_ray_commands", "worker_start_ray_commands")},
        **{key: [] for key in ("cluster_synced_files", "rsync_exclude", "rsync_filter")},
    }


@contextlib.contextmanager
def growing(node: dict[str, float], most: int) -> Iterator[str]:
    """The address of a cluster that begins with no node but its head, with authentication off; all of it is ended."""
    ip = get_node_ip_address()
    port, client, dashboard, agent = free_ports(4)
    with tempfile.TemporaryDirectory(prefix="ql-", ignore_cleanup_errors=True) as folder:
        config = Path(folder, "cluster.yaml")
        config.write_text(json.dumps(description(f"{ip}:{port}", node, most)))
        words = ["--head", "--block", "--disable-usage-stats", "--num-cpus=0", "--num-gpus=0"]
        words += [f"--port={port}", f"--node-ip-address={ip}", f"--temp-dir={folder}/ray", f"--autoscaling-config={config}"]
        words += [f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"]
        words += [f"--ray-client-server-port={client}", f"--object-store-memory={STORE_BYTES}"]
        words += ["--min-worker-port=0", "--max-worker-port=0"]
        settings = {"RAY_AUTH_MODE": "disabled", "RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
        settings |= {"RAY_enable_autoscaler_v2": "1", "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID}
        settings |= {"RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID, "RAY_CLUSTER_OF": folder}
        settings |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        kept = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        with open(f"{folder}/log", "w") as log:
            command = [sys.executable, "-m", "ray.scripts.scripts", "start", *words]
            head = subprocess.Popen(command, env=kept | settings, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait(head, f"{ip}:{port}", Path(folder, "log"))
            yield f"{ip}:{port}"
        finally:
            _end(f"RAY_CLUSTER_OF={folder}")
            head.wait()


def _wait(head: subprocess.Popen, address: str, log: Path, timeout_s: float = 90) -> None:
    end = time.monotonic() + timeout_s
    while "Ray runtime started" not in log.read_text():
        assert head.poll() is None and time.monotonic() < end, log.read_text()[-2000:]
        time.sleep(0.2)


def _end(mark: str) -> None:
    """Kill all processes with this in their environment: head, nodes and their workers."""
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(OSError):
            if pid != os.getpid() and mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                os.kill(pid, signal.SIGKILL)


def num_nodes(address: str) -> int:
    """Nodes with CPUs that there are now."""
    code = f"import ray; ray.init({address!r}, logging_level='ERROR'); print(ray.cluster_resources().get('CPU', 0))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(float(said.stdout.split()[-1]))
