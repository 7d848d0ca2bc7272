import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from infra import tracking
from infra.storage import StorageError
from infra.tracking import Tracker

ROOT = Path(__file__).parents[2]


def recorded(folder, steps, after=0, **more):
    tracker = Tracker(folder)
    tracker.resume(after)
    for step in steps:
        tracker.log(step, {"loss": 1 / step} | more)
    tracker.close()


def test_a_line_a_step_in_full_precision_and_null_where_not_finite(tmp_path):
    recorded(tmp_path, [1, 2, 3], broken=math.nan, time={"step_s": math.inf})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"step": step, "loss": 1 / step, "broken": None, "time": {"step_s": None}} for step in (1, 2, 3)]
    assert tracking.read(tmp_path) == lines


def test_after_a_resume_each_step_is_there_once(tmp_path):
    recorded(tmp_path, [1, 2, 3, 4, 5], run=1)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 6, "lo')  # killed in mid line
    recorded(tmp_path, [4, 5, 6], after=3, run=2)
    assert [(line["step"], line["run"]) for line in tracking.read(tmp_path)] == [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2)]
    recorded(tmp_path, [1], after=0, run=3)
    assert [line["run"] for line in tracking.read(tmp_path)] == [3]


def test_a_tracker_without_a_folder_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tracker = Tracker(None)
    tracker.resume(0)
    tracker.log(1, {"loss": 1.0})
    tracker.audio("a", 1, np.zeros(8, np.float32), 16000)
    tracker.sync()
    tracker.close()
    assert list(tmp_path.iterdir()) == []
    assert tracking.read(tmp_path) == []


def test_tensorboard_shows_scalars_audio_pictures_and_histograms(tmp_path):
    tracker = Tracker(tmp_path)
    tracker.resume(0)
    tracker.log(10, {"loss": 2.5, "skipped_keys": ["a"]})
    tracker.log(11, {"loss": 2.0})
    tracker.log(12, {"loss": 1.5, "valid/mel_distance": 0.5})
    tracker.audio("speech/1", 12, np.sin(np.arange(1600) / 5).astype(np.float32), 16000)
    tracker.spectrogram("speech/1", 12, np.linspace(-120, 0, 40 * 30).reshape(40, 30))
    tracker.histogram("codebook/1", 12, np.array([5, 0, 3, 8]))
    tracker.close()
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    tags = board.Tags()
    assert set(tags["scalars"]) == {"train/loss", "valid/mel_distance"}
    assert [event.step for event in board.Scalars("train/loss")] == [10, 12]
    assert tags["images"] == tags["audio"] == ["speech/1"] and tags["histograms"] == ["codebook/1"]
    picture = board.Images("speech/1")[0]
    assert (picture.height, picture.width) == (40, 30)
    assert board.Audio("speech/1")[0].sample_rate == 16000


def test_tensorboard_hides_the_steps_that_a_resume_makes_again(tmp_path):
    recorded(tmp_path, [10, 20, 30])
    recorded(tmp_path, [20, 30, 40], after=10)
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in board.Scalars("train/loss")] == [10, 20, 30, 40]


def test_two_do_not_record_into_the_same_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "LOCK_WAIT_S", 0.3)
    first = Tracker(tmp_path)
    with pytest.raises(ValueError, match="another process is training there; wait for it, or give another --out"):
        Tracker(tmp_path)
    first.close()
    Tracker(tmp_path).close()


HOLD = """
import sys, time
from infra.tracking import Tracker
tracker = Tracker(sys.argv[1])
tracker.resume(0)
tracker.log(1, {"loss": 1.0})
print("ready", flush=True)
time.sleep(60)
"""


def test_a_killed_process_leaves_its_lines_and_lets_go_of_the_folder(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout.readline() == b"ready\n"
        os.kill(process.pid, signal.SIGKILL)
        tracker = Tracker(tmp_path)  # waits until it is dead
    assert [line["step"] for line in tracking.read(tmp_path)] == [1]
    tracker.close()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"file/run: Not a directory; free some space, or check that the folder"):
        Tracker(tmp_path / "file/run")


def test_a_full_disk_is_named_and_the_lines_before_stay(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", place]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no small disk: mounting is not allowed")
    try:
        tracker = Tracker(place)
        tracker.resume(0)
        tracker.log(1, {"loss": 1.0})
        (place / "big").write_bytes(bytes(2**20 - sum(path.stat().st_size for path in place.rglob("*")) - 16384))
        with pytest.raises(StorageError, match=r"No space left on device; free some space"):
            for step in range(2, 1000):
                tracker.log(step, {f"metric_{i}": 1 / 3 for i in range(10)})
        steps = [line["step"] for line in tracking.read(place)]
        assert steps == list(range(1, len(steps) + 1))
    finally:
        subprocess.run(["umount", "-l", place], check=True)
