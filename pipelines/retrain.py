"""Train on what is new since the champion and promote what is better: `python -m pipelines.retrain --config retrain.toml`.

Looks for data that the champion has not seen; without any it ends. Else it simulates what is missing, encodes it, trains the
champion's language model on all of it, judges both on frozen sets, and lets the gate decide (training/gate.py). One run at a
time holds the lease. Every step's output lies below a folder that is named by champion, inputs and configuration, so that
the same command goes on where a killed one has ended, and a decision is never made twice: a candidate that was kept out, or
was promoted and rolled back, comes again only with other data or another configuration. In the end old runs are cleaned
(pipelines/retention.py). With --dry-run it tells what it would do, and does nothing (pipelines/retrain_plan.py).

Exit codes beside the usual ones: 0 also if nothing is new, the candidate is kept out, or another run is at work; 75 if the
lease was lost or the champion was changed by another meanwhile: the same command then looks anew.
"""

import _thread
import datetime
import json
import signal
from dataclasses import asdict
from typing import Any

from infra import metrics, versions
from infra.command_line import run as run_command
from infra.config import from_json
from infra.lease import Lease, acquire
from infra.registry import BOOTSTRAP, PROMOTION, RUNS, Champion, Entry, Registry
from infra.shards import encode_json
from infra.storage import Store
from pipelines import freshness, frozen, retention, retrain_plan, retrain_report
from pipelines.freshness import Found, Input
from pipelines.rendering import ROOT
from pipelines.retrain_config import Retrain, read
from pipelines.retrain_steps import BUNDLE, CHECKPOINTS, DECISION, FINISHED, LM, PLAN, REPORT, STEPS, Outputs, Run, done, named
from training.gate import Decision

PROMOTED, KEPT_OUT = "promoted", "kept out"


def retrain(config: Retrain) -> str:
    """What came of it, in words. ValueError for what a person can mend, OSError, Stopped."""
    registry = Registry(config.registry)
    frozen.check(config.judging)  # before anything is made
    lease = acquire(registry.store, config.lease)
    if lease is None:
        return "another run holds the lease, and lives: nothing is done here"
    with lease.kept(on_lost=stop_training):
        outcome = _alone(config, registry, lease)
        make_room(config, registry, lease)
        return outcome


def stop_training() -> None:
    """As if SIGTERM had come: training saves and ends; other steps go on to their end, where the lease is looked at."""
    _thread.interrupt_main(signal.SIGTERM)


def make_room(config: Retrain, registry: Registry, lease: Lease) -> None:
    """Remove what old runs need no longer. What cannot be removed is left to the next run: the outcome of this one stands."""
    try:
        gone = retention.clean(registry, lease, config.keep_runs)
        retention.clean_work(config.work, registry)
    except (ValueError, OSError) as error:
        print(f"old runs are not cleaned to the end, the next run goes on: {error}")
        return
    if gone.runs:
        print(f"removed what is bulky of {len(gone.runs)} old runs: {gone.num_bytes / 1e6:.1f} MB")


def _alone(config: Retrain, registry: Registry, lease: Lease) -> str:
    champion = registry.settle()
    _conclude_promoted(registry, champion)
    found = freshness.look(config.data, config.lm.model.tasks)
    for line in found.left_out:
        print(f"left out: {line}")
    fresh = found.unseen(registry.models.read(champion.model).about["inputs"]) if champion else list(found.inputs)
    if not (fresh or config.always or Run("", config, registry, champion, found.inputs, lease).changes_codec):
        return f"nothing new: the champion {champion.model} has seen all {len(found.inputs)} inputs"
    run = begin(config, registry, champion, found, lease)
    if run.store.exists(FINISHED):
        outcome = json.loads(run.store.get(FINISHED))
        return f"nothing new since the run {run.id}: its candidate {outcome['candidate']} was {outcome['outcome']}"
    retrain_plan.check(run)
    run.store.create(PLAN, encode_json(_plan(run, fresh)))
    outputs: Outputs = {}
    for name, make in STEPS.items():
        outputs |= done(run, name, make, outputs)
    return _settle(run, fresh, outputs)


