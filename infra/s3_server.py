"""A real S3 server on this machine, for tests and for trying things out: Ceph RGW with one monitor and one OSD on loopback.

    python -m infra.s3_server install                      # Debian or Ubuntu packages, as root, once
    eval "$(python -m infra.s3_server start --root data/s3 --port 17480)"
    python -m infra.s3_server status|stop --root data/s3

Everything lies under the root, so several servers run beside each other with a root and a port each, and `start` after `stop`
finds the same data. The keys are the server's public test keys; it listens on 127.0.0.1 only and is no place for real data.
"""

import argparse
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

ACCESS_KEY, SECRET_KEY, REGION = "devkey", "devsecret12345", "us-east-1"
PACKAGES = ["radosgw", "ceph-mon", "ceph-osd", "ceph-common"]
PROGRAMS = ["radosgw", "radosgw-admin", "ceph", "ceph-mon", "ceph-osd", "ceph-authtool", "monmaptool"]
PORT = 17480
TOOL_TIMEOUT_S = 40.0  # of Ceph's programs, which take 3 s at most when nothing is wrong

CONF = """\
[global]
fsid = {fsid}
mon_initial_members = a
mon_host = v1:127.0.0.1:{mon_port}
public_network = 127.0.0.0/8
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
keyring = {root}/keyring
run_dir = {root}/run
log_file = {root}/log/$name.log
pid_file = {root}/run/$name.pid
admin_socket =
crash_dir = {root}/crash
ms_bind_msgr2 = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_data_avail_crit = 0
mon_data_avail_warn = 1
paxos_propose_interval = 0.02
paxos_min_wait = 0.01
[mon.a]
host = localhost
mon_data = {root}/mon.a
mon_addr = 127.0.0.1:{mon_port}
[osd.0]
host = localhost
osd_data = {root}/osd.0
osd_objectstore = bluestore
bluestore_block_size = {capacity_bytes}
bluestore_block_path =
osd_memory_target = 939524096
[client.rgw]
rgw_frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw_data = {root}/rgw
rgw_override_bucket_index_max_shards = 1
rgw_thread_pool_size = 32
debug_rgw = 0/5
"""


class ServerError(RuntimeError):
    """The server cannot be installed, started or stopped: says what failed and what to do."""


def missing() -> list[str]:
    """Programs of the server that are not on this machine."""
    return [program for program in PROGRAMS if not shutil.which(program)]


def install() -> None:
    """Install the packages with apt-get, if they are missing. ServerError if that cannot be done here."""
    if not missing():
        return
    if not shutil.which("apt-get"):
        raise ServerError(f"{', '.join(missing())}: not found, and no apt-get here; install Ceph RGW another way")
    if os.geteuid():
        raise ServerError("installing needs root: sudo " + " ".join([sys.executable, "-m", "infra.s3_server", "install"]))
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    _run("apt-get", "-qq", "update", env=environment, timeout=300)
    _run("apt-get", "-qq", "-y", "--no-install-recommends", "install", *PACKAGES, env=environment, timeout=900)
    if missing():
        raise ServerError(f"the packages are installed, and still no {', '.join(missing())}")


