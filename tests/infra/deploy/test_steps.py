"""The chain of jobs, with the words of each understood by its own pipeline: what one makes is what the next ones find."""

import importlib.util
import shlex
from dataclasses import dataclass
from typing import Any

import pytest
import tyro

from infra.deploy.description import Description
from infra.deploy.steps import INTERACTIVE, SHARED, STEPS, command_of, is_below, named
from pipelines import retrain_config, train_codec, train_lm
from pipelines.bundle import MakeBundle
from pipelines.encode import Encode
from pipelines.evaluate import Evaluate
from pipelines.mixture import Mixture
from pipelines.simulate import Simulate
from pipelines.train_run import chosen
from simulation.registry import configurations
from tests.infra.deploy.rendered import CASES, FULL

RETRAIN_FILE = f"{SHARED}/retrain.toml"


def arguments(description, name) -> tuple[str, list[str]]:
    """The module of a step's command, and its words."""
    python, flag, module, *words = shlex.split(command_of(description, named(name)))
    assert (python, flag) == ("python", "-m")
    return module, words


@pytest.mark.parametrize("description", CASES.values(), ids=CASES)
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_every_step_runs_a_verb_that_there_is(step, description):
    module, _ = arguments(description, step.name)
    assert importlib.util.find_spec(module) is not None


@dataclass(frozen=True)
class Moves:
    """What a step takes and what it makes, as its own pipeline has understood its words."""

    config: Any
    takes: tuple[str, ...]
    makes: tuple[str, ...]


def moves(description, name) -> Moves:
    module, words = arguments(description, name)
    if module in ("pipelines.train_codec", "pipelines.train_lm"):
        pipeline = {"pipelines.train_codec": train_codec, "pipelines.train_lm": train_lm}[module]
        preset, config = chosen(pipeline.presets(), words, default="", prog=module)
        assert preset in words
        names = ("data", "corpus") if pipeline is train_codec else ("data", "held_out", "codec")
        return Moves(config, taken(config, *names), (config.out, config.checkpoints))
    if module == "pipelines.retrain":
        config = retrain_config.read([word for word in words if word not in ("--config", RETRAIN_FILE)], prog=module)
        assert words[words.index("--config") + 1] == RETRAIN_FILE
        return Moves(config, (), (config.data.out, config.registry, config.work))
    if module == "pipelines.simulate":
        task, *words = words
        _, default = configurations()[task]
        config = tyro.cli(Simulate[type(default)], default=Simulate(default), args=words)
        return Moves(config, taken(config, "corpus"), (config.out,))
    kind, names = {
        "pipelines.mixture": (Mixture, ("corpus",)),
        "pipelines.encode": (Encode, ("data", "codec")),
        "pipelines.bundle": (MakeBundle, ("codec", "lm", "data")),
        "pipelines.evaluate": (Evaluate, ("model", "data")),
    }[module]
    config = tyro.cli(kind, args=words)
    return Moves(config, taken(config, *names), (config.out,))


def taken(config, *names) -> tuple[str, ...]:
    """The places in these options; each must be given."""
    found = tuple(getattr(config, name) for name in names)
    assert all(found), dict(zip(names, found))
    return found


@pytest.mark.parametrize("description", CASES.values(), ids=CASES)
def test_whatever_a_step_reads_is_a_corpus_or_was_made_by_a_step_before(description):
    made = (f"{description.url}/corpora",)
    for step in STEPS:
        found = moves(description, step.name)
        assert [place for place in found.takes if not is_below(place, made)] == [], step.name
        made += found.makes


def test_the_walk_can_find_a_place_that_nobody_makes():
    assert not is_below("/shared/bundle", ("s3://b/v1/bundle", "/shared/bundles"))
    assert is_below("/shared/codec/model", ("/shared/codec",)) and is_below("/shared/lm", ("/shared/lm",))


