"""A retraining ends with the same decision and champion wherever it is killed, whoever runs beside it, and is done once."""

import json
import os
import shutil
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from infra.lease import LeaseConfig, LeaseLost, acquire
from infra.model_folder import model_id
from infra.registry import BOOTSTRAP, PROMOTION, ChampionChanged, Entry, Registry
from infra.storage import Store, open_store
from pipelines import freshness
from pipelines.lineage import Lineage, walk
from pipelines.retrain import DECISION, FINISHED, begin, make_room, promote, retrain
from pipelines.retrain_config import read
from pipelines.retrain_steps import STEPS
from tests.codec.samples import FIXED
from tests.infra.faulty_proxy import FaultyProxy
from tests.pipelines.conftest import contents, write_corpus
from tests.pipelines.model_bundles import make_bundle, make_parts
from tests.pipelines.retraining import Driver, World, files, make_world
from training.gate import Decision

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SMALLER = replace(FIXED, quantiser=replace(FIXED.quantiser, codebook_size=16))  # a codec of other codebooks


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def undisturbed(world) -> Path:
    """A place where a retraining has run from start to end. Not to be changed."""
    place = world.folder / "undisturbed"
    world.registry(place)
    code, output = Driver(world.config(place), place / "logs").finished()
    assert code == 0 and "is promoted" in output, output
    return place


@pytest.fixture
def copy(undisturbed, world, tmp_path) -> Path:
    """Another place where all steps are done, and nothing is decided yet."""
    shutil.copytree(undisturbed / "registry" / "runs", tmp_path / "copy" / "registry" / "runs")
    run = only_run(tmp_path / "copy")
    for name in (DECISION, FINISHED, "report.md"):
        (run / name).unlink()
    world.registry(tmp_path / "copy")
    return tmp_path / "copy"


def only_run(place: Path) -> Path:
    (run,) = (place / "registry" / "runs").iterdir()
    return run


def registry(place: Path) -> Registry:
    return Registry(f"{place}/registry")


def decided(store: Store) -> dict:
    """The decision, all of it but how fast the machine was."""
    found = json.loads(store.get(DECISION))
    return found | {"checks": [check for check in found["checks"] if check["what"] != "speed"]}


def changes(of: Registry) -> list[tuple]:
    return [(entry.number, entry.kind, entry.model, entry.previous, entry.reason, entry.run) for entry in of.history()]


def configuration(config: dict, folder: Path):
    path = folder / f"{uuid.uuid4().hex}.json"
    path.write_text(json.dumps(config))
    return read(["--config", str(path)], prog="retrain")


def test_what_is_better_becomes_the_champion_with_all_that_it_comes_from(world, undisturbed):
    champion = registry(undisturbed).champion()
    run = only_run(undisturbed)
    assert (champion.entry.number, champion.entry.kind, champion.entry.run) == (2, PROMOTION, run.name)
    assert {path.name for path in run.iterdir()} >= {"plan.json", "bundle", DECISION, "report.md", FINISHED, "steps"}
    assert not (run / "lm").is_dir() or not files(run / "lm")  # what was only on the way is gone
    for name in STEPS:
        assert {"step", "seconds", "exit_code", "outputs"} == json.loads((run / f"steps/{name}.json").read_text()).keys()
    about = registry(undisturbed).models.read(champion.model).about
    assert about["parents"]["champion"] == champion.entry.previous and len(about["parents"]["init"]) == 64
    assert about["parents"]["corpora"][0]["name"] == "first" and len(about["parents"]["tokens"]) == 1
    assert "the candidate is promoted" in (run / "report.md").read_text()
    (mark,) = (undisturbed / "data").glob("*/verified.json")
    made = json.loads((run / "steps/simulate.json").read_text())["outputs"]["datasets"]
    assert json.loads(mark.read_text())["id"] == made[0]["id"]


