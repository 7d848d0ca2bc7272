import functools
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from infra.config import to_json
from pipelines.train_run import (
    REPORT,
    RunFolder,
    begun_once,
    check_folder,
    check_node,
    check_shares,
    chosen,
    is_first,
    num_ranks,
    pace,
    split,
    train_and_judge,
    train_once,
)
from training.budget import LoopConfig, State
from training.checkpoints import KeepConfig, Origin
from training.config import TrainingConfig
from training.launch import Resources, Stopped, Worker


class Weights:
    def save_pretrained(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"weights")


@dataclass(frozen=True)
class Config:
    training: TrainingConfig = field(default_factory=TrainingConfig)
    steps: int = 10


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return RunFolder(str(tmp_path / "run"), Origin({"width": 8}, {}))


def test_a_run_is_finished_when_its_model_is_there_and_its_budget_used_up(run):
    assert not run.is_finished(LoopConfig(steps=5))
    run.publish(Weights(), State(step=5, seconds=60.0))
    assert run.is_finished(LoopConfig(steps=5)) and not run.is_finished(LoopConfig(steps=6))
    assert run.is_finished(LoopConfig(steps=6, minutes=1.0))


def test_a_folder_with_a_model_of_another_configuration_is_refused(run):
    run.publish(Weights(), State(step=5))
    other = RunFolder(run.path, Origin({"width": 16}, {}))
    with pytest.raises(ValueError, match=r"of another configuration: width was 8 and is now 16; .* another --out"):
        other.is_finished(LoopConfig())


def test_a_new_model_has_no_old_report(run):
    run.publish(Weights(), State())
    (Path(run.path) / REPORT).write_text("{}")
    assert run.has_report()
    shutil.rmtree(Path(run.path) / "model")
    run.publish(Weights(), State())
    assert not run.has_report()


def test_the_configuration_is_saved_before_anything_is_made(run, capsys):
    run.begin("tiny", Config())
    assert json.loads((Path(run.path) / "run.json").read_text()) == {"task": "tiny", "config": to_json(Config())}
    assert f"--logdir {run.path}/tensorboard" in capsys.readouterr().out


def test_checkpoints_lie_in_the_folder_or_where_they_are_sent(run, tmp_path):
    assert run.checkpoints("", KeepConfig()).store.url == f"{run.path}/checkpoints"
    assert run.checkpoints(str(tmp_path / "far"), KeepConfig()).store.url == str(tmp_path / "far")


def taking(steps: int, folder: str, worker: Worker) -> State:
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / "trained").write_text(str(worker.world_size))
    return State(step=steps)


def test_training_happens_once_and_a_stopped_run_says_that_it_can_go_on(run, capsys):
    once = functools.partial(train_once, run, budget=LoopConfig(steps=5), resources=Resources())
    once(functools.partial(taking, 5, run.path))
    assert (Path(run.path) / "trained").read_text() == "1"
    with pytest.raises(Stopped, match="stopped at step 3, which is saved; the same command goes on"):
        once(functools.partial(taking, 3, run.path))
    run.publish(Weights(), State(step=5))
    (Path(run.path) / "trained").unlink()
    once(functools.partial(taking, 5, run.path))
    assert "trained before; give more --steps or --minutes to go on" in capsys.readouterr().out
    assert not (Path(run.path) / "trained").exists()


def test_a_job_is_told_in_its_folder_unless_it_is_finished(run):
    job = SimpleNamespace(run=run, config=SimpleNamespace(loop=LoopConfig(steps=5)))
    run.publish(Weights(), State(step=5))
    assert begun_once(lambda: job, "tiny") is job and not (Path(run.path) / "run.json").exists()


@dataclass(frozen=True)
class Asked:
    report: bool = True
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=5))
    resources: Resources = field(default_factory=Resources)


def train(job: SimpleNamespace, worker: Worker) -> State:
    job.run.publish(Weights(), State(step=5))
    return State(step=5)


