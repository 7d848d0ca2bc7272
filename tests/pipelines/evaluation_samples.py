"""A small evaluation of two models with made-up numbers, and the examples that it is of."""

import hashlib
from collections.abc import Collection, Iterator

import numpy as np
import torch

from infra.storage import Store
from pipelines import evaluation_summary
from pipelines.codec_measures import CodeCounts, reconstruct
from pipelines.evaluation_cases import Case
from pipelines.evaluation_systems import Waves
from tests.codec.samples import FIXED, make
from tests.pipelines.conftest import voice
from training.metrics.clip_table import ClipRow, Evaluation, table, write
from training.metrics.task_metrics import choose_all

RATE_HZ = 8000
METRICS = ("si_sdr", "mel_distance", "utmos", "edit_accuracy")
TASKS = {"sr": 12, "ss": 3, "tta": 3}
MODELS = ("a", "b")
GAINS = {"a": 4.0, "b": 7.0, "oracle": 15.0, "mask": 10.0, "input": 0.0}


def key(number: int) -> str:
    return f"s0-{number:08d}"


def dataset_id(task: str) -> str:
    return hashlib.sha256(task.encode()).hexdigest()


def rows(task: str, count: int) -> list[ClipRow]:
    """b is better than a by 3 dB, and less so the higher the number of the example; its example 2 fails."""
    rng, made = np.random.default_rng(0), []
    systems = [*MODELS, "input", "oracle", "mask", "target"] if task != "tta" else [*MODELS, "oracle", "target"]
    for number in range(count):
        level = float(rng.normal(5, 2))
        for system in systems:
            value = level + GAINS.get(system, 0) - (0.4 * number if system == "b" else 0)
            metrics = {"si_sdr": value, "mel_distance": 3 - value / 10} if task != "tta" and system != "target" else {}
            reasons = {}
            if task == "sr" and system == "b" and number == 2:
                metrics, reasons = {}, dict.fromkeys(("si_sdr", "mel_distance"), "failed: it gave <nothing>")
            if task != "tta" and system == "target":
                reasons = dict.fromkeys(("si_sdr", "mel_distance"), "the original itself")
            every = {name: metrics.get(name) for name in (("si_sdr", "mel_distance", "utmos") if task != "tta" else ("utmos",))}
            reasons = {"utmos": "not run: no weights"} | reasons
            slices = {"snr_db": ("under 0 dB", "0 to 5 dB", "5 dB and more")[number % 3]}
            made.append(ClipRow(system, task, dataset_id(task), key(number), f"v{number % 4}", 1.0, slices, every, reasons))
    return made


def evaluation(store: Store) -> Evaluation:
    """Written to the store as evaluate does it."""
    clips = table([row for task, count in TASKS.items() for row in rows(task, count)])
    counts = CodeCounts(1)
    counts.add(_codes(), RATE_HZ)
    part = {"system_s": {"a": 2.0, "b": 3.0}, "audio_s": {"a": 18.0, "b": 18.0}, "metric_s": {"si_sdr": 0.5}}
    part["codes"] = {"oracle": counts.state()}
    metrics = choose_all(METRICS)
    parents = {
        "models": {name: {"id": name * 64, "codec": "c" * 64, "lm": name * 64} for name in MODELS},
        "datasets": [
            {"id": dataset_id(task), "task": task, "set": "", "manifest_sha256": "e" * 64, "examples": count}
            for task, count in TASKS.items()
        ],
        "settings": {"seed": 0},
        "code": "0123abcd",
    }
    about = {"parents": parents, "systems": evaluation_summary.systems({"a": "x/a", "b": "x/b"}), "commit": ""}
    return write(store, clips, about | evaluation_summary.summary(clips, [part], metrics, 0))


def _codes():
    wave = voice(0, 120.0, 0.5).astype(np.float32)
    with torch.inference_mode():
        return reconstruct(make(FIXED), wave)[1]


def case(task: str, number: int, text: str = "", seconds: float = 0.6) -> Case:
    """A short one; ss has two targets."""
    seed = int(dataset_id(task)[:4], 16) + number
    wave = voice(seed, 100 + 10 * number, seconds).astype(np.float32)
    targets = (wave, 0.5 * wave[::-1].copy())[: 2 if task == "ss" else 1]
    given = None if task == "tta" else wave + 0.01
    transcripts = ("",) * len(targets)
    return Case(
        task, dataset_id(task), key(number), RATE_HZ, given, None, targets, text or None, transcripts, "", "speech", {}, "v"
    )


def hear(names: Collection[tuple[str, str]], text: str = "", seconds: float = 0.6) -> Iterator[tuple[Case, dict[str, Waves]]]:
    """As evaluation_players.hear does it: in any order, failed systems left out."""
    for task, count in TASKS.items():
        for number in reversed(range(count)):
            one = case(task, number, text, seconds)
            if (one.dataset, one.key) in names:
                waves = dict.fromkeys((*MODELS, "oracle", "mask", "input", "target"), one.targets)
                if task == "sr" and number == 2:
                    del waves["b"]
                yield one, waves
