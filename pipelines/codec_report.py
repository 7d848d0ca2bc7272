"""Judge a codec on held-out clips: `python -m pipelines.codec_report --model data/codec-tiny-.../model --corpus ../corpus`.

Writes report.json (every number) and report.html (tables and players, needs nothing else), and prints the table. Two trivial
systems stand beside the codec, and the codec before training where it is given.
"""

import collections
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import nn
from tqdm import tqdm

from codec.model import Codec
from infra.command_line import run
from infra.config import to_json
from infra.shards import encode_json
from infra.storage import Store, open_store
from infra.versions import git_commit
from pipelines import corpus as corpora
from pipelines.codec_measures import CodeCounts, codec_id, num_parameters, reconstruct, speed
from pipelines.codec_page import Example, example, page
from pipelines.codec_table import (
    CODEC,
    FROM_MEL,
    NARROW,
    ORIGINAL,
    PUBLISHED,
    PUBLISHED_COLUMNS,
    PUBLISHED_ON,
    SYSTEMS,
    Report,
    Row,
    aggregate,
    text,
)
from training.baselines import griffin_lim, narrow_band
from training.data.config import DataConfig
from training.data.held_out import HeldOut, Item, held_out, identity
from training.metrics.plug_in import PlugIn, parse
from training.metrics.registry import Metric, choose
from training.metrics.scoring import Pair, score_pairs

REPORT, PAGE = "report.json", "report.html"
NUM_TIMED = 8  # clips that the speed is measured on
SHORTEST_S = 0.1


@dataclass(frozen=True)
class Options:
    """What a report is made of beside the codec and the clips."""

    others: Mapping[str, nn.Module] = field(default_factory=dict)  # further codecs of the same rate, e.g. {"step 0": codec}
    parents: Mapping[str, str | Sequence[str]] = field(default_factory=dict)  # ids of what clips and weights are from
    metrics: tuple[str, ...] = ()  # all, if empty
    plug_ins: tuple[PlugIn, ...] = ()
    num_processes: int = 0  # that score; 0 scores in this one
    num_heard: int = 4  # clips of each domain on the page
    seed: int = 0


def report(codec: nn.Module, items: Sequence[Item], out: Store, options: Options | None = None) -> Report:
    """Judge, write report.json and then report.html to `out`, print the table.

    ValueError: no clips, clips or codecs of another rate, a clip that is not mono or shorter than 0.1 s.
    """
    options = options or Options()
    systems = {CODEC: codec, **options.others}
    _check(systems, items)
    modes = {name: system.training for name, system in systems.items()}
    try:
        for system in systems.values():
            system.eval()
        found, examples = _judge(systems, items, options)
    finally:
        for name, system in systems.items():
            system.train(modes[name])
    out.put(REPORT, encode_json(to_json(found)))
    out.put(PAGE, page(found, examples).encode())
    print(text(found))
    print(f"\n{out.url}/{PAGE}: open it in a browser; every number is in {REPORT}")
    return found


def _check(systems: Mapping[str, nn.Module], items: Sequence[Item]) -> None:
    rate_hz = systems[CODEC].config.sample_rate_hz
    if not items:
        raise ValueError("no held-out clips to judge the codec on: choose another corpus or split")
    for name, system in systems.items():
        if system.config.sample_rate_hz != rate_hz:
            raise ValueError(f"{name} is for {system.config.sample_rate_hz} Hz, the codec for {rate_hz} Hz: they must be equal")
    for item in items:
        if item.sample_rate_hz != rate_hz or np.ndim(item.wave) != 1 or len(item.wave) < SHORTEST_S * rate_hz:
            what = f"{np.shape(item.wave)} samples at {item.sample_rate_hz} Hz"
            raise ValueError(f"clip {item.key} has {what}: the report takes mono of {SHORTEST_S} s or more at {rate_hz} Hz")


def _judge(systems: Mapping[str, nn.Module], items: Sequence[Item], options: Options) -> tuple[Report, list[Example]]:
    codec, grouping = systems[CODEC], systems[CODEC].config.grouping
    timed = speed(codec, [item.wave for item in items[:NUM_TIMED]])  # before other processes take the CPU
    metrics, counts = choose(options.metrics, options.plug_ins), CodeCounts(grouping.max_frames if grouping else 1)
    names = [ORIGINAL, *systems, NARROW, FROM_MEL]
    heard, kept = _heard(items, options.num_heard), {}  # kept: waves of clips for the page, until they are scored

    def pairs() -> Iterator[Pair]:
        for number, item in enumerate(tqdm(items, "judge", unit="clip", disable=None)):
            waves = dict(zip(names, _resyntheses(systems, item, counts, options.seed), strict=True))
            if number in heard:
                kept[number] = waves
            for name, wave in waves.items():
                yield Pair(item.wave, wave, item.sample_rate_hz, item.domain, is_original=name == ORIGINAL)

    scores, rows, examples = score_pairs(pairs(), metrics, options.num_processes), [], []
    for number, item in enumerate(items):
        of_item = dict(zip(names, itertools.islice(scores, len(names)), strict=True))
        cluster = item.speaker or item.group or item.key
        rows.append(Row(item.key, item.domain, cluster, len(item.wave) / item.sample_rate_hz, of_item))
        if number in kept:
            examples.append(example(rows[-1], kept.pop(number), item.sample_rate_hz))
    return Report(
        codec=_facts(codec),
        parents={"clips": identity(items), "code": git_commit(Path.cwd()), **options.parents},
        metrics={metric.name: described(metric) for metric in metrics},
        systems={name: SYSTEMS.get(name, "") for name in names},
        rate=counts.rate(),
        speed=timed,
        usage=counts.usage(),
        table=aggregate(rows, metrics, options.seed),
        rows=rows,
        published={"data": PUBLISHED_ON, "columns": PUBLISHED_COLUMNS, "codecs": PUBLISHED},
    ), examples


