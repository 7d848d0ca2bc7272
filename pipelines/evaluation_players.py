"""What the page of an evaluation lets hear: which examples, made again as they were judged, as files beside the page.

Generation is drawn by seeds of each example (evaluation_cases.case_seed), so that what is heard is what was judged.
"""

import hashlib
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from ray.exceptions import RayError
from tqdm import tqdm

from infra.actors import Resources, said
from infra.command_line import ShardsFailed
from infra.storage import Store
from pipelines.codec_page import as_file
from pipelines.codec_table import number
from pipelines.evaluation_cases import Case
from pipelines.evaluation_job import Job, Piece, start
from pipelines.evaluation_page import PAGE, Example, Player, Published, metrics_of, models_of, page, ranked, sections
from pipelines.evaluation_summary import paired
from pipelines.evaluation_systems import Waves
from pipelines.listen_page import role
from training.metrics.clip_table import INPUT, METRIC, REASON, TARGET, Evaluation

AUDIO = "heard"  # folder beside the page
KINDS = {"audio/flac": "flac", "image/png": "png"}
Name = tuple[str, str]  # dataset, key
Made = tuple[Case, dict[str, Waves]]  # what each system makes of it
Hear = Callable[[Collection[Name]], Iterable[Made]]


@dataclass(frozen=True)
class Chosen:
    """An example to hear and why."""

    dataset: str
    key: str
    why: str


def add_page(
    store: Store,
    evaluation: Evaluation,
    count: int,
    hear: Hear,
    *,
    published: Mapping[str, Sequence[Published]] | None = None,
) -> None:
    """Audio of `count` examples of each task, then the page, which is put last: a page that is there is whole.

    `published`: figures of others to show beside ours, by task.
    """
    shown = sections(evaluation)
    for section in shown:
        section.published.extend((published or {}).get(section.task, ()))
    chosen = {section.task: choose(evaluation, section.task, count) for section in shown}
    names = {(one.dataset, one.key) for of_task in chosen.values() for one in of_task}
    found: dict[tuple[str, Name], Example] = {}
    whys = {(task, (one.dataset, one.key)): one for task, of_task in chosen.items() for one in of_task}
    for case, waves in tqdm(hear(names), total=len(names), unit="ex", desc="page", dynamic_ncols=True, mininterval=0.5):
        name = case.task, (case.dataset, case.key)
        if name in whys:
            found[name] = example(store, evaluation, whys[name], case, waves)
    for section in shown:
        order = [(section.task, (one.dataset, one.key)) for one in chosen[section.task]]
        section.examples.extend(found[name] for name in order if name in found)
    store.put(PAGE, page(evaluation, shown).encode())


def hear(job: Job, todo: Sequence[Piece], resources: Resources, names: Collection[Name]) -> Iterator[Made]:
    """These examples and what each system makes of them, on Ray. ShardsFailed where one cannot be made again."""
    wanted = [
        replace(piece, keys=(key,)) for piece in todo for key in piece.keys if (piece.dataset_id, key) in names
    ]  # one at a time: waves are large
    if not wanted:
        return
    with start(job, len(wanted), resources) as crew:
        for piece, made in crew.work("hear", wanted):
            if isinstance(made, RayError):
                raise ShardsFailed(
                    f"the numbers are there, the page is not: {piece.dataset}/{piece.shard}: {said(made)}; "
                    "a rerun tries again, and --heard 0 does without a page"
                ) from made
            yield from made


def choose(evaluation: Evaluation, task: str, count: int) -> list[Chosen]:
    """Half of them the worst, half spread over the others from bad to good; by the task's first metric that has values.

    With several models the last is compared with the first, one alone with the input; where there is none its value counts.
    """
    found = _gains(evaluation, task)
    if found is None:
        frame = evaluation.clips.to_pandas()
        first = frame[frame["task"] == task].drop_duplicates(["dataset", "key"]).sort_values(["dataset", "key"])[:count]
        return [Chosen(row["dataset"], row["key"], "nothing to rank by") for row in first.to_dict("records")]
    rows, said = found
    num_worst = min(math.ceil(count / 2), len(rows))
    rest = range(num_worst, len(rows))
    spread = np.unique(np.linspace(num_worst, len(rows) - 1, min(count - num_worst, len(rest))).round().astype(int))
    places = [*range(num_worst), *spread.tolist()]
    return [_chosen(rows.iloc[place], place, said(rows.iloc[place]["gain"]), len(rows)) for place in places]


def _chosen(row: Mapping[str, Any], place: int, said: str, num_rows: int) -> Chosen:
    where = "the worst" if place == 0 else f"{place} of {num_rows} are worse"
    return Chosen(row["dataset"], row["key"], f"{said}: {where}")