class Server:
    """One server under one folder. `port=0` takes a free one; the ports of a folder are kept from its first start on."""

    def __init__(self, root: str | Path, port: int = PORT, capacity_bytes: int = 10 * 2**30):
        self.root = Path(root).absolute()
        self.conf = self.root / "ceph.conf"
        self._port, self._capacity_bytes = port, capacity_bytes  # the block file is sparse: capacity costs nothing until used

    @property
    def port(self) -> int:
        """The port of the S3 endpoint; that of an existing folder wins."""
        if self.conf.exists():
            return int(self.conf.read_text().partition("endpoint=127.0.0.1:")[2].split()[0])
        return self._port

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """The AWS variables that lead every client here."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
        }

    def start(self) -> None:
        """Start what is not running and return when it answers; the first start makes the folder. ServerError otherwise."""
        if missing():
            raise ServerError(f"{', '.join(missing())}: not found; run python -m infra.s3_server install")
        if any(character in str(self.root) for character in " \t$#;\"'"):
            raise ServerError(f"{self.root}: Ceph cannot have a space or a quote in its paths; choose another --root")
        self.root.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if not self._pid("client.rgw") and _taken(self.port):
                hint = "stop that, or choose another --root" if self.conf.exists() else "give another --port"
                raise ServerError(f"port {self.port} is taken by another program; {hint}")
            if not (self.root / "complete").exists():
                self._create()
            self._start_daemon("mon.a", "ceph-mon", "-i", "a")
            self._start_daemon("osd.0", "ceph-osd", "-i", "0")
            self._wait("the OSD", lambda: " 1 up" in self._ceph("osd", "stat"), 60)
            self.start_gateway()
            if not (self.root / "complete").exists():
                keys = ["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]
                self._tool("radosgw-admin", "-n", "client.rgw", "user", "create", "--uid=dev", "--display-name=dev", *keys)
                (self.root / "complete").touch()

    def start_gateway(self) -> None:
        """Start the S3 front only, over a running monitor and OSD."""
        self._start_daemon("client.rgw", "radosgw", "-n", "client.rgw")
        self._wait("the gateway", self.answers, 90)

    def stop(self, wait_s: float = 30.0) -> None:
        """Stop all three, front first, and return when they are gone; whoever does not go in time is killed."""
        for name in ("client.rgw", "osd.0", "mon.a"):
            self.stop_daemon(name, wait_s)

    def stop_daemon(self, name: str, wait_s: float = 30.0) -> None:
        """Stop one of client.rgw, osd.0, mon.a."""
        pid = self._pid(name)  # kept: a daemon removes its pid file before it has ended
        for number in (signal.SIGTERM, signal.SIGKILL):
            if pid and self._is_ours(pid):
                with contextlib.suppress(ProcessLookupError, ServerError):
                    os.kill(pid, number)
                    self._wait(name, lambda: not self._is_ours(pid), wait_s)
        (self.root / "run" / f"{name}.pid").unlink(missing_ok=True)

    def status(self) -> dict[str, int | None]:
        """Process id of each part, None where it does not run."""
        return {name: self._pid(name) for name in ("mon.a", "osd.0", "client.rgw")}

    def answers(self) -> bool:
        """Whether the endpoint speaks HTTP."""
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(self.endpoint_url, timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def _create(self) -> None:
        """The configuration and empty stores of a new cluster; what an interrupted first start left is removed."""
        self.stop()
        for part in ("mon.a", "osd.0", "rgw", "run", "log", "crash"):
            shutil.rmtree(self.root / part, ignore_errors=True)
            (self.root / part).mkdir()
        fsid = str(uuid.uuid4())
        port, mon_port = self._port or _free_port(), _free_port()
        values = {"root": self.root, "fsid": fsid, "port": port, "mon_port": mon_port, "capacity_bytes": self._capacity_bytes}
        self.conf.write_text(CONF.format_map(values))
        keyring, monmap = self.root / "keyring", self.root / "monmap"
        keyring.unlink(missing_ok=True)
        everything = ["--cap", "mon", "allow *", "--cap", "osd", "allow *"]
        self._tool("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        for name in ("client.admin", "osd.0", "client.rgw"):
            self._tool("ceph-authtool", keyring, "--gen-key", "-n", name, *everything)
        address = f"[v1:127.0.0.1:{mon_port}]"
        self._tool("monmaptool", "--create", "--addv", "a", address, "--fsid", fsid, "--clobber", monmap)
        self._tool("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
        self._start_daemon("mon.a", "ceph-mon", "-i", "a")
        osd = str(uuid.uuid4())
        self._wait("the monitor", lambda: bool(self._ceph("osd", "new", osd)), 30)  # refuses until it leads itself
        self._tool("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._tool("ceph", "osd", "crush", "add", "0", "1", "host=localhost", "root=default")

    def _start_daemon(self, name: str, *command: str) -> None:
        if not self._pid(name):
            self._tool(*command)
            self._wait(name, lambda: self._pid(name) is not None, 20)

    def _pid(self, name: str) -> int | None:
        """The running process of this server's part, None if there is none."""
        try:
            pid = int((self.root / "run" / f"{name}.pid").read_text())
        except (OSError, ValueError):
            return None
        return pid if self._is_ours(pid) else None

    def _is_ours(self, pid: int) -> bool:
        """Whether the process runs, and is of this server: the system may have given the number to another program."""
        try:
            return str(self.conf).encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False

    def _tool(self, program: str, *arguments: object, tries: int = 5) -> str:
        """Run one of Ceph's programs. In 16.2 one call in fifty is refused ("wrong fsid"): try again."""
        environment = os.environ | {"CEPH_CONF": str(self.conf)}
        try:
            return _run(program, "-c", str(self.conf), *map(str, arguments), env=environment, timeout=TOOL_TIMEOUT_S)
        except ServerError:
            if tries == 1:
                raise
        time.sleep(0.3)
        return self._tool(program, *arguments, tries=tries - 1)

    def _ceph(self, *arguments: str) -> str:
        with contextlib.suppress(ServerError):
            return self._tool("ceph", "--connect-timeout", "5", *arguments, tries=1)
        return ""

    def _wait(self, what: str, condition: Callable[[], bool], limit_s: float) -> None:
        end = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > end:
                raise ServerError(f"{what} is not there after {limit_s:g} s; see {self.root / 'log'}")
            time.sleep(0.1)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with open(self.root / "lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _run(*command: str, env: dict[str, str], timeout: float) -> str:
    """Standard output of a command. ServerError with the last lines it wrote if it fails."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise ServerError(f"{command[0]}: not done after {timeout:g} s") from error
    if done.returncode:
        raise ServerError(f"{' '.join(command[:6])}: {(done.stderr or done.stdout)[-600:].strip()}")
    return done.stdout


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _taken(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def make_bucket(server: Server, bucket: str) -> None:
    """Create the bucket unless it is there."""
    import s3fs

    keys = {"key": ACCESS_KEY, "secret": SECRET_KEY, "client_kwargs": {"region_name": REGION}}
    fs = s3fs.S3FileSystem(endpoint_url=server.endpoint_url, use_listings_cache=False, **keys)
    with contextlib.suppress(FileExistsError):
        fs.call_s3("create_bucket", Bucket=bucket)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.s3_server", description=__doc__.partition("\n")[0])
    parser.add_argument("action", choices=["install", "start", "stop", "status"])
    parser.add_argument("--root", default="data/s3", help="folder of the server's data (default: %(default)s)")
    parser.add_argument("--port", type=int, default=PORT, help="port on 127.0.0.1; 0 takes a free one (default: %(default)s)")
    parser.add_argument("--bucket", default="quarkline", help="bucket that start makes (default: %(default)s)")
    options = parser.parse_args(arguments)
    server = Server(options.root, options.port)
    try:
        return _act(options.action, server, options.bucket)
    except (ServerError, OSError) as error:
        print(f"s3_server: {error}", file=sys.stderr)
        return 1


def _act(action: str, server: Server, bucket: str) -> int:
    if action == "install":
        install()
    elif action == "start":
        server.start()
        make_bucket(server, bucket)
        for name, value in server.environment().items():
            print(f"export {name}={value}")
        print(f"# the server answers at {server.endpoint_url}; write to OUT=s3://{bucket}/...")
    elif action == "stop":
        server.stop()
    else:
        for name, pid in server.status().items():
            print(f"{name:<12}{f'process {pid}' if pid else 'stopped'}")
        print(f"{server.endpoint_url} {'answers' if server.answers() else 'does not answer'}")
        return 0 if server.answers() else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
