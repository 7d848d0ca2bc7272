import io
import itertools
import re

from infra import progress
from infra.progress import Pace, Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(out, steps, monkeypatch, *, step_s=0.5, pace=None, start=0, used_s=0.0):
    now_s = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now_s[0])
    shown = Progress(pace or Pace(100, clips_per_step=8, audio_s_per_step=40.0), out)
    shown.start(start, used_s)
    for step in range(start + 1, start + steps + 1):
        now_s[0] += step_s
        shown.show(step, {"loss": 1 / step})
    shown.close()
    return out.getvalue()


def test_a_line_says_step_loss_speed_memory_and_time_left(monkeypatch):
    text = run(io.StringIO(), 60, monkeypatch)
    assert re.fullmatch(r"step 60/100 60%, loss 0\.0167, 80 x real time, 16 samples/s, \d+\.\d GB, ETA 0:00:20\n", text)


def test_the_speed_is_that_of_the_steps_since_the_resume(monkeypatch):
    text = run(io.StringIO(), 20, monkeypatch, start=80)
    assert text.startswith("step 100/100 100%, loss 0.0100, 80 x real time, 16 samples/s") and text.endswith("ETA 0:00:00\n")


def test_time_left_is_that_of_the_budget_that_ends_first(monkeypatch):
    text = run(io.StringIO(), 60, monkeypatch, pace=Pace(10**6, limit_s=90.0))
    assert text.endswith("ETA 0:01:00\n") and "x real time" not in text


def test_on_a_terminal_one_line_is_redrawn_and_ended(monkeypatch):
    text = run(Terminal(), 10, monkeypatch)
    assert text.count("\r") == 10 and text.count("\n") == 1 and text.endswith("\n")
    lines = text.strip("\r\n").split("\r")
    assert all(len(line) >= len(before.rstrip()) for before, line in itertools.pairwise(lines))  # what stood there is covered


def test_elsewhere_there_is_a_line_every_half_minute_and_one_at_the_end(monkeypatch):
    assert run(io.StringIO(), 100, monkeypatch, step_s=1.0).count("\n") == 4


def test_time_left_and_share_count_what_was_used_before_a_resume(monkeypatch):
    text = run(io.StringIO(), 60, monkeypatch, pace=Pace(10**6, limit_s=120.0), start=40, used_s=60.0)
    assert text.startswith("step 100/1000000 75%") and text.endswith("ETA 0:00:30\n")


def test_the_share_is_that_of_the_budget_that_ends_first(monkeypatch):
    assert run(io.StringIO(), 60, monkeypatch, pace=Pace(10**6, limit_s=60.0)).startswith("step 60/1000000 50%")
    assert run(io.StringIO(), 60, monkeypatch, pace=Pace(80, limit_s=60.0)).startswith("step 60/80 75%")


def test_the_last_step_has_a_line_however_the_run_ends(monkeypatch):
    text = run(io.StringIO(), 7, monkeypatch)
    assert text.startswith("step 7/100") and text.count("\n") == 1
    assert run(Terminal(), 7, monkeypatch, step_s=0.01).rstrip().split("\r")[-1].startswith("step 7/100")


def test_a_run_without_a_step_shows_nothing(monkeypatch):
    assert run(io.StringIO(), 0, monkeypatch) == ""