def test_nothing_new_is_said_and_done_until_a_corpus_comes(world, undisturbed, tmp_path):
    before = contents(undisturbed / "registry" / "runs")
    code, output = Driver(world.config(undisturbed), tmp_path).finished()
    assert code == 0 and "nothing new: the champion" in output, output
    assert contents(undisturbed / "registry" / "runs") == before
    write_corpus(tmp_path / "second")
    corpora = [str(world.folder / "corpora"), str(tmp_path / "second")]
    data = configuration(world.config(undisturbed, data={"corpora": corpora}), tmp_path).data
    seen = registry(undisturbed).models.read(registry(undisturbed).champion().model).about["inputs"]
    assert freshness.look(data).unseen(seen) == []  # a copy of what it has seen, elsewhere


# In the order in which they come: the driver is killed as soon as a file of this name is there.
KILLS = [
    *("registry/lease.json", "plan.json", "steps/simulate.json", "steps/encode.json", "checkpoints/step-*2/manifest.json"),
    *("lm/config.json", "steps/train.json", "bundle/codec/config.json", "steps/bundle.json", "evaluation-*/evaluation.json"),
    *("steps/evaluate.json", "steps/judge.json", DECISION, "report.md", "models/*/lm/config.json", "models/*/model.json"),
    *("champion.json", "history/000002.json", FINISHED),
]
SLOW_KILLS = {  # Ray starts anew after each: before which of the others
    "steps/simulate.json": "data/sr-*/rows/*",
    "steps/encode.json": "data/sr-tokens-*/rows/*",
    "evaluation-*/evaluation.json": "evaluation-*/parts/*/*",
}
CHAOS = pytest.mark.skipif(not os.environ.get("QUARKLINE_CHAOS"), reason="takes minutes: set QUARKLINE_CHAOS=1")


@pytest.mark.parametrize("from_scratch", [False, pytest.param(True, marks=CHAOS)])
def test_killed_at_every_step_and_rerun_it_ends_as_undisturbed(world, undisturbed, tmp_path, from_scratch):
    """In short on the data that are there, and from scratch with kills amid simulation, encoding and evaluation, too."""
    place = tmp_path / "killed"
    data = {} if from_scratch else {"out": str(undisturbed / "data")}
    kills = [name for pattern in KILLS for name in (SLOW_KILLS.get(pattern) if from_scratch else None, pattern) if name]
    world.registry(place)
    first = files(place)
    champion = (place / "registry/champion.json").read_bytes()
    num_kills = 0
    for pattern in kills:
        if pattern == "champion.json":
            is_time = lambda: (place / "registry/champion.json").read_bytes() != champion  # noqa: E731
        else:
            is_time = lambda pattern=pattern: any(Path(name).match(pattern) for name in files(place) - first)  # noqa: E731
        driver = Driver(world.config(place, data=data, lease={"ttl_s": 0.5}), tmp_path / "logs")
        num_kills += driver.kill_when(is_time)
        assert driver.process.exitcode in (-9, 0), driver.output()
    code, output = Driver(world.config(place, data=data), tmp_path / "logs").finished()
    assert code == 0, output
    print(f"killed {num_kills} times at {len(kills)} places")
    assert num_kills >= len(kills) - 3  # the last files come too fast for each to be hit
    assert_equal(place, undisturbed)
    assert not from_scratch or contents(place / "data") == contents(undisturbed / "data")


def assert_equal(place: Path, undisturbed: Path) -> None:
    """Decision, champion, history, candidate and evaluation: the same bytes."""
    assert changes(registry(place)) == changes(registry(undisturbed))
    run, other = only_run(place), only_run(undisturbed)
    assert run.name == other.name and decided(open_store(str(run))) == decided(open_store(str(other)))
    assert contents(run / "bundle") == contents(other / "bundle")
    (clips,), (others,) = run.glob("evaluation-*/clips.parquet"), other.glob("evaluation-*/clips.parquet")
    assert clips.read_bytes() == others.read_bytes()
    model = registry(place).champion().model
    assert registry(place).models.fetch(model) and registry(place).models.ids() == registry(undisturbed).models.ids()
    assert ended(run) == ended(other)


