"""The steps of a retraining, each one of the other verbs with its output at a place that the run's id gives.

<registry>/runs/<id>/
    plan.json            champion, inputs and configuration that the id is made of
    steps/<step>.json    put when a step is done: its outputs, seconds, exit code; a rerun takes the outputs and goes on
    failures/...         the same of tries that ended with an error
    lm/ checkpoints/     the language model, and training on the way there; removed when the run has ended
    bundle/              the candidate
    evaluation-<id>/     of champion and candidate
    decision.json, report.md
    finished.json        promoted or not; put last; pipelines/retention.py says what then stays for how long
"""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from codec.model import Codec
from infra import metrics, model_store
from infra.actors import Resources
from infra.command_line import EXIT_INTERRUPTED, EXIT_OUTSIDE, EXIT_USAGE
from infra.config import fingerprint, to_json
from infra.dataset import Dataset, open_dataset
from infra.lease import Lease
from infra.model_folder import CONFIG, WEIGHTS, local_folder, model_id
from infra.registry import RUNS, Champion, Registry
from infra.shards import encode_json
from infra.storage import Store, open_store
from pipelines.bundle import Bundle, MakeBundle, card_of
from pipelines.encode import Encode, encode
from pipelines.freshness import Input, simulation
from pipelines.retrain_config import Retrain
from pipelines.simulate import simulate
from pipelines.train_lm import train_lm
from pipelines.verify import Verify, verify_once
from training import gate
from training.metrics import clip_table

PLAN, DECISION, REPORT, FINISHED = "plan.json", "decision.json", "report.md", "finished.json"
BUNDLE, LM, CHECKPOINTS = "bundle", "lm", "checkpoints"
CHAMPION, CANDIDATE = "champion", "candidate"
EXIT_CRASHED = 1


@dataclass(frozen=True, eq=False)
class Run:
    """One retraining: what it is made of, and where it puts things."""

    id: str
    config: Retrain
    registry: Registry
    champion: Champion | None
    inputs: tuple[Input, ...]
    lease: Lease | None  # None: only to look

    @functools.cached_property
    def store(self) -> Store:
        return self.registry.store.child(RUNS).child(self.id)

    @functools.cached_property
    def champion_folder(self) -> Path | None:
        """The champion on this machine, every file held to its hash."""
        return self.registry.models.fetch(self.champion.model) if self.champion else None

    @functools.cached_property
    def codec(self) -> str:
        """Place of the codec, which all nodes can read."""
        if self.champion is None or self.config.new_codec:
            if not self.config.codec:
                raise ValueError("there is no champion yet: give --codec a published codec for the first one")
            return self.config.codec
        return f"{self.registry.models.store.url}/{self.champion.model}/codec"

    @functools.cached_property
    def changes_codec(self) -> bool:
        """Whether another codec takes the place of the champion's."""
        if self.champion is None or not self.config.new_codec:
            return False
        before = f"{self.registry.models.store.url}/{self.champion.model}/codec"
        return model_id(local_folder(self.codec)) != model_id(local_folder(before))

    @property
    def start(self) -> str:
        """Place of the weights that training starts with, which all nodes can read; "" for none.

        A language model knows the tokens of one codec only.
        """
        if self.champion is None or not self.config.warm_start or self.changes_codec:
            return ""
        return f"{self.registry.models.store.url}/{self.champion.model}/{LM}"

    @property
    def start_said(self) -> str:
        """The same in words, with the reason."""
        if self.champion is None:
            return "nothing: there is no champion yet"
        if self.changes_codec:
            return "nothing: the champion's language model knows the tokens of another codec"
        return "the champion's weights" if self.config.warm_start else "nothing: --no-warm-start"


def named(run: Run) -> Run:
    """The run with its id: of the champion, the codec, the inputs and the configuration, wherever they are."""
    made_of = {
        "champion": run.champion.model if run.champion else "",
        "codec": model_id(local_folder(run.codec)),
        "inputs": [one.key for one in run.inputs],
        "config": run.config.identity(),
    }
    return replace(run, id=fingerprint(made_of))


Outputs = dict[str, Any]
Step = Callable[[Run, Outputs], Outputs]


def done(run: Run, name: str, make: Step, before: Outputs) -> Outputs:
    """The step's outputs: those of an earlier try, or made now. LeaseLost if another run has taken over."""
    mark = f"steps/{name}.json"
    if not run.store.exists(mark):
        run.lease.check()
        print(f"retrain {run.id}: {name}", flush=True)
        started = time.monotonic()
        try:
            outputs = make(run, before)
        except BaseException as error:
            said = {"step": name, "seconds": _since(started), "exit_code": exit_code(error), "error": str(error)[:1000]}
            run.store.put(f"failures/{run.lease.token:06d}-{name}.json", encode_json(said))
            raise
        seconds = _since(started)
        metrics.observe("quarkline_retrain_step_seconds", seconds, step=name)
        run.store.create(mark, encode_json({"step": name, "seconds": seconds, "exit_code": 0, "outputs": outputs}))
    return msgspec.json.decode(run.store.get(mark))["outputs"]


def exit_code(error: BaseException) -> int:
    """What a process that ends with this error exits with."""
    if hasattr(error, "exit_code"):
        return error.exit_code
    kinds = {ValueError: EXIT_USAGE, OSError: EXIT_OUTSIDE, KeyboardInterrupt: EXIT_INTERRUPTED}
    return next((code for kind, code in kinds.items() if isinstance(error, kind)), EXIT_CRASHED)


