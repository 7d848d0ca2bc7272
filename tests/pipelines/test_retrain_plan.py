"""A dry run tells what would be done and does nothing; what would end a run after hours is refused before anything is made."""

import json
from pathlib import Path

import pytest

from infra.lease import LeaseConfig, acquire
from infra.registry import PROMOTION, Entry
from pipelines import freshness
from pipelines.retrain import main, retrain
from pipelines.retrain_config import read
from pipelines.retrain_plan import check_gate
from tests.pipelines.conftest import contents, write_corpus
from tests.pipelines.retraining import World, make_world, pins
from tests.training import token_datasets

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def place(tmp_path, world) -> Path:
    """With a registry and its first champion, which has seen nothing."""
    world.registry(tmp_path / "place")
    return tmp_path / "place"


def dry(config: dict, folder: Path, *options: str) -> int:
    (folder / "retrain.json").write_text(json.dumps(config))
    return main(["--config", str(folder / "retrain.json"), "--dry-run", *options])


def test_a_dry_run_tells_inputs_steps_and_gate_and_writes_nothing(world, place, tmp_path, capsys):
    before = contents(place)
    assert dry(world.config(place), tmp_path) == 0
    said = capsys.readouterr().out
    for line in (
        "  lease: free",
        "1 inputs, 1 of them new\n  new: first sr ",
        "the language model would start with the champion's weights, 4 steps",
        "  simulate: to do\n  encode: to do\n  train: to do\n  bundle: to do\n  evaluate: to do\n  judge: to do\n",
        f"  judged on: {world.frozen['place']}  8 examples",
        "  gate: better si_sdr by more than -100, any of the tasks\n",
        "  gate: si_sdr worse by less than 200, each task and each slice",
    ):
        assert line in said, said
    assert contents(place) == before and not (place / "registry/lease.json").exists()


def test_it_tells_who_holds_the_lease_and_that_nothing_is_new(world, place, tmp_path, capsys):
    registry = world.registry(tmp_path / "other")
    config = world.config(tmp_path / "other")
    seen = [one.key for one in freshness.look(read(["--config", given(config, tmp_path)], prog="x").data).inputs]
    source = registry.models.store.child(registry.champion().model).child("codec")
    was = registry.champion()
    registry.change(Entry(PROMOTION, registry.models.add(source, {"inputs": seen}), was.model, "by hand"), was)
    lease = acquire(registry.store, LeaseConfig(60.0))
    assert dry(config, tmp_path) == 0
    said = capsys.readouterr().out
    assert f"held by {lease.holder}" in said and said.endswith("nothing new: nothing would be done\n")


def test_without_a_champion_and_a_codec_it_says_what_to_give(world, tmp_path):
    with pytest.raises(ValueError, match="there is no champion yet: give --codec a published codec for the first one"):
        dry(world.config(tmp_path / "none", codec=""), tmp_path)
    assert dry(world.config(tmp_path / "none"), tmp_path) == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gate": {"better": [{"metric": "sisdr"}]}}, "gate: no metric 'sisdr' of sr is judged; did you mean 'si_sdr'"),
        ({"gate": {"better": [{"metric": "si_sdr", "task": "srr"}]}}, "si_sdr: no task 'srr' is judged; did you mean 'sr'"),
        (
            {"gate": {"limits": [{"metric": "si_sdr", "margin": 1.0, "tasks": ["sr", "tse"]}]}},
            "gate: si_sdr: no task 'tse' is judged; known are sr",
        ),
        ({"gate": {"better": [{"metric": "estoi"}]}}, "gate: no metric 'estoi' of sr is judged"),  # not among judging.metrics
        (
            {"judging": {"metrics": ["si_sdr", "utmos"]}, "gate": {"better": [{"metric": "utmos"}]}},
            "'utmos' would have no value",
        ),
        ({"judging": {"plug_in": ["utmos=/none.onnx@0123"]}}, "none.onnx"),
        ({"data": {"sample_rate_hz": 8000}}, "takes 16000 Hz, data.sample_rate_hz is 8000: make them equal"),
    ],
)
def test_what_would_end_the_run_after_hours_is_refused_before_anything_is_made(world, place, tmp_path, changes, said):
    config = world.config(place, **changes)
    with pytest.raises(ValueError, match=said):
        dry(config, tmp_path)
    with pytest.raises(ValueError, match=said):
        retrain(read(["--config", given(config, tmp_path)], prog="retrain"))
    assert not (place / "data").exists() and not (place / "registry/runs").exists()


@pytest.fixture(scope="module")
def judged_on_two(world, tmp_path_factory) -> list[dict]:
    """Frozen sets of sr, and of lass, whose metrics are others."""
    folder = tmp_path_factory.mktemp("lass")
    corpus = write_corpus(folder / "corpus")
    other = token_datasets.simulated("lass", folder / "lass", corpus, count=4, duration_s=0.6, noise_probability=0.0).store
    about = json.loads(other.get("dataset.json"))
    about["recipe"]["split"] = "test"
    other.put("dataset.json", json.dumps(about).encode())
    return [world.frozen, {"place": other.url, **pins(other)}]


RULE = {"metric": "pesq_wb"}


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ({"better": [RULE], "needed": "any"}, ""),  # what one of the tasks has is enough
        ({"better": [RULE | {"task": "lass"}]}, "no metric 'pesq_wb' of lass is judged; known are si_sdr"),
        ({"better": [RULE | {"task": "sr"}]}, ""),
        ({"limits": [RULE | {"margin": 1.0}]}, ""),
        ({"limits": [RULE | {"margin": 1.0, "tasks": ["sr", "lass"]}]}, "no metric 'pesq_wb' of lass is judged"),
        ({"better": [RULE], "needed": "all"}, "no metric 'pesq_wb' of lass is judged"),  # lass could never be better
        ({"better": [RULE, {"metric": "si_sdr", "task": "lass"}], "needed": "all"}, ""),
    ],
)
def test_a_rule_is_held_against_the_task_that_it_names(world, judged_on_two, tmp_path, gate, said):
    judging = {"datasets": judged_on_two, "metrics": ["si_sdr", "pesq_wb"]}
    config = read(["--config", given(world.config(tmp_path, gate=gate, judging=judging), tmp_path)], prog="retrain")
    if not said:
        return check_gate(config)
    with pytest.raises(ValueError, match=said):
        check_gate(config)


def given(config: dict, folder: Path) -> str:
    path = folder / "given.json"
    path.write_text(json.dumps(config))
    return str(path)