def test_a_model_is_judged_when_it_is_trained_unless_it_has_a_report_or_none_is_asked_for(run):
    told = []

    def judged(job: SimpleNamespace) -> None:
        assert job.run.is_finished(job.config.loop)
        told.append(job)
        (Path(run.path) / REPORT).write_text("{}")

    for asked in (Asked(report=False), Asked(), Asked()):
        job = SimpleNamespace(run=run, config=asked)
        assert train_and_judge(asked, lambda job=job: job, train, judged, name="tiny") == Path(run.path)
        assert len(told) == asked.report


def test_a_folder_elsewhere_and_shares_that_do_not_come_out_even_are_refused():
    check_folder("data/run")
    with pytest.raises(ValueError, match=r"--out s3://b/run: give a folder of this machine; --checkpoints takes"):
        check_folder("s3://b/run")
    check_shares(8, "clips", 4)
    with pytest.raises(ValueError, match=r"--training.batch-size is 8: give a multiple of --clips.logical-workers, which is 3"):
        check_shares(8, "clips", 3)


def rank_of(number, world_size=2, device="cpu"):
    return SimpleNamespace(rank=number, world_size=world_size, device=torch.device(device))


def test_a_node_without_the_folder_of_the_run_or_with_other_code_is_refused(tmp_path):
    run = RunFolder(str(tmp_path / "run"), Origin({}, {"code": "ours"}))
    with pytest.raises(ValueError, match=r"run/run\.json: --out must be a folder that all nodes share"):
        check_node(run, rank_of(0), "ours", 8)
    check_node(run, rank_of(1), "ours", 8)
    run.begin("tiny", Config())
    check_node(run, rank_of(0), "ours", 8)
    with pytest.raises(ValueError, match="has other code than the machine of the command"):
        check_node(run, rank_of(1), "theirs", 8)


def test_few_clips_a_gpu_are_told_once_and_only_on_gpus(tmp_path, caplog):
    run = RunFolder(str(tmp_path / "run"), Origin({}, {"code": "ours"}))
    run.begin("tiny", Config())
    for rank in (rank_of(0, 1, "cuda"), rank_of(0, 2), rank_of(1, 2, "cuda")):
        check_node(run, rank, "ours", 8)
    assert not caplog.messages
    check_node(run, rank_of(0, 2, "cuda"), "ours", 8)
    (said,) = caplog.messages
    assert said.startswith("4 clips in a step are few for a GPU: --training.batch-size 8 is over all 2 ranks; 16 or more")


def test_the_ranks_are_those_of_ray_or_torchrun(monkeypatch):
    assert (num_ranks(Resources()), num_ranks(Resources(workers=4)), is_first()) == (1, 4, True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert (num_ranks(Resources()), is_first()) == (2, False)


PRESETS = {"tiny": Config(), "small": Config(steps=20)}


def test_a_preset_is_chosen_by_name_the_default_without(tmp_path):
    read = functools.partial(chosen, PRESETS, default="tiny", prog="prog")
    assert read([]) == ("tiny", PRESETS["tiny"])
    assert read(["small"]) == ("small", PRESETS["small"])
    assert read(["--seed", "7"])[1].training.seed == read(["small", "--seed=7"])[1].training.seed == 7
    (tmp_path / "run.json").write_text(json.dumps({"task": "small", "config": to_json(Config(steps=30))}))
    assert read(["--config", str(tmp_path / "run.json"), "--seed", "3"]) == ("small", Config(TrainingConfig(seed=3), 30))
    with pytest.raises(ValueError, match="no preset 'smal': did you mean 'small'"):
        read(["smal"])
    with pytest.raises(ValueError, match="no preset 'xyz': there are tiny, small"):
        read(["xyz"])


def test_places_and_pace():
    assert split("a,s3://b/c,") == ("a", "s3://b/c") and split("") == ()
    found = pace(LoopConfig(steps=7, minutes=2.0), 16, "loss")
    assert (found.steps, found.limit_s, found.clips_per_step, found.loss) == (7, 120.0, 16, "loss")
    assert (found.audio_s_per_step, pace(LoopConfig(), 16, "loss", 2.0).audio_s_per_step) == (0.0, 32.0)
