"""What old runs of retraining leave: what is bulky goes, what tells how things came about stays.

<registry>/runs/<id>/ of a run that has ended
    stays    plan.json, steps/, failures/, decision.json, report.md, finished.json
             evaluation-<id>/: clips.parquet, evaluation.json, run.json, report.html (whose players are then silent)
    goes     lm/ and checkpoints/ at once; bundle/, the parts and the audio of the evaluation when `keep_runs` later runs have
             ended. The champion's own run stays whole, whatever its age.

A run that never ended (killed, and then came new data or another champion) is abandoned when `keep_runs` later ones have: step
by step, the last one first, the mark that it is done goes and then what it has made. So cleaning may be killed anywhere, and
should that run ever come again, it goes on from the last step that is whole.

Models in the registry, whose files are copies, and data and tokens, which later runs build on, are not touched. Ages are
tokens of the lease: they grow from holder to holder, whatever the clocks say.
"""

import json
from collections import defaultdict
from dataclasses import dataclass, field

from infra.lease import Lease
from infra.registry import RUNS, Registry
from infra.storage import FolderStore, Store
from pipelines.retrain_steps import BUNDLE, CHECKPOINTS, DECISION, FINISHED, LM, PLAN, REPORT
from pipelines.train_run import MODEL, RUN
from training.metrics import clip_table

EVALUATION, PAGE = "evaluation-", "report.html"
ON_THE_WAY = (f"{LM}/", f"{CHECKPOINTS}/")
MADE = {"evaluate": (EVALUATION,), "bundle": (f"{BUNDLE}/",), "train": ON_THE_WAY}  # the last one first
STAYS = (clip_table.CLIPS, clip_table.DESCRIPTION, RUN, PAGE)


@dataclass
class Cleaning:
    """Removes, and remembers what."""

    store: Store  # of all runs
    lease: Lease
    runs: set[str] = field(default_factory=set)
    num_bytes: int = 0

    def remove(self, run: str, names: list[str], sizes: dict[str, int]) -> None:
        """These files, in this order. LeaseLost before the first."""
        if names:
            self.lease.check()
            self.runs.add(run)
        for name in names:
            self.store.child(run).delete(name)
            self.num_bytes += sizes[name]


def is_bulky(name: str) -> bool:
    """Whether a file of a run, by its name there, goes when the run is old."""
    folder, _, rest = name.partition("/")
    if folder.startswith(EVALUATION):
        return rest not in ("", *STAYS)
    return name.startswith((f"{BUNDLE}/", *ON_THE_WAY))


def clean(registry: Registry, lease: Lease, keep_runs: int) -> Cleaning:
    """Remove what is bulky of all runs but the last `keep_runs` ended ones. LeaseLost, StorageError: a later call goes on."""
    store = registry.store.child(RUNS)
    runs, cleaning = _by_run(store), Cleaning(store, lease)
    bulky = {run for run, files in runs.items() if any(map(is_bulky, files))}
    ages = {run: _token(store.child(run), FINISHED) for run in bulky if FINISHED in runs[run]}
    if bulky - ages.keys():  # killed between promotion and end: not abandoned
        ages |= {entry.run: entry.token for entry in registry.history() if entry.run in bulky - ages.keys()}
    newest = sorted(ages, key=lambda run: (-ages[run], run))[:keep_runs]
    whole = {*newest, _of_champion(registry)}
    for run in sorted(ages):
        gone = [name for name in runs[run] if is_bulky(name) and (run not in whole or name.startswith(ON_THE_WAY))]
        cleaning.remove(run, gone, runs[run])
    oldest = min(ages[run] for run in newest) if len(newest) == keep_runs else 0
    for run in sorted(bulky - ages.keys()):
        if PLAN in runs[run] and _token(store.child(run), PLAN) < oldest:
            cleaning.remove(run, abandoned(runs[run]), runs[run])
    return cleaning


def clean_work(folder: str, registry: Registry) -> None:
    """Remove the models of ended runs from the folder of training runs: each is in its run's bundle. Curves stay."""
    work, store = FolderStore(folder), registry.store.child(RUNS)
    ended: dict[str, bool] = {}
    for name in work.list():
        run, _, rest = name.partition("/")
        if rest.startswith(f"{MODEL}/"):
            if run not in ended:
                ended[run] = store.exists(f"{run}/{FINISHED}")
            if ended[run]:
                work.delete(name)


def abandoned(files: dict[str, int]) -> list[str]:
    """What goes of a run that never ended, in this order: no mark of a step outlives what that step or one before has made."""
    found = [REPORT, DECISION, "steps/judge.json"]
    for step, made in MADE.items():
        found += [f"steps/{step}.json", *(name for name in files if is_bulky(name) and name.startswith(made))]
    return [name for name in found if name in files]


def _by_run(store: Store) -> dict[str, dict[str, int]]:
    """Of each run its files and their sizes in bytes."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for name, num_bytes in store.list().items():
        run, _, rest = name.partition("/")
        found[run][rest] = num_bytes
    return found


def _of_champion(registry: Registry) -> str:
    champion = registry.champion()
    return registry.models.read(champion.model).about.get("run", "") if champion else ""


def _token(store: Store, name: str) -> int:
    """Of the lease under which the file was put; 0 where it does not say."""
    try:
        return int(json.loads(store.get(name)).get("token", 0))
    except (FileNotFoundError, ValueError):
        return 0