def ended(run: Path) -> dict:
    """finished.json, all of it but when and under which lease."""
    return {name: value for name, value in json.loads((run / FINISHED).read_text()).items() if name not in ("at", "token")}


def test_of_two_that_start_at_once_one_runs(world, undisturbed, copy, tmp_path):
    drivers = [Driver(world.config(copy), tmp_path / "logs") for _ in range(2)]
    answers = [driver.finished() for driver in drivers]
    assert [code for code, _ in answers] == [0, 0], answers
    texts = [output for _, output in answers]
    assert sum("is promoted" in text for text in texts) == 1, texts
    assert sum("another run holds the lease" in text or "nothing new" in text for text in texts) == 1, texts
    assert changes(registry(copy)) == changes(registry(undisturbed))


def test_who_keeps_working_keeps_the_other_out(world, copy, tmp_path):
    lease = acquire(registry(copy).store, LeaseConfig(ttl_s=0.5))
    with lease.kept():
        code, output = Driver(world.config(copy), tmp_path / "logs").finished()
    assert code == 0 and "another run holds the lease, and lives" in output
    assert len(registry(copy).history()) == 1


def ready(world, copy, tmp_path):
    """A run in this process that only has to promote, and its outputs."""
    config = configuration(world.config(copy), tmp_path)
    of = registry(copy)
    lease = acquire(of.store, LeaseConfig(ttl_s=0.5))
    run = begin(config, of, of.settle(), freshness.look(config.data), lease)
    outputs = {}
    for name in STEPS:
        outputs |= json.loads(run.store.get(f"steps/{name}.json"))["outputs"]
    return run, outputs


def test_a_champion_that_changed_meanwhile_stays(world, copy, tmp_path):
    run, outputs = ready(world, copy, tmp_path)
    of = registry(copy)
    other = of.models.add(open_store(str(make_bundle(tmp_path, tasks=("sr",)))), {"inputs": []})
    was = of.champion()
    of.change(Entry(PROMOTION, other, was.model, "by hand"), was)
    with pytest.raises(ChampionChanged, match="nothing was done"):
        promote(run, Decision(True, ("better",)), outputs)
    assert of.champion().model == other and ChampionChanged.exit_code == 75


def test_a_run_that_lost_its_lease_does_not_promote(world, copy, tmp_path):
    run, outputs = ready(world, copy, tmp_path)
    assert acquire(run.registry.store, LeaseConfig(ttl_s=0.5)).token == run.lease.token + 1  # it was taken for dead
    with pytest.raises(LeaseLost):
        promote(run, Decision(True, ("better",)), outputs)
    assert len(registry(copy).history()) == 1


def test_what_cannot_be_cleaned_changes_no_outcome(world, copy, tmp_path, capsys):
    config, run = configuration(world.config(copy) | {"keep_runs": 1}, tmp_path), only_run(copy)
    for number in range(2):
        shutil.copytree(run, run.parent / f"old-{number}")
        (run.parent / f"old-{number}" / FINISHED).write_text("{}")
    before = contents(copy / "registry" / "runs")
    lease = acquire(registry(copy).store, LeaseConfig(ttl_s=0.2))
    acquire(registry(copy).store, LeaseConfig(ttl_s=0.2))  # it was taken for dead
    make_room(config, registry(copy), lease)
    assert "the next run goes on" in capsys.readouterr().out and contents(copy / "registry" / "runs") == before
    assert "is promoted" in retrain(config)
    assert "removed what is bulky of 2 old runs" in capsys.readouterr().out and files(run / "bundle")


