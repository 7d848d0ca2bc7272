"""A few lines of TOML make a configuration; a mistake in them is named; only what changes the result is another run."""

import json
from dataclasses import replace

import pytest

from infra.config import to_json
from infra.lease import LeaseConfig
from pipelines import retrain_config
from pipelines.retrain_config import read
from training.checkpoints import KeepConfig
from training.gate import Better

TOML = """
preset = "tiny"
registry = "registry"
codec = "s3://bucket/codec"

[data]
corpora = ["corpora", "s3://bucket/corpora"]
tasks = ["sr", "tse"]

[data.ranges.sr]
duration_s = 0.6

[lm.loop]
steps = 10

[[judging.datasets]]
place = "s3://bucket/test"
id = "1"
manifest_sha256 = "2"

[[gate.better]]
metric = "pesq_wb"
"""


@pytest.fixture
def given(tmp_path):
    """`given(text, *options)` reads a configuration file of this text."""

    def given(text: str, *options: str, ending: str = "toml"):
        path = tmp_path / f"retrain.{ending}"
        path.write_text(text)
        return read(["--config", str(path), *options], prog="retrain")

    return given


def test_a_file_is_read_over_the_preset_and_options_over_the_file(given):
    config = given(TOML, "--lm.steps", "20", "--data.count", "7")
    assert (config.lm.loop.steps, config.lm.loop.checkpoint_steps, config.data.count) == (20, 500, 7)
    assert config.data.tasks == ("sr", "tse") and config.data.ranges == {"sr": {"duration_s": 0.6}}
    assert config.gate.better == (Better("pesq_wb"),) and config.judging.datasets[0].id == "1"
    assert config.registry.startswith("/") and config.data.corpora[1] == "s3://bucket/corpora"


def test_what_a_run_has_saved_is_read_again(given):
    config = given(TOML)
    assert given(json.dumps(to_json(config)), ending="json") == config
    assert given(json.dumps({"task": "retrain", "config": to_json(config)}), ending="json") == config


def test_only_what_changes_the_result_is_another_run(given):
    config = given(TOML)
    intervals = {"checkpoint_steps": 7, "checkpoint_minutes": 7.0, "validation_steps": 7, "max_skipped": 7}
    for same in (
        replace(config, registry="/elsewhere", work="/tmp", lease=LeaseConfig(1.0), always=True, keep_runs=3, dry_run=True),
        replace(config, new_codec=True),  # the run knows the codec by its id
        replace(config, data=replace(config.data, out="/elsewhere", workers=3, corpora=())),
        replace(config, lm=replace(config.lm, resources=replace(config.lm.resources, workers=4))),
        replace(config, judging=replace(config.judging, datasets=(replace(config.judging.datasets[0], place="/copy"),))),
        replace(config, judging=replace(config.judging, heard=0, clips_per_part=3)),
        replace(config, data=replace(config.data, rerender=0, gpus_per_worker=0.5, max_workers=4)),
        replace(config, lm=replace(config.lm, loop=replace(config.lm.loop, **intervals))),
        replace(config, lm=replace(config.lm, keep=KeepConfig(last=9), report=False, judged_examples=3, validation_examples=2)),
        replace(config, lm=replace(config.lm, examples=replace(config.lm.examples, threads=7, prefetch_steps=7))),
        replace(config, lm=replace(config.lm, recipe=replace(config.lm.recipe, peak_tflops=1.0))),
    ):
        assert same.identity() == config.identity()
    for other in (
        replace(config, data=replace(config.data, count=99)),
        replace(config, lm=replace(config.lm, loop=replace(config.lm.loop, steps=11))),
        replace(config, lm=replace(config.lm, examples=replace(config.lm.examples, window_shards=7))),
        replace(config, lm=replace(config.lm, recipe=replace(config.lm.recipe, label_smoothing=0.5))),
        replace(config, judging=replace(config.judging, count=7)),
        replace(config, gate=replace(config.gate, alpha=0.01)),
        replace(config, judging=replace(config.judging, datasets=(replace(config.judging.datasets[0], id="3"),))),
        replace(config, warm_start=False),
    ):
        assert other.identity() != config.identity()


def test_the_documented_configuration_can_be_read(given):
    """And says what a cluster needs: ranks on GPUs, and a place for data that all nodes reach."""
    config = given(retrain_config.__doc__.partition("\n\n")[2])
    assert (config.lm.resources.workers, config.lm.resources.gpu) == (8, True)
    assert config.data.gpus_per_worker > 0 and config.data.out.startswith("s3://") and config.judging.datasets


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("registri = 'x'", "unknown option 'registri', did you mean 'registry'"),
        ("[data]\ntasks = ['srr']", "no task 'srr'"),
        ("[data]\ncount = 0", "data.count is 0"),
        ("preset = 'tinny'", "no preset 'tinny'"),
        ("[lm]\ninit = 'x'", "the run gives it, leave it out"),
        ("[lm.loop]\nminutes = 3.0", "give lm.loop.steps"),
        ("work = 's3://bucket/x'", "give a folder of this machine"),
        ("new_codec = true", "no --codec"),
        ("keep_runs = 0", "keep-runs is 0: give 1 or more"),
        ("[[gate.limits]]\nmetric = 'stoi'\nmargin = 0.0", "give more than 0"),
        ("[[judging.datasets]]\nplace = 'x'", "missing required field"),
        ("x = ", "give a TOML or JSON file"),
    ],
)
def test_a_mistake_is_named(given, text, said):
    with pytest.raises(ValueError, match=said):
        given(text)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"none\.toml: give a TOML or JSON file"):
        read(["--config", "none.toml"], prog="retrain")