def begin(config: Retrain, registry: Registry, champion: Champion | None, found: Found, lease: Lease) -> Run:
    """The run of this champion, these inputs and this configuration, wherever it stands."""
    return named(Run("", config, registry, champion, found.inputs, lease))


def _plan(run: Run, fresh: list[Input]) -> dict[str, Any]:
    return {
        "run": run.id,
        "token": run.lease.token,  # of the lease: the run is older than those with a larger one
        "champion": run.champion.model if run.champion else "",
        "inputs": [asdict(one) for one in run.inputs],
        "fresh": [one.key for one in fresh],
        "config": run.config.identity(),
    }


def _settle(run: Run, fresh: list[Input], outputs: Outputs) -> str:
    """Write down the decision, act on it, and conclude the run."""
    decision = from_json(Decision, outputs["decision"], DECISION)
    about = {
        "run": run.id,
        "champion": run.champion.model if run.champion else "",
        "candidate": outputs["candidate"],
        "codec": outputs["codec"],
        "start": outputs.get("start", ""),
        "evaluation_id": outputs["evaluation_id"],
        "fresh": [f"{one.name} {one.key}" for one in fresh],
        "num_inputs": len(run.inputs),
    }
    run.store.create(DECISION, encode_json(about | outputs["decision"]))
    run.store.put(REPORT, retrain_report.text(about, decision).encode())
    if decision.promote:
        promote(run, decision, outputs)
    outcome = {"outcome": PROMOTED if decision.promote else KEPT_OUT, "candidate": outputs["candidate"]}
    _finish(run.store, outcome | {"reasons": list(decision.reasons)}, run.lease.token)
    metrics.count("quarkline_retrain_decisions_total", decision=outcome["outcome"])
    why = "\n  ".join(decision.reasons)
    return f"run {run.id}: the candidate {outputs['candidate']} is {outcome['outcome']}\n  {why}\n  {run.store.url}/{REPORT}"


def promote(run: Run, decision: Decision, outputs: Outputs) -> None:
    """Put the candidate among the models and in the champion's place, unless this run has done so before.

    LeaseLost, ChampionChanged: then nothing is changed.
    """
    if any(entry.run == run.id for entry in run.registry.history()):
        return
    run.lease.check()
    parents = {
        "champion": run.champion.model if run.champion else "",
        "codec": outputs["codec"],
        "lm": outputs["lm"],
        "init": outputs["init"],
        "tokens": outputs["tokens"],
        "datasets": outputs["datasets"],
        "corpora": [{"id": one.parent, "name": one.name, "place": one.place} for one in run.inputs if one.task],
        "evaluation": outputs["evaluation_id"],
        "commit": versions.git_commit(ROOT),
    }
    about = {"run": run.id, "inputs": [one.key for one in run.inputs], "parents": parents}
    model = run.registry.models.add(run.store.child(BUNDLE), about)
    if model != outputs["candidate"]:
        raise ValueError(f"{run.store.url}/{BUNDLE}: not the candidate that was judged: it was changed meanwhile")
    run.lease.check()
    kind = PROMOTION if run.champion else BOOTSTRAP
    previous = run.champion.model if run.champion else ""
    run.registry.change(Entry(kind, model, previous, decision.reasons[0], run.id, run.lease.token), run.champion)


def _conclude_promoted(registry: Registry, champion: Champion | None) -> None:
    """Finish a run that was killed between its promotion and its end."""
    if champion is not None and champion.entry.run:
        entry = champion.entry
        store = registry.store.child(RUNS).child(entry.run)
        if not store.exists(FINISHED):
            _finish(store, {"outcome": PROMOTED, "candidate": champion.model, "reasons": [entry.reason]}, entry.token)


def _finish(store: Store, outcome: dict[str, Any], token: int) -> None:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    store.create(FINISHED, encode_json(outcome | {"token": token, "at": now}))
    for place in (LM, CHECKPOINTS):
        for name in store.list(f"{place}/"):
            store.delete(name)


def main(argv: list[str]) -> int:
    config = read(argv, prog="pipelines.retrain")
    print(retrain_plan.foreseen(config) if config.dry_run else retrain(config))
    return 0


if __name__ == "__main__":
    from pipelines import retrain as module  # by its name: what Ray's workers are sent is found there

    run_command(module.main)