def test_a_candidate_that_was_rolled_back_does_not_come_again(world, copy, tmp_path):
    config = configuration(world.config(copy), tmp_path)
    assert "is promoted" in retrain(config)
    (only_run(copy) / FINISHED).unlink()  # as if killed after the promotion
    registry(copy).rollback("", "worse in the field")
    assert "is promoted" in retrain(config)  # as was decided
    assert [entry.kind for entry in registry(copy).history()] == ["bootstrap", "promotion", "rollback"]
    assert "nothing new since the run" in retrain(config)


def test_the_first_champion_must_only_be_sound(world, undisturbed, tmp_path):
    place = tmp_path / "first"
    config = configuration(world.config(place), tmp_path)
    of = Registry(config.registry)
    run = begin(config, of, None, freshness.look(config.data), acquire(of.store, LeaseConfig(0.5)))
    shutil.copytree(only_run(undisturbed), place / "registry" / "runs" / run.id)
    for name in (DECISION, FINISHED, "report.md", "steps/judge.json"):
        (only_run(place) / name).unlink()
    assert "the first champion: sound, with nothing to compare it with" in retrain(config)
    assert [(entry.number, entry.kind, entry.previous) for entry in of.history()] == [(1, "bootstrap", "")]
    assert "Nothing to compare with." in (only_run(place) / "report.md").read_text()
    assert "nothing new: the champion" in retrain(config)


def test_from_nothing_to_a_first_champion_and_on_to_another_codec(world, undisturbed, tmp_path):
    """The whole way, and back: on simulated data that are there; what the first codec has encoded is no use to the second."""
    shutil.copytree(undisturbed / "data", tmp_path / "place" / "data")
    codecs = [world.folder / "codec", make_parts(tmp_path / "parts", SMALLER)[0]]
    config = world.config(tmp_path / "place", gate={"min_perplexity_share": 0.5}) | {"keep_runs": 1}
    code, output = Driver(config | {"codec": ""}, tmp_path / "logs").finished()
    assert code == 2 and "there is no champion yet: give --codec a published codec for the first one" in output, output

    code, output = Driver(config, tmp_path / "logs").finished()
    assert code == 0 and "the first champion: sound, with nothing to compare it with" in output, output
    assert "rendered again" not in output  # what another run has verified is not verified again
    of = registry(tmp_path / "place")
    first, run = of.champion(), only_run(tmp_path / "place")
    assert (first.entry.kind, first.entry.previous, first.entry.run) == (BOOTSTRAP, "", run.name)
    told = (run / "report.md").read_text()
    assert "| champion | none yet |" in told and "started with | nothing: there is no champion yet |" in told
    tokens = set((tmp_path / "place" / "data").glob("sr-tokens-*"))
    assert len(tokens) == 1  # those that the other pipeline has made

    changing = config | {"codec": str(codecs[1]), "new_codec": True}
    code, output = Driver(changing, tmp_path / "logs").finished()  # no data are new
    assert code == 0 and "is promoted" in output and "removed what is bulky of 1 old runs" in output, output
    second = of.champion()
    about = of.models.read(second.model).about
    ids = [model_id(codec) for codec in codecs]
    assert (second.entry.kind, second.entry.previous) == (PROMOTION, first.model)
    assert about["parents"]["codec"] == model_id(of.models.fetch(second.model) / "codec") == ids[1]
    assert about["parents"]["init"] == "" and about["inputs"] == of.models.read(first.model).about["inputs"]
    (made,) = set((tmp_path / "place" / "data").glob("sr-tokens-*")) - tokens
    assert about["parents"]["tokens"][0]["place"] == str(made)
    assert json.loads((made / "dataset.json").read_text())["codec"]["id"] == ids[1]
    assert len(list((tmp_path / "place" / "data").glob("sr-*"))) == 3  # nothing is simulated anew
    assert_judged_alike(tmp_path / "place" / "registry" / "runs" / second.entry.run, ids)
    assert not files(run / "bundle") and files(run) >= {"plan.json", DECISION, FINISHED, "report.md", "steps/judge.json"}

    assert f"nothing new: the champion {second.model}" in retrain(configuration(changing, tmp_path))
    found = walk(Lineage("champion", registry=of.url, search=str(tmp_path / "place" / "data")))
    said = "\n".join(found.lines)
    assert f"codec {ids[1][:16]}" in said and ids[0][:16] not in said and str(made) in said and "clips used" in said
    assert of.rollback("", "worse in the field").model == first.model and of.models.fetch(first.model)


