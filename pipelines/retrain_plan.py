"""What a retraining would do, told without doing it (`--dry-run`), and what can be seen to be wrong before anything is made."""

import json
from collections.abc import Iterator

from codec.model import Codec
from infra import lease
from infra.corpus_schema import nearest
from infra.model_folder import local_folder
from infra.registry import RUNS, Registry
from pipelines import freshness, frozen
from pipelines.retrain_config import Retrain
from pipelines.retrain_steps import FINISHED, STEPS, Run, named
from training.gate import GateConfig


def check(run: Run) -> None:
    """ValueError for what would otherwise end the run after hours: the codec's rate, metrics of the gate that cannot be."""
    rate_hz, data = Codec.from_pretrained(local_folder(run.codec)).config.sample_rate_hz, run.config.data
    if rate_hz != data.sample_rate_hz:  # datasets from elsewhere have that one, too, or were left out
        raise ValueError(
            f"the codec {run.codec} takes {rate_hz} Hz, data.sample_rate_hz is {data.sample_rate_hz}: make them equal"
        )
    check_gate(run.config)


def check_gate(config: Retrain) -> None:
    """ValueError for a rule about a task that is not judged, or a metric that it, or every judged task, will not have."""
    from pipelines.evaluation_job import Judging  # here, because its metrics take a while to import
    from training.metrics.task_metrics import of_task

    judging = config.judging
    chosen = Judging(judging.metrics, judging.plug_in, judging.recogniser).chosen()
    tasks = sorted({dataset.description["recipe"]["task"] for dataset in frozen.check(judging)})
    there = {task: {metric.name: metric for metric in of_task(task, chosen)} for task in tasks}
    of_any = {name: metric for of_one in there.values() for name, metric in of_one.items()}
    for name, task in _metrics_wanted(config.gate, tasks):
        if task and task not in there:
            raise ValueError(f"gate: {name}: no task {task!r} is judged; {nearest(task, tasks)}")
        found = there[task] if task else of_any
        if name not in found:
            raise ValueError(f"gate: no metric {name!r} of {task or ', '.join(tasks)} is judged; {nearest(name, found)}")
        if why := found[name].why_not():
            raise ValueError(f"gate: the metric {name!r} would have no value: {why}")


def _metrics_wanted(gate: GateConfig, judged: list[str]) -> Iterator[tuple[str, str]]:
    """The metric of each rule, with each task that must have it; "" where it is enough if any judged one has it."""
    own = {rule.task for rule in gate.better}
    others = tuple(task for task in judged if task not in own) if gate.needed == "all" else ()
    for rule in gate.better:
        yield from ((rule.metric, task) for task in ((rule.task,) if rule.task else others or ("",)))
    for limit in gate.limits:
        yield from ((limit.metric, task) for task in limit.tasks or ("",))


def foreseen(config: Retrain) -> str:
    """What `retrain` would do now. Nothing is written, and no lease taken. ValueError as from `retrain`."""
    return "\n".join(_lines(config))


def _lines(config: Retrain) -> Iterator[str]:
    registry = Registry(config.registry)
    judged_on = frozen.check(config.judging)
    champion, found = registry.champion(), freshness.look(config.data, config.lm.model.tasks)
    holder = lease.holder(registry.store)
    yield f"registry {registry.url}"
    yield f"  lease: {f'held by {holder}' if holder else 'free'}"
    yield f"  champion: {f'{champion.model}, entry {champion.entry.number}' if champion else 'none yet'}"
    fresh = found.unseen(registry.models.read(champion.model).about["inputs"]) if champion else list(found.inputs)
    yield f"{len(found.inputs)} inputs, {len(fresh)} of them new"
    yield from (f"  new: {one.name} {one.key}  {one.place}" for one in fresh)
    yield from (f"  left out: {line}" for line in found.left_out)
    asked = Run("", config, registry, champion, found.inputs, lease=None)
    if not (fresh or config.always or asked.changes_codec):
        yield "nothing new: nothing would be done"
        return
    run = named(asked)
    if run.store.exists(FINISHED):
        outcome = json.loads(run.store.get(FINISHED))
        yield f"nothing new since the run {run.id}: its candidate {outcome['candidate']} was {outcome['outcome']}"
        return
    check(run)
    yield f"run {run.id}  {registry.url}/{RUNS}/{run.id}"
    yield f"  codec: {run.codec}" + (" in place of the champion's" if run.changes_codec else "")
    yield f"  the language model would start with {run.start_said}, {config.lm.loop.steps} steps"
    yield from (f"  {name}: {'done' if run.store.exists(f'steps/{name}.json') else 'to do'}" for name in STEPS)
    yield from (f"  judged on: {one.store.url}  {one.manifest.num_rows} examples" for one in judged_on)
    yield from _rules(config.gate, is_first=champion is None)


def _rules(gate: GateConfig, is_first: bool) -> Iterator[str]:
    if is_first:
        yield "  gate: the first champion must only be sound"
        return
    for rule in gate.better:
        where = f"in {rule.task}" if rule.task else f"{gate.needed} of the tasks"
        yield f"  gate: better {rule.metric} by more than {rule.gain:g}, {where}"
    for limit in gate.limits:
        where = ", ".join(limit.tasks) or "each task"
        yield f"  gate: {limit.metric} worse by less than {limit.margin:g}, {where} and each slice"
