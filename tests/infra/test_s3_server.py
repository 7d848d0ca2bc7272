"""The local S3 server: starts beside others, stops, and finds its data again."""

import multiprocessing
import os
import signal
import socket
from pathlib import Path

import pytest

from infra import s3_server
from infra.s3_server import Server, ServerError
from infra.storage import open_store


@pytest.fixture
def no_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def processes_of(server: Server) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if str(server.root).encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            pass
    return found


@pytest.mark.s3
def test_a_second_server_starts_stops_and_keeps_its_data(s3_server_at, tmp_path, monkeypatch, capsys):
    root, server = tmp_path / "second", Server(tmp_path / "second")
    command = ["--root", str(root), "--port", "0", "--bucket", "bucket"]
    try:
        assert s3_server.main(["start", *command]) == 0
        shown = capsys.readouterr().out
        assert server.port != s3_server_at.port and f"export AWS_ENDPOINT_URL=http://127.0.0.1:{server.port}\n" in shown
        for line in shown.splitlines():
            if line.startswith("export "):
                monkeypatch.setenv(*line.removeprefix("export ").split("="))
        store = open_store("s3://bucket/a")
        store.put("b", b"1")
        before = server.status()
        assert s3_server.main(["start", *command]) == 0 and server.status() == before and None not in before.values()
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)  # as when the machine goes down
        server._wait("end", lambda: not server.answers(), 10)
        assert s3_server.main(["start", *command]) == 0 and store.get("b") == b"1"
        assert s3_server.main(["status", *command]) == 0
        assert s3_server.main(["stop", *command]) == 0
        assert processes_of(server) == [] and not server.answers()
        assert s3_server.main(["status", *command]) == 1 and "stopped" in capsys.readouterr().out
        assert s3_server_at.answers()
    finally:
        server.stop()


@pytest.mark.s3
def test_a_taken_port_is_named(s3_server_at, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        server = Server(tmp_path / "s3", other.getsockname()[1])
        try:
            with pytest.raises(ServerError, match=rf"port {server.port} is taken .* --port"):
                server.start()
        finally:
            server.stop()
    assert processes_of(server) == []


def test_a_process_that_is_not_the_servers_is_left_alone(tmp_path):
    server = Server(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/mon.a.pid").write_text(str(os.getpid()))
    (tmp_path / "run/osd.0.pid").write_text("")
    assert set(server.status().values()) == {None}
    server.stop()


def test_missing_programs_are_named(no_programs, tmp_path, capsys):
    with pytest.raises(ServerError, match=r"radosgw, .*monmaptool: not found; run python -m infra.s3_server install"):
        Server(tmp_path / "s3").start()
    assert s3_server.main(["install"]) == 1
    assert "no apt-get here" in capsys.readouterr().err and not (tmp_path / "s3").exists()


def _install_as_nobody(told) -> None:
    os.setuid(65534)
    try:
        s3_server.install()
    except ServerError as error:
        told.put(str(error))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_installing_without_root_says_how(no_programs):
    (no_programs / "apt-get").symlink_to("/bin/true")
    for folder in (no_programs, *no_programs.parents):
        if folder != Path("/") and folder.stat().st_uid == 0:
            folder.chmod(folder.stat().st_mode | 0o111)
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()
    child = context.Process(target=_install_as_nobody, args=(told,))
    child.start()
    child.join(30)
    assert not told.empty() and "installing needs root: sudo" in told.get()


@pytest.mark.s3
def test_a_folder_with_a_space_is_refused(s3_server_at, tmp_path):
    with pytest.raises(ServerError, match="space"):
        Server(tmp_path / "my server").start()