def simulate_step(run: Run, before: Outputs) -> Outputs:
    """The task datasets of all inputs, those that are missing made and verified."""
    found = []
    for one in run.inputs:
        dataset = _simulated(run, one) if one.task else open_dataset(open_store(one.place))
        if _parent(dataset, one) != one.parent:
            raise ValueError(f"{one.place}: it has changed since this run began; rerun to train on what is there now")
        found.append({"input": one.key, "place": dataset.store.url, "id": dataset.description["id"]})
    return {"datasets": found}


def _simulated(run: Run, one: Input) -> Dataset:
    config, task = simulation(run.config.data, one)
    dataset = simulate(config, task)
    if verify_once(dataset, Verify(rerender=run.config.data.rerender, workers=config.workers)):
        raise ValueError(f"{dataset.store.url}: new data that do not verify; the lines above say why")
    return dataset


def _parent(dataset: Dataset, one: Input) -> str:
    return dataset.description["parents"]["corpus"]["id"] if one.task else dataset.description["id"]


def encode_step(run: Run, before: Outputs) -> Outputs:
    """The tokens of all datasets."""
    folder, data = local_folder(run.codec), run.config.data
    codec, codec_id, found = Codec.from_pretrained(folder), model_id(folder), []
    for one in before["datasets"]:
        resources = Resources(data.workers, data.gpus_per_worker, data.max_workers)
        config = Encode(one["place"], run.codec, data.out, input_codes=run.config.lm.model.copies, resources=resources)
        tokens = encode(config, open_dataset(open_store(one["place"])), codec, codec_id)
        found.append({"place": tokens.store.url, "id": tokens.description["id"], "dataset": one["id"]})
    return {"tokens": found, "codec": codec_id}


def train_step(run: Run, before: Outputs) -> Outputs:
    """The language model, trained to the end and copied to where every machine finds it."""
    print(f"the language model starts with {run.start_said}", flush=True)
    init = model_id(run.champion_folder / LM) if run.start else ""
    tokens = ",".join(one["place"] for one in before["tokens"])
    place = f"{run.config.work}/{run.id}"
    config = replace(
        run.config.lm, data=tokens, init=run.start, out=place, checkpoints=f"{run.store.url}/{CHECKPOINTS}", report=False
    )
    folder = train_lm(config, run.config.preset) / "model"
    for name in (CONFIG, WEIGHTS):
        run.store.put(f"{LM}/{name}", (folder / name).read_bytes())
    return {"lm": model_id(folder), "init": init, "start": run.start_said}


def bundle_step(run: Run, before: Outputs) -> Outputs:
    """The candidate."""
    places = [one["place"] for one in before["datasets"]]
    card = card_of(MakeBundle("", "", "", data=",".join(places), licence=run.config.licence))
    store = Bundle.create(run.codec, f"{run.store.url}/{LM}", f"{run.store.url}/{BUNDLE}", card)
    return {"candidate": model_store.identify(store)}


def evaluate_step(run: Run, before: Outputs) -> Outputs:
    """Champion and candidate, side by side on the frozen sets by the code of this checkout."""
    from pipelines.evaluate import Evaluate, evaluate  # here, because its metrics take a while to import

    judging, data = run.config.judging, run.config.data
    models = {CANDIDATE: f"{run.store.url}/{BUNDLE}"}
    if run.champion:
        models = {CHAMPION: f"{run.registry.models.store.url}/{run.champion.model}"} | models
    config = Evaluate(
        model=",".join(f"{name}={place}" for name, place in models.items()),
        data=",".join(frozen.place for frozen in judging.datasets),
        out=run.store.url,
        resources=Resources(data.workers, data.gpus_per_worker, data.max_workers),
        **judging.shared(),
    )
    return {"evaluation": evaluate(config)}


def judge_step(run: Run, before: Outputs) -> Outputs:
    """The decision of the gate."""
    evaluation = clip_table.read(open_store(before["evaluation"]))
    decision = judged(evaluation, run.config.gate, is_first=run.champion is None)
    return {"evaluation_id": evaluation.id, "decision": to_json(decision)}


def judged(evaluation: clip_table.Evaluation, config: gate.GateConfig, is_first: bool) -> gate.Decision:
    """What the gate says of an evaluation of "champion" and "candidate"."""
    about, clips = evaluation.description, evaluation.clips.to_pandas()
    codebooks = {
        name: about["codebooks"].get(f"{clip_table.ORACLE}-{name}", about["codebooks"].get(clip_table.ORACLE, ()))
        for name in (CHAMPION, CANDIDATE)
    }
    directions = {name: metric["better"] for name, metric in about["metrics"].items()}
    facts = gate.Facts(directions, codebooks, about["real_time_factor"])
    candidate = clips[clips["system"] == CANDIDATE]
    if is_first:
        return gate.first(candidate, facts, config)
    return gate.decide(clips[clips["system"] == CHAMPION], candidate, facts, config)


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)


STEPS: dict[str, Step] = {
    "simulate": simulate_step,
    "encode": encode_step,
    "train": train_step,
    "bundle": bundle_step,
    "evaluate": evaluate_step,
    "judge": judge_step,
}
