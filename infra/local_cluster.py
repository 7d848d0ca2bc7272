"""A Ray cluster of several nodes on this machine, with its dashboard and token authentication: `make cluster-local NODES=3`.

    eval "$(python -m infra.local_cluster start --nodes 3)"    # RAY_ADDRESS, and where the token is
    make simulate TASK=sr OUT=/absolute/folder                 # every pipeline, by the same command
    python -m infra.local_cluster stop

A head without CPUs and workers, each a process of its own on loopback, with its own ports and its own temporary folder, so
that other Rays of this machine are neither found nor stopped. Under the root: `token` (the owner's only), `nodes.json`, `log/`.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

START_S, STOP_S = 600.0, 5.0
STORE_BYTES = 256 * 2**20  # of each node's object store; only totals and manifests travel through it
REPORT_INTERVAL_MS = 2000  # of metrics; Ray's 10 s are for real clusters


class ClusterError(OSError):
    """The cluster cannot be started or stopped: says what failed and what to do."""


class LocalCluster:
    """The cluster whose state lies under one folder; there may be several, a folder each."""

    def __init__(self, root: str | Path):
        self.root = Path(root).absolute()
        self.token_path = self.root / "token"
        digest = hashlib.sha256(str(self.root).encode()).hexdigest()[:8]
        # Ray's sockets lie in it, and a socket's path has 107 bytes at most.
        self.folder = Path(tempfile.gettempdir(), f"ql-ray-{os.getuid()}-{digest}")

    def start(self, nodes: int) -> None:
        """Start a head and `nodes` workers and return when all are there. ClusterError if they do not come, or run already."""
        if nodes < 1:
            raise ValueError(f"--nodes is {nodes}: give 1 or more")
        self.root.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if self.pids():
                raise ClusterError(f"{self.root}: a cluster runs already; stop it first (make cluster-local-stop)")
            self._forget()
            self._write_token()
            (self.root / "log").mkdir(exist_ok=True)
            port, dashboard, *others = free_ports(2 + 2 * (nodes + 1) + 1)
            state = {"address": f"127.0.0.1:{port}", "dashboard": f"http://127.0.0.1:{dashboard}", "pids": []}
            try:
                head = ["--head", f"--port={port}", f"--temp-dir={self.folder}", "--dashboard-host=127.0.0.1", "--num-cpus=0"]
                head += [
                    f"--dashboard-port={dashboard}",
                    "--include-dashboard=true",
                    f"--ray-client-server-port={others.pop()}",
                ]
                running = [self._spawn("head", head, others, state)]
                self._wait(1, running)
                share = max(1, (os.cpu_count() or 1) // nodes)
                for number in range(nodes):
                    worker = [f"--address={state['address']}", f"--num-cpus={share}"]
                    running.append(self._spawn(f"worker-{number}", worker, others, state))
                    self._wait(number + 2, running)  # one after the other: started at once on two cores, some gave up
            except BaseException:
                self._stop()
                raise

    def stop(self) -> None:
        """Stop what `start` has started, and nothing else; return when it is gone."""
        if self.root.is_dir():
            with self._locked():
                self._stop()

    def environment(self) -> dict[str, str]:
        """What a command needs to run there. ClusterError if there is no cluster."""
        return {
            "RAY_ADDRESS": self._state()["address"],
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_path),
        }

    def dashboard(self) -> str:
        return self._state()["dashboard"]

    def pids(self) -> list[int]:
        """Processes of the nodes that run, the head's first."""
        with contextlib.suppress(ClusterError):
            return [pid for pid in self._state()["pids"] if self._is_ours(pid)]
        return []

    def num_nodes(self) -> int:
        """Nodes that the head says are alive; 0 while it does not answer."""
        request = urllib.request.Request(f"{self.dashboard()}/nodes?view=summary")
        request.add_header("Authorization", f"Bearer {self.token_path.read_text()}")
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as answer:
                summary = json.load(answer)["data"]["summary"]
        except (OSError, ValueError, KeyError):
            return 0
        return sum(node.get("raylet", {}).get("state") == "ALIVE" for node in summary)

    def _spawn(self, name: str, words: list[str], ports: list[int], state: dict) -> subprocess.Popen:
        """One node as a process in a session of its own; it is written down before the next one starts."""
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *words]
        command += ["--node-ip-address=127.0.0.1", f"--object-store-memory={STORE_BYTES}"]
        command += ["--min-worker-port=0", "--max-worker-port=0"]  # any free ones: nodes would take each other's
        command += [f"--dashboard-agent-listen-port={ports.pop()}", f"--metrics-export-port={ports.pop()}"]
        settings = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token_path)}
        settings |= {"RAY_metrics_report_interval_ms": str(REPORT_INTERVAL_MS), "RAY_CLUSTER_OF": str(self.root)}
        kept = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "RAY_AUTH_TOKEN")}
        kept["PATH"] = f"{Path(sys.executable).parent}:{kept.get('PATH', '')}"
        with open(self.root / "log" / f"{name}.log", "w") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=kept | settings, start_new_session=True
            )
        state["pids"].append(process.pid)
        temporary = self.root / "nodes.json.new"
        temporary.write_text(json.dumps(state, indent=2) + "\n")
        temporary.replace(self.root / "nodes.json")
        return process

    def _wait(self, nodes: int, running: list[subprocess.Popen]) -> None:
        end = time.monotonic() + START_S
        while self.num_nodes() < nodes:
            # of a process that has just begun, /proc may not yet know whose it is: the handle does
            gone = [process.returncode for process in running if process.poll() is not None]
            if gone or time.monotonic() > end:
                why = f"a node ended with code {gone[0]}" if gone else f"not all nodes have come in {START_S:g} s"
                logs = "\n".join(_last_lines(path) for path in sorted((self.root / "log").glob("*.log")))
                raise ClusterError(f"{self.root}: {why}; see {self.root / 'log'}\n{logs}")
            time.sleep(0.5)

    def _stop(self) -> None:
        """The workers, then the head. What does not end on SIGTERM in time is killed: nothing here is to be saved."""
        pids = self.pids()
        for some in (pids[1:], pids[:1]):
            for pid in some:
                _signal(pid, signal.SIGTERM)
            end = time.monotonic() + STOP_S
            while any(map(self._is_ours, some)) and time.monotonic() < end:
                time.sleep(0.1)
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            if pid != os.getpid() and self._is_ours(pid):
                _signal(pid, signal.SIGKILL)
        self._forget()

    def _forget(self) -> None:
        (self.root / "nodes.json").unlink(missing_ok=True)
        self.token_path.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write_token(self) -> None:
        handle = os.open(self.token_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32))

    def _state(self) -> dict:
        try:
            return json.loads((self.root / "nodes.json").read_text())
        except FileNotFoundError:
            raise ClusterError(f"{self.root}: no cluster runs here; make cluster-local starts one") from None

    def _is_ours(self, pid: int) -> bool:
        """Whether the process runs, and is of this cluster: the system may have given the number to another program."""
        return f"RAY_CLUSTER_OF={self.root}" in _environment_of(pid)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with open(self.root / "lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, all different."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _environment_of(pid: int) -> list[str]:
    """As the process was started; empty for a process that is gone, a zombie or another user's."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _last_lines(path: Path, count: int = 5) -> str:
    return f"{path.name}: " + " | ".join(path.read_text(errors="replace").strip().splitlines()[-count:])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.local_cluster", description=__doc__.partition("\n")[0])
    parser.add_argument("action", choices=["start", "stop"])
    parser.add_argument("--root", default="data/cluster", help="folder of token, state and logs (default: %(default)s)")
    parser.add_argument("--nodes", type=int, default=3, help="workers beside the head (default: %(default)s)")
    options = parser.parse_args(arguments)
    cluster = LocalCluster(options.root)
    try:
        if options.action == "stop":
            cluster.stop()
            return 0
        cluster.start(options.nodes)
    except (OSError, ValueError) as error:
        print(f"local_cluster: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 5
    for name, value in cluster.environment().items():
        print(f"export {name}={shlex.quote(value)}")
    print(f"# {options.nodes} workers and a head; dashboard {cluster.dashboard()}, its token: cat {cluster.token_path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