@pytest.mark.parametrize("description", CASES.values(), ids=CASES)
def test_a_step_s_role_covers_what_it_reads_and_writes_and_no_more_is_written(description):
    for step in STEPS:
        found = moves(description, step.name)
        readable = (*step.reads, *step.writes)
        assert [place for place in in_bucket(description, found.takes) if not is_below(place, readable)] == [], step.name
        assert sorted(in_bucket(description, found.makes)) == sorted(step.writes), step.name
        assert any(place.startswith(f"{SHARED}/") for place in found.makes) == step.writes_shared, step.name


def in_bucket(description, places) -> list[str]:
    """Those on S3, below the prefix."""
    assert all(place.startswith((f"{description.url}/", f"{SHARED}/")) for place in places), places
    return [place.removeprefix(f"{description.url}/") for place in places if place.startswith("s3://")]


@pytest.mark.parametrize("description", CASES.values(), ids=CASES)
def test_what_is_judged_on_is_of_another_split_than_what_is_trained_on(description):
    split = {config.out: config.split for config in (moves(description, f"simulate{end}").config for end in ("", "-test"))}
    assert set(split.values()) == {"train", "test"}
    for name in ("encode", "encode-test"):
        config = moves(description, name).config
        split[config.out] = split[config.data]
    lm, evaluate = moves(description, "train-lm").config, moves(description, "evaluate").config
    assert split[moves(description, "train-codec").config.data] == split[lm.data] == "train"
    assert split[lm.held_out] in train_lm.HELD_OUT_SPLITS
    assert split[evaluate.data] == evaluate.split


@pytest.mark.parametrize("description", CASES.values(), ids=CASES)
def test_work_is_on_gpus_where_there_are_any_and_ranks_share_the_batch(description):
    has_gpus = description.num_gpus() > 0
    for name in ("encode", "encode-test", "evaluate"):
        resources = moves(description, name).config.resources
        assert (resources.gpus_per_worker > 0) == has_gpus
        assert resources.max_workers  # the cluster grows from zero
    for name in ("train-codec", "train-lm"):
        config = moves(description, name).config
        assert config.resources.gpu == has_gpus
        config.recipe.training.micro_batch(config.resources.workers)
        data = config.clips if name == "train-codec" else config.examples
        assert data.logical_workers % config.resources.workers == 0


@pytest.mark.parametrize("description", CASES.values(), ids=CASES)
def test_retraining_is_on_the_ranks_of_the_cluster_and_writes_to_no_folder_of_the_head(description, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # relative places become absolute ones in here
    config = moves(description, "retrain").config
    assert config.lm.resources == moves(description, "train-lm").config.resources
    assert config.lm.resources.workers == description.num_ranks()
    assert (config.data.gpus_per_worker > 0) == (description.num_gpus() > 0) and config.data.max_workers
    assert (config.registry, config.work) == (f"{description.url}/registry", "/shared/retrain")
    assert config.data.out == f"{description.url}/data/retrain"
    assert str(tmp_path) not in repr(config)


def test_the_file_of_a_retraining_says_the_rest(tmp_path):
    module, words = arguments(Description(), "retrain")
    (tmp_path / "retrain.toml").write_text('preset = "small"\n[data]\ntasks = ["tse"]\nout = "elsewhere"\n')
    words[words.index("--config") + 1] = str(tmp_path / "retrain.toml")
    config = retrain_config.read(words, prog=module)
    assert (config.preset, config.data.tasks, config.data.out) == ("small", ("tse",), "s3://quarkline-data/v1/data/retrain")


def test_simulate_makes_all_tasks_or_one_with_what_was_added():
    config = moves(Description(), "simulate").config
    assert isinstance(config, Mixture) and config.out == "s3://quarkline-data/v1/data/train"
    config = moves(FULL, "simulate").config
    assert (arguments(FULL, "simulate")[1][0], config.count, config.seed) == ("lass", 100000, 1)
    assert moves(FULL, "simulate-test").config.seed == 0


def test_the_registry_is_written_by_retraining_alone():
    writers = [step.name for step in (*STEPS, INTERACTIVE) if any("registry" in place for place in step.writes)]
    assert writers == ["retrain"]
