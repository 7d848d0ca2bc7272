"""The Ray side of simulate: one task is one shard, bounded in flight, retried, and taken apart where it kills its worker."""

import time
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayTaskError, WorkerCrashedError
from tqdm import tqdm

from infra import cluster, metrics
from infra.command_line import ShardsFailed, TooManyRejects
from infra.dataset import commit_shard, shard_name
from infra.storage import open_store
from pipelines.rendering import ROOT, Isolated, Recipe, code_version, loader, make_shard, render
from simulation.bank import Bank

RETRIES = 3  # of a worker that died, or of a store that could not be reached
FEWEST_REJECTS = 5  # that say anything about a corpus


@dataclass(frozen=True)
class Job:
    """What a worker needs for any shard; sent to it once."""

    recipe: Recipe
    bank: Bank
    corpus_root: str
    out: str
    code: str = field(default_factory=code_version)  # of the driver


@dataclass
class Tally:
    """What has been made so far."""

    examples: int = 0
    seconds: float = 0.0
    rejects: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)  # a line a shard
    crashed: list[int] = field(default_factory=list)  # shards whose worker died at every try
    started: float = field(default_factory=time.monotonic)

    def add(self, done: dict[str, Any], task: str) -> None:
        """Count a committed shard here and for Prometheus."""
        self.examples += done["examples"]
        self.seconds += done["seconds"]
        self.rejects += done["rejects"]
        of = {"verb": "simulate", "task": task}
        metrics.count("quarkline_shards_total", state="committed", **of)
        metrics.count("quarkline_examples_total", done["examples"], **of)
        metrics.count("quarkline_audio_seconds_total", done["seconds"], **of)
        for row in done["rejects"]:
            metrics.count("quarkline_rejects_total", reason=row["reason"], **of)

    def times_real_time(self) -> float:
        return self.seconds / max(time.monotonic() - self.started, 1e-9)


@ray.remote(num_cpus=1, max_retries=RETRIES, retry_exceptions=[OSError])
def shard_task(job: Job, shard: int, isolate: bool) -> dict[str, Any]:
    """Make and commit one shard; only its totals travel back."""
    if job.code != code_version():
        raise RuntimeError(f"{ROOT} on this node has code {code_version()}, the driver {job.code}: check out the same there")
    if isolate:
        with Isolated(job.recipe, job.bank, job.corpus_root) as attempt:
            data, rows = make_shard(job.recipe, shard, attempt)
    else:
        load = loader(job.corpus_root, job.recipe.sample_rate_hz)
        data, rows = make_shard(job.recipe, shard, lambda index, number: render(job.recipe, job.bank, load, index, number))
    commit_shard(open_store(job.out), shard_name(shard), data, rows)
    seconds = sum(row["num_samples"] for row in rows.examples) / job.recipe.sample_rate_hz
    return {"examples": len(rows.examples), "rejects": rows.rejects, "seconds": seconds}


def make_shards(job: Job, shards: list[int], max_reject_share: float) -> Tally:
    """Make these shards on the connected Ray. TooManyRejects ends it early; failed shards are named in the tally."""
    shared = ray.put(job)
    tally = Tally()
    total = sum(len(job.recipe.indices(shard)) for shard in shards)
    with tqdm(total=total, unit="ex", desc=job.recipe.task, dynamic_ncols=True, mininterval=0.5) as bar:
        _make(shared, job.recipe, shards, False, tally, bar, max_reject_share)
        crashed, tally.crashed = tally.crashed, []
        _make(shared, job.recipe, crashed, True, tally, bar, max_reject_share)
    tally.failures += [f"{shard_name(shard)}: its worker died at every try, alone too" for shard in tally.crashed]
    metrics.count("quarkline_shards_total", len(tally.crashed), verb="simulate", task=job.recipe.task, state="failed")
    return tally


def _make(
    shared: ray.ObjectRef, recipe: Recipe, shards: list[int], isolate: bool, tally: Tally, bar: tqdm, limit: float
) -> None:
    for shard, reference in cluster.bounded(lambda shard: shard_task.remote(shared, shard, isolate), shards):
        try:
            done = ray.get(reference)
        except (WorkerCrashedError, OutOfMemoryError, NodeDiedError):
            tally.crashed.append(shard)
            continue
        except RayTaskError as error:
            tally.failures.append(f"{shard_name(shard)}: {type(error.cause).__name__}: {error.cause}")
            metrics.count("quarkline_shards_total", verb="simulate", task=recipe.task, state="failed")
            continue
        tally.add(done, recipe.task)
        bar.update(len(recipe.indices(shard)))
        bar.set_postfix_str(f"{tally.times_real_time():.0f} x real time, {len(tally.rejects)} rejects")
        _hold_to_limit(tally, limit)


def _hold_to_limit(tally: Tally, limit: float) -> None:
    rejected = len(tally.rejects)
    if rejected <= max(FEWEST_REJECTS, limit * (tally.examples + rejected)):
        return
    worst = "\n".join(f"  {row['path']}: {row['reason']}: {row['detail']}" for row in tally.rejects[:5])
    raise TooManyRejects(
        f"{rejected} of {tally.examples + rejected} draws had to be thrown away, more than --max-reject-share {limit}:\n{worst}"
        "\nCheck the corpus (`make corpus` names such files), or raise the limit; committed shards stay, a rerun goes on."
    )


def settle(tally: Tally, asked: int) -> None:
    """ShardsFailed that names the failed shards, if there are any."""
    if tally.failures:
        named = "\n  ".join(tally.failures[:20])
        count = len(tally.failures)
        raise ShardsFailed(f"{count} of {asked} shards failed; the others are committed, a rerun tries these again\n  {named}")
