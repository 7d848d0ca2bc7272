"""A step is done once, and its failures are written down; a table of an evaluation becomes a decision."""

import json
import uuid
from dataclasses import replace

import pytest

from infra.command_line import ShardsFailed
from infra.lease import LeaseConfig, LeaseLost, acquire
from infra.model_folder import CONFIG, WEIGHTS, local_folder, model_id
from infra.registry import BOOTSTRAP, Entry, Registry
from infra.storage import StorageError, open_store
from pipelines.retrain_config import read
from pipelines.retrain_steps import CANDIDATE, CHAMPION, EXIT_CRASHED, Run, done, exit_code, judged, train_step
from training.gate import Better, GateConfig, Limit
from training.metrics.clip_table import ClipRow, table, write

GATE = GateConfig((Better("si_sdr"),), limits=(Limit("si_sdr", 0.5),), min_clips=10, num_resamples=400)


@pytest.fixture
def run(tmp_path) -> Run:
    registry = Registry(str(tmp_path / "registry"))
    lease = acquire(registry.store, LeaseConfig(0.2))
    return Run("0123456789ab", read(["--registry", registry.url], prog="retrain"), registry, None, (), lease)


def test_a_step_that_is_done_gives_what_it_gave(run):
    calls = []

    def make(run, before):
        calls.append(before)
        return {"places": ("a", "b"), "count": len(calls)}

    first = done(run, "encode", make, {"x": 1})
    assert first == done(run, "encode", make, {}) == {"places": ["a", "b"], "count": 1} and calls == [{"x": 1}]
    mark = json.loads(run.store.get("steps/encode.json"))
    assert (mark["step"], mark["exit_code"]) == ("encode", 0) and mark["seconds"] >= 0


def test_a_step_that_fails_is_told_and_tried_again(run):
    def fail(run, before):
        raise ShardsFailed("2 of 9 shards failed")

    with pytest.raises(ShardsFailed):
        done(run, "encode", fail, {})
    (name,) = run.store.list("failures/")
    said = json.loads(run.store.get(name))
    assert (said["step"], said["exit_code"], said["error"]) == ("encode", 4, "2 of 9 shards failed")
    assert done(run, "encode", lambda run, before: {"count": 1}, {}) == {"count": 1}


def test_no_step_begins_without_the_lease(run):
    acquire(run.registry.store, LeaseConfig(0.2))  # another takes it over
    with pytest.raises(LeaseLost):
        done(run, "encode", lambda run, before: pytest.fail("begun"), {})
    assert not run.store.exists("steps/encode.json")


def test_exit_codes_are_those_of_the_verbs():
    errors = (ValueError(), StorageError("x"), KeyboardInterrupt(), LeaseLost("x"), ShardsFailed("x"), RuntimeError())
    assert [exit_code(error) for error in errors] == [2, 5, 130, 75, 4, EXIT_CRASHED]


def test_the_first_run_needs_a_codec(run):
    with pytest.raises(ValueError, match="give --codec a published codec for the first one"):
        _ = run.codec
    assert replace(run, config=replace(run.config, codec="/codec")).codec == "/codec" and run.start == ""


def champion_of(registry: Registry, folder) -> str:
    """A first champion, of files that are no real model; its id."""
    for name in (CONFIG, WEIGHTS):
        open_store(str(folder)).put(f"lm/{name}", name.encode())
    model = registry.models.add(open_store(str(folder)), {"inputs": []})
    registry.change(Entry(BOOTSTRAP, model, "", "first"), None)
    return model


def test_training_starts_at_a_place_that_is_the_same_on_every_machine(run, tmp_path):
    model = champion_of(run.registry, tmp_path / "model")
    warm = replace(run, champion=run.registry.champion())
    assert warm.start == f"{run.registry.url}/models/{model}/lm" == str(warm.champion_folder / "lm")
    assert replace(warm, config=replace(warm.config, warm_start=False)).start == ""


@pytest.mark.s3
def test_on_s3_training_starts_at_the_place_in_the_store(run, tmp_path, s3):
    registry = Registry(f"{s3}/{uuid.uuid4().hex}/registry")
    model = champion_of(registry, tmp_path / "model")
    warm = replace(run, registry=registry, champion=registry.champion())
    assert warm.start == f"{registry.url}/models/{model}/lm"
    assert model_id(local_folder(warm.start)) == model_id(warm.champion_folder / "lm") == model_id(tmp_path / "model" / "lm")


def test_a_champion_that_was_damaged_is_not_what_training_starts_with(run, tmp_path):
    model = champion_of(run.registry, tmp_path / "model")
    run.registry.models.store.child(model).put(f"lm/{WEIGHTS}", WEIGHTS.encode()[::-1])
    with pytest.raises(ValueError, match=r"its sha256 is not the one in model\.json"):
        train_step(replace(run, champion=run.registry.champion()), {"tokens": []})


def evaluation(folder, gain: float, models=(CHAMPION, CANDIDATE)):
    """Of 40 clips of 10 speakers."""
    rows = []
    for number in range(40):
        for name in (*models, "input"):
            value = number % 7 + gain * (name == CANDIDATE) * (1 + 0.1 * (number % 3))
            key = f"k{number}"
            rows.append(ClipRow(name, "sr", "d", key, f"s{number % 10}", 1.0, {"room": "a"}, {"si_sdr": value}, {}))
    about = {
        "metrics": {"si_sdr": {"better": "higher"}},
        "codebooks": {"oracle": [{"stream": "acoustic", "layer": 1, "share": 0.9, "perplexity": 20.0}]},
        "real_time_factor": {CHAMPION: 0.1, CANDIDATE: 0.11, "input": 0.0},
    }
    return write(open_store(str(folder)), table(rows), about)


def test_an_evaluation_becomes_a_decision(tmp_path):
    assert judged(evaluation(tmp_path, 1.0), GATE, is_first=False).promote
    decision = judged(evaluation(tmp_path, -1.0), GATE, is_first=False)
    assert not decision.promote and any("sr room=a si_sdr" in reason for reason in decision.reasons)
    whats = [check.what for check in decision.checks]
    assert "codebook acoustic 1" in whats and "speed" in whats
    assert judged(evaluation(tmp_path, -1.0, (CANDIDATE,)), GATE, is_first=True).promote
    slow = replace(GATE, max_slowdown=1.05)
    assert "speed: 0.11 s" in judged(evaluation(tmp_path, 1.0), slow, is_first=False).reasons[0]