def _heard(items: Sequence[Item], num_heard: int) -> set[int]:
    """Numbers of the first clips of each domain."""
    by_domain = collections.defaultdict(list)
    for number, item in enumerate(items):
        by_domain[item.domain].append(number)
    return {number for numbers in by_domain.values() for number in numbers[:num_heard]}


def _resyntheses(systems: Mapping[str, nn.Module], item: Item, counts: CodeCounts, seed: int) -> Iterator[np.ndarray]:
    """The clip, what each codec makes of it, and the two trivial systems; the codec's codes are counted."""
    yield item.wave
    for name, system in systems.items():
        wave, codes = reconstruct(system, item.wave)
        if name == CODEC:
            counts.add(codes, item.sample_rate_hz)
        yield wave
    yield narrow_band(item.wave, item.sample_rate_hz)
    yield griffin_lim(item.wave, item.sample_rate_hz, seed)


def _facts(codec: nn.Module) -> dict[str, Any]:
    config = codec.config
    facts = {"id": codec_id(codec), "num_parameters": num_parameters(codec), "sample_rate_hz": config.sample_rate_hz}
    return facts | {"codebook_size": config.quantiser.codebook_size, "config": to_json(config)}


def described(metric: Metric) -> dict[str, Any]:
    """What a report says of a metric."""
    facts = {name: getattr(metric, name) for name in ("title", "unit", "better", "about")}
    return facts | {"versions": metric.versions(), "why_not": metric.why_not()}


@dataclass(frozen=True)
class CodecReport:
    """Which codec to judge, on what, and where to put the report."""

    model: str
    """A folder with config.json and model.safetensors, or a hub id."""
    corpus: str = ""
    """Its test split is used: a manifest, a folder or an s3:// prefix; the synthetic starter corpus if nothing is named."""
    data: tuple[str, ...] = ()
    """Datasets of `make simulate` from a test split, to judge on as well."""
    out: str = ""
    """Folder or s3:// prefix for report.json and report.html; the one that holds the model's folder, if not given."""
    step_0: str = ""
    """The same codec before it was trained, to stand beside it."""
    choice: HeldOut = field(default_factory=HeldOut)
    metrics: tuple[str, ...] = ()
    """Only these."""
    plug_in: tuple[str, ...] = ()
    """Metrics with weights of yours: NAME=FILE.onnx@SHA256, NAME=MODULE:FUNCTION@FILE@SHA256 or NAME=MODULE:FUNCTION."""
    heard: int = 4
    """Clips of each domain to listen to on the page."""
    workers: int | None = None
    """Processes that score; 0 scores in this one. If not given, one for each CPU."""
    device: str = ""
    """cpu, cuda ...; a GPU if there is one."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.heard < 0 or (self.workers or 0) < 0:
            raise ValueError(f"--heard is {self.heard}, --workers {self.workers}: give 0 or more")


def judge(config: CodecReport) -> Report:
    """The report of a saved codec, written and printed. ValueError for what a person can mend."""
    plug_ins = tuple(parse(entry) for entry in config.plug_in)
    choose(config.metrics, plug_ins)  # a wrong name is told before anything is loaded
    device = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
    codec = Codec.from_pretrained(config.model).to(device)
    others = {"step 0": Codec.from_pretrained(config.step_0).to(device)} if config.step_0 else {}
    out = open_store(config.out or str(Path(config.model).absolute().parent))
    found = [] if config.data and not config.corpus else [corpora.resolve(config.corpus)]
    data = DataConfig(corpora=tuple(corpus.location for corpus in found), shards=config.data)
    items = held_out(data, config.choice, codec.config.sample_rate_hz, out)
    workers = len(os.sched_getaffinity(0)) if config.workers is None else config.workers
    parents = {"corpora": [corpus.id for corpus in found], "data": list(config.data)}
    return report(codec, items, out, Options(others, parents, config.metrics, plug_ins, workers, config.heard, config.seed))


def main(argv: list[str]) -> int:
    judge(tyro.cli(CodecReport, args=argv, prog="pipelines.codec_report"))
    return 0


if __name__ == "__main__":
    run(main)
