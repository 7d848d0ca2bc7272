"""Every scenario: one piece of work, one kind of fault, and what came of it. All of it real: processes, nodes, server, disk."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch

from infra.storage import FolderStore
from tests.chaos.arena import Arena, Outcome, disturbed, judged, num_rows, small_disk, wait_until, well
from tests.infra.faulty_proxy import FaultyProxy
from tests.training.test_checkpoints import groups, origin, saved
from tests.training.test_loop import curve, toy, weights
from training.checkpoints import Checkpoints

TOY = {"steps": 12, "checkpoint_steps": 4, "workers": 2}


def kill_process_named(name: str, below: int | None = None) -> None:
    """SIGKILL one process of ours whose title has the name: below the given process, or else on the cluster of this one."""
    found: list[psutil.Process] = []

    def seek() -> bool:
        for process in psutil.Process(below or os.getpid()).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if name in " ".join(process.cmdline()):
                    found.append(process)
        return bool(found)

    wait_until(seek, limit_s=120)
    found[0].kill()


def simulate_loses_a_node(arena: Arena, out: Path) -> Outcome:
    process = arena.simulate(out, **arena.on_cluster())
    recover_s = disturbed(process, lambda: num_rows(out), arena.lose_node)
    well(process)
    return judged("simulate", "node killed", out, arena.undisturbed_simulation(), recover_s)


def simulate_loses_a_worker(arena: Arena, out: Path) -> Outcome:
    process = arena.simulate(out, "--workers", 2)
    recover_s = disturbed(process, lambda: num_rows(out), lambda: kill_process_named("shard_task", process.pid))
    well(process)
    return judged("simulate", "worker killed", out, arena.undisturbed_simulation(), recover_s)


def simulate_loses_its_driver(arena: Arena, out: Path) -> Outcome:
    process = arena.simulate(out, "--workers", 2)
    wait_until(lambda: num_rows(out) > 0, process)
    process.kill()
    process.communicate()
    before, again = num_rows(out), arena.simulate(out, "--workers", 2)
    recover_s = wait_until(lambda: num_rows(out) > before, again)
    well(again)
    return judged("simulate", "driver killed, same command again", out, arena.undisturbed_simulation(), recover_s)


def encode_loses_a_node(arena: Arena, out: Path) -> Outcome:
    undisturbed = arena.undisturbed_tokens()
    process = arena.encode(out, **arena.on_cluster())
    recover_s = disturbed(process, lambda: num_rows(out), arena.lose_node)
    well(process)
    return judged("encode", "node killed", out, undisturbed, recover_s)


def encode_loses_an_actor(arena: Arena, out: Path) -> Outcome:
    undisturbed = arena.undisturbed_tokens()
    process = arena.encode(out, "--workers", 2)
    kill_process_named("ray::Encoder", process.pid)
    before = num_rows(out)
    recover_s = wait_until(lambda: num_rows(out) > before, process)
    well(process)
    return judged("encode", "actor killed", out, undisturbed, recover_s)


def encode_fills_the_disk(arena: Arena, out: Path) -> Outcome:
    undisturbed = arena.undisturbed_tokens()
    with small_disk(out, 500_000) as resize:
        output = well(arena.encode(out, "--workers", 1), 4)
        assert "No space left on device" in output, output
        before = num_rows(out)
        resize(50_000_000)
        again = arena.encode(out, "--workers", 1)
        recover_s = wait_until(lambda: num_rows(out) > before, again)
        well(again)
        return judged("encode", "disk full, then space", out, undisturbed, recover_s)


def undisturbed_toy(arena: Arena) -> Path:
    def train() -> Path:
        well(toy(arena.folder / "toy", **TOY))
        return arena.folder / "toy"

    return arena.once("toy", train)


def compared(arena: Arena, fault: str, out: Path, recover_s: float) -> Outcome:
    """The recorded steps and the last weights, against the undisturbed run's."""
    undisturbed = undisturbed_toy(arena)
    steps = [line["step"] for line in curve(out)]
    expected = weights(undisturbed)
    equal = curve(out) == curve(undisturbed) and all(torch.equal(expected[k], v) for k, v in weights(out).items())
    return Outcome("training", fault, 12, len(set(steps)), len(steps) - len(set(steps)), equal, recover_s)


def training_loses_a_node(arena: Arena, out: Path) -> Outcome:
    undisturbed_toy(arena)
    out.mkdir()
    with environment(arena.on_cluster()):
        process = toy(out, step_s=0.2, **TOY)
        recover_s = disturbed(process, lambda: len(curve(out)), arena.lose_node, after=6)
    well(process)
    return compared(arena, "node killed", out, recover_s)


def training_loses_a_rank(arena: Arena, out: Path) -> Outcome:
    undisturbed_toy(arena)
    process = toy(out, kill=[1, 7], **TOY)
    wait_until(lambda: (out / "killed").exists(), process)
    recover_s = wait_until(lambda: len(curve(out)) > 7, process)
    well(process)
    return compared(arena, "rank killed", out, recover_s)


def training_is_told_to_go(arena: Arena, out: Path) -> Outcome:
    """SIGTERM, as a spot node gets: saved, exit 75, and the same command goes on."""
    undisturbed_toy(arena)
    values = TOY | {"checkpoint_steps": 1000, "step_s": 0.5}
    process = toy(out, **values)
    wait_until(lambda: len(curve(out)) > 0, process)
    process.send_signal(signal.SIGTERM)
    well(process, 75)
    done, again = len(curve(out)), toy(out, **values)
    recover_s = wait_until(lambda: len(curve(out)) > done, again)
    well(again)
    return compared(arena, "SIGTERM, exit 75, same command again", out, recover_s)