def assert_judged_alike(run: Path, codecs: list[str]) -> None:
    """Each with its codec, in one evaluation by the same code, and the report tells why the model started anew."""
    about = json.loads(next(run.glob("evaluation-*/evaluation.json")).read_text())
    assert {name: model["codec"] for name, model in about["parents"]["models"].items()} == dict(
        zip(("champion", "candidate"), codecs)
    )
    assert {"oracle-champion", "oracle-candidate", "input"} <= about["systems"].keys()
    sizes = {name: {row["codebook_size"] for row in rows} for name, rows in about["codebooks"].items()}
    assert sizes["oracle-champion"] == {32} and sizes["oracle-candidate"] == {16}
    told = (run / "report.md").read_text()
    assert "nothing: the champion's language model knows the tokens of another codec" in told and codecs[1][:16] in told


def test_a_candidate_that_is_kept_out_is_judged_once(world, copy, tmp_path):
    config = world.config(copy, gate={"better": [{"metric": "si_sdr", "gain": 1000.0}]})
    run, _ = ready(world, copy, tmp_path)
    of_gate = begin(configuration(config, tmp_path), run.registry, run.champion, freshness.look(run.config.data), run.lease)
    assert of_gate.id != run.id  # another gate is another run
    shutil.copytree(only_run(copy), copy / "registry" / "runs" / of_gate.id)
    (copy / "registry" / "runs" / of_gate.id / "steps" / "judge.json").unlink()
    answer = retrain(configuration(config, tmp_path))
    assert "is kept out\n  no task is better: sr si_sdr: " in answer
    assert "its candidate" in retrain(configuration(config, tmp_path)) and len(registry(copy).history()) == 1


@pytest.mark.s3
def test_on_s3_with_an_outage_and_lost_connections_it_ends_as_in_a_folder(world, undisturbed, s3, s3_server_at, tmp_path):
    place = f"{s3}/{uuid.uuid4().hex}"
    of = world.registry(place)
    with FaultyProxy(s3_server_at.port) as proxy:
        config = world.config(place, data={"out": str(undisturbed / "data")}, lease={"ttl_s": 5.0})
        driver = Driver(config, tmp_path / "logs", AWS_ENDPOINT_URL=proxy.url)
        thread = threading.Thread(target=disturb, args=(proxy, driver, open_store(place)))
        thread.start()
        code, output = driver.finished()
        thread.join()
    assert code == 0 and "is promoted" in output, output
    assert changes(of) == changes(registry(undisturbed))
    run = only_run(undisturbed)
    assert decided(of.store.child(f"runs/{run.name}")) == decided(open_store(str(run)))
    trained = json.loads(Path(config["work"], run.name, "run.json").read_text())["config"]
    assert trained["init"] == f"{of.url}/models/{of.history()[0].model}/lm"


def disturb(proxy: FaultyProxy, driver: Driver, store: Store) -> None:
    """Away for two seconds as the first checkpoint appears, uploads cut and answers lost after."""
    while driver.process.exitcode is None and not any("checkpoints" in name for name in store.list("registry/runs/")):
        time.sleep(0.05)
    proxy.refuse()
    time.sleep(2)
    proxy.accept()
    while driver.process.exitcode is None:
        proxy.cut_upload(after_bytes=50_000)
        proxy.lose_response()
        time.sleep(1)