def _gains(evaluation: Evaluation, task: str) -> tuple[pd.DataFrame, Callable[[float], str]] | None:
    """Clips with what one system gains over another, the worst first; and how to say a gain."""
    frame = evaluation.clips.to_pandas()
    there = set(frame.loc[frame["task"] == task, "system"])
    models = [name for name in models_of(evaluation) if name in there]
    if not models:
        return None
    a, b = models[-1], models[0] if len(models) > 1 else INPUT if INPUT in there else ""
    both = paired(frame, a, b or a, task)
    for metric in metrics_of(evaluation, task):
        if METRIC + metric not in both:
            continue
        about = evaluation.description["metrics"][metric]
        sign = 1 if about["better"] == "higher" else -1
        gains = sign * (both[METRIC + metric] - (both[f"{METRIC}{metric}_b"] if b else 0))
        rows = both.assign(gain=gains).dropna(subset="gain").sort_values(["gain", "dataset", "key"], kind="stable")
        if len(rows):
            return rows, lambda gain, about=about, sign=sign: _said(about, gain if b else sign * gain, a, b)
    return None


def _said(about: Mapping[str, Any], gain: float, a: str, b: str) -> str:
    value = f"{number(abs(gain) if b else gain)} {about['unit']}".rstrip()
    if not b:
        return f"{about['title']} of {a} {value}"
    return f"{about['title']}: {a} {value} {'better' if gain > 0 else 'worse'} than {b}"


def example(store: Store, evaluation: Evaluation, chosen: Chosen, case: Case, waves: Mapping[str, Waves]) -> Example:
    """Its players; their files are put."""
    folder = f"{AUDIO}/{case.task}-{hashlib.sha256(f'{case.dataset} {case.key}'.encode()).hexdigest()[:12]}"
    rows = _rows(evaluation, case)
    players = []
    for name, system, wave in signals(case, waves, ranked(list(rows), models_of(evaluation))):
        file = f"{folder}/{len(players) + 1:02d}-{re.sub('[^A-Za-z0-9]+', '-', name)}"

        def keep(kind: str, data: bytes, file: str = file) -> str:
            store.put(f"{file}.{KINDS[kind]}", data)
            return f"{file}.{KINDS[kind]}"

        aligned = name != "reference" or case.task == "aec"
        player = role(name, as_file(wave), case.sample_rate_hz, aligned, keep=keep)
        players.append(Player(player, _values(evaluation, case.task, rows.get(system, {}))))
    return Example(case.key, chosen.dataset, chosen.why, _texts(case), players, _failed(rows, waves))


def signals(case: Case, waves: Mapping[str, Waves], systems: Sequence[str]) -> Iterator[tuple[str, str, np.ndarray]]:
    """(name, system or "", wave): what is given, each target, then each system's; "model 2" is for the second target."""
    if case.input is not None:
        yield INPUT, INPUT, case.input
    if case.reference is not None:
        yield "reference", "", case.reference
    made = {TARGET: case.targets} | {name: waves[name] for name in systems if name in waves and name not in (INPUT, TARGET)}
    for place in range(case.num_targets):
        for name, of_system in made.items():
            if place < len(of_system):
                several = f" {place + 1}" if case.num_targets > 1 else ""
                yield name + several, name if place == 0 else "", of_system[place]


def _texts(case: Case) -> dict[str, str]:
    said = " / ".join(text for text in case.transcripts if text)
    texts = {"asked": case.text or "", "target in words": case.described, "target says": said}
    return {name: text for name, text in texts.items() if text}


def _rows(evaluation: Evaluation, case: Case) -> dict[str, dict[str, Any]]:
    """The table's rows of an example, by system."""
    frame = evaluation.clips.to_pandas()
    of_case = frame[(frame["task"] == case.task) & (frame["dataset"] == case.dataset) & (frame["key"] == case.key)]
    return {row["system"]: row for row in of_case.to_dict("records")}


def _values(evaluation: Evaluation, task: str, row: Mapping[str, Any]) -> str:
    about = evaluation.description["metrics"]
    there = {name: row.get(METRIC + name) for name in metrics_of(evaluation, task)}
    worded = [
        f"{about[name]['title']} {number(value)} {about[name]['unit']}".rstrip()
        for name, value in there.items()
        if value is not None and np.isfinite(value)
    ]
    return ", ".join(worded)


def _failed(rows: Mapping[str, Mapping[str, Any]], waves: Mapping[str, Waves]) -> dict[str, str]:
    """Why a system of the table has nothing to hear."""
    found = {}
    for name, row in rows.items():
        if name not in waves and name not in (INPUT, TARGET):
            reasons = [value for column, value in row.items() if column.startswith(REASON) and value]
            found[name] = reasons[0] if reasons else "nothing"
    return found
