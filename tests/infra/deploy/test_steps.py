import importlib.util
import shlex

import pytest

from infra.deploy.description import Description
from infra.deploy.steps import INTERACTIVE, STEPS, command_of, named
from pipelines import retrain_config, train_codec, train_lm
from pipelines.encode import Encode
from pipelines.evaluate import Evaluate
from pipelines.mixture import Mixture
from pipelines.simulate import Simulate
from pipelines.train_run import chosen
from simulation.registry import configurations
from tests.infra.deploy.rendered import CASES, FULL


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


@pytest.mark.parametrize("description", CASES.values(), ids=CASES)
def test_the_verbs_take_the_words_that_they_are_given(description):
    import tyro

    module, words = arguments(description, "encode")
    config = tyro.cli(Encode, args=words)
    assert config.resources.max_workers  # the cluster grows from zero
    assert config.data == f"{description.url}/data"
    assert (config.resources.gpus_per_worker > 0) == (description.num_gpus() > 0)
    for pipeline, name in ((train_codec, "train-codec"), (train_lm, "train-lm")):
        module, words = arguments(description, name)
        assert module == pipeline.__name__
        preset, config = chosen(pipeline.presets(), words, default="", prog=module)
        assert preset in words
        assert config.resources.gpu == (description.num_gpus() > 0)
        config.recipe.training.micro_batch(config.resources.workers)
        data = config.clips if name == "train-codec" else config.examples
        assert data.logical_workers % config.resources.workers == 0


@pytest.mark.parametrize("description", CASES.values(), ids=CASES)
def test_evaluation_and_retraining_take_the_words_that_they_are_given(description, tmp_path):
    import tyro

    module, words = arguments(description, "evaluate")
    config = tyro.cli(Evaluate, args=words)
    assert config.resources.max_workers == (description.num_gpus() or sum(one.cpus * one.most for one in description.workers))
    assert (module, config.data) == ("pipelines.evaluate", f"{description.url}/data")
    assert (config.resources.gpus_per_worker > 0) == (description.num_gpus() > 0)
    module, words = arguments(description, "retrain")
    (tmp_path / "retrain.toml").write_text('preset = "small"')
    words[words.index("--config") + 1] = str(tmp_path / "retrain.toml")
    config = retrain_config.read(words, prog=module)
    assert (config.registry, config.preset, config.work) == (f"{description.url}/registry", "small", "/shared/retrain")


def test_simulate_makes_all_tasks_or_one_with_what_was_added():
    import tyro

    module, words = arguments(Description(), "simulate")
    assert module == "pipelines.mixture"
    assert tyro.cli(Mixture, args=words).out == "s3://quarkline-data/v1/data"
    module, (task, *words) = arguments(FULL, "simulate")
    name, default = configurations()[task]
    config = tyro.cli(Simulate[type(default)], default=Simulate(default), args=words)
    assert (module, name, config.count, config.seed) == ("pipelines.simulate", "lass", 100000, 1)


def test_the_registry_is_written_by_retraining_alone():
    writers = [step.name for step in (*STEPS, INTERACTIVE) if any("registry" in place for place in step.writes)]
    assert writers == ["retrain"]