@contextlib.contextmanager
def environment(values: dict[str, str]):
    before = {name: os.environ.get(name) for name in values}
    os.environ |= values
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def with_proxy(fault: str, arm: Callable[[FaultyProxy], None], during: Callable[[FaultyProxy], None] | None = None, faults=1):
    """A scenario of simulate onto S3 through a proxy with faults: armed from the start, or `during` the run."""

    def scenario(arena: Arena, out: Path) -> Outcome:
        url = f"s3://{arena.bucket}/{out.name}-{time.time_ns()}"
        with FaultyProxy(arena.server.port) as proxy:
            arm(proxy)
            process = arena.simulate(url, "--workers", 2, AWS_ENDPOINT_URL=proxy.url)
            recover_s = float("nan")
            if during:
                recover_s = disturbed(process, lambda: num_rows(url), lambda: during(proxy))
            well(process)
        return judged("simulate onto S3", fault, url, arena.undisturbed_simulation(), recover_s, faults)

    return scenario


def away(proxy: FaultyProxy) -> None:
    """Refuse for three seconds, without keeping the caller."""
    proxy.refuse()
    threading.Timer(3.0, proxy.accept).start()


def slow(proxy: FaultyProxy) -> None:
    proxy.delay_s = 0.05


def s3_server_is_restarted(arena: Arena, out: Path) -> Outcome:
    """The gateway is stopped in mid-run and started again after three seconds."""
    url = f"s3://{arena.bucket}/{out.name}-{time.time_ns()}"
    process = arena.simulate(url, "--workers", 2)

    def restart() -> None:
        arena.server.stop_daemon("client.rgw")
        time.sleep(3)
        arena.server.start_gateway()

    recover_s = disturbed(process, lambda: num_rows(url), restart)
    well(process)
    return judged("simulate onto S3", "server restarted", url, arena.undisturbed_simulation(), recover_s)


def saves_are_killed(arena: Arena, out: Path) -> Outcome:
    """SIGKILL before and after every rename of a save: the newest whole checkpoint loads, and the next save commits."""
    boundaries, whole, equal, started = 8, 0, True, time.monotonic()
    for boundary in range(boundaries):
        folder = out / str(boundary)
        saved(Checkpoints(FolderStore(folder), origin()), 1)
        killed_at(boundary, folder)
        newest = Checkpoints(FolderStore(folder), origin()).newest()
        step = 2 if boundary == boundaries - 1 else 1  # the last file is the manifest: after it all is there
        whole += newest.step == step and not list(folder.rglob(".new-*"))
        equal &= all(torch.equal(newest[name][k], tensor) for name, some in groups(step) for k, tensor in some.items())
        saved(Checkpoints(FolderStore(folder), origin()), 3)
        equal &= Checkpoints(FolderStore(folder), origin()).newest().step == 3
    took_s = (time.monotonic() - started) / boundaries
    return Outcome("checkpoint", "save killed at every file boundary", boundaries, whole, 0, equal, took_s, boundaries)


def killed_at(boundary: int, folder: Path) -> None:
    """Save step 2 in a process that dies before (even) or after (odd) the rename of a file."""
    pid = os.fork()
    if not pid:
        rename, count = os.replace, 0

        def replace(source: object, target: object) -> None:
            nonlocal count
            for moment in (lambda: None, lambda: rename(source, target)):
                moment()
                if count == boundary:
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1

        os.replace = replace
        Checkpoints(FolderStore(folder), origin()).save({"step": 2, "stream": {"0": {"position": 2}}}, groups(2), {})
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status


def saves_fill_the_disk(arena: Arena, out: Path) -> Outcome:
    """A save for which there is no space leaves no trace; when there is space the next one commits."""
    with small_disk(out, 1_000_000) as resize:
        checkpoints = saved(Checkpoints(FolderStore(out), origin()), 1)
        started = time.monotonic()
        failed = not checkpoints.save({"step": 2}, groups(2, size=200_000), {})
        kept = checkpoints.newest().step == 1 and [path.name for path in out.iterdir()] == ["step-00000001"]
        resize(20_000_000)
        saved(checkpoints, 3)
        present = int(failed and kept) + int(checkpoints.newest().step == 3)
        return Outcome("checkpoint", "disk full, then space", 2, present, 0, True, time.monotonic() - started)


LOCAL = {
    "checkpoint-killed": saves_are_killed,
    "checkpoint-disk-full": saves_fill_the_disk,
    "encode-disk-full": encode_fills_the_disk,
    "simulate-worker": simulate_loses_a_worker,
    "simulate-driver": simulate_loses_its_driver,
    "encode-actor": encode_loses_an_actor,
    "training-rank": training_loses_a_rank,
    "training-sigterm": training_is_told_to_go,
}
CLUSTER = {
    "simulate-node": simulate_loses_a_node,
    "encode-node": encode_loses_a_node,
    "training-node": training_loses_a_node,
}
S3 = {
    "s3-restart": s3_server_is_restarted,
    "s3-refuses": with_proxy("refuses for 3 s", lambda proxy: None, away),
    "s3-slow": with_proxy("50 ms before every chunk", slow),
    "s3-cut": with_proxy("connection cut in mid-upload, 3 times", lambda proxy: proxy.cut_upload(50_000, times=3), faults=3),
    "s3-answers-lost": with_proxy("answer lost, 3 times", lambda proxy: proxy.lose_response(times=3), faults=3),
}
SCENARIOS = LOCAL | CLUSTER | S3
