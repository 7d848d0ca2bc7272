"""A language model beside what it must beat, on held-out examples: loss and accuracy of its tokens, task by task."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr
import torch

from codec.model import Codec
from infra.shards import encode_json
from infra.storage import Store
from lm.audio_encoder import RATE_HZ
from lm.config import TokenConfig
from training.data.token_examples import TokenExample
from training.token_baselines import Codes, Copy, Unigram, copy_scores, unigram_scores
from training.token_scores import TokenScores

REPORT = "report.json"
MODEL, UNIGRAM, COPY = "model", "unigram", "copy of the input"


@dataclass(frozen=True)
class Examples:
    """What the baselines are fitted to, and what all are judged on."""

    training: Sequence[TokenExample]
    held_out: Sequence[TokenExample]


def baselines(examples: Examples, tokens: TokenConfig, codec: Codec | None) -> dict[str, TokenScores]:
    """Of the held-out examples; the copy only where a codec is given, and of tasks that have an input."""
    unigram = Unigram(tokens)
    for example in examples.training:
        unigram.add(example)
    found = {UNIGRAM: unigram_scores(unigram, examples.held_out)}
    if codec is not None:
        training, held_out = ([one for one in part if one.input is not None] for part in (examples.training, examples.held_out))
        copy = Copy(unigram)
        copy.fit(training, [tokens_of(codec, one) for one in training])
        found[COPY] = copy_scores(copy, held_out, [tokens_of(codec, one) for one in held_out])
    return found


@torch.inference_mode()
def tokens_of(codec: Codec, example: TokenExample) -> Codes:
    """Codes of the input as the model hears it: at 16 kHz, whatever the codec's rate."""
    wave = example.input * np.float32(2**-15)
    if codec.config.sample_rate_hz != RATE_HZ:
        wave = soxr.resample(wave, RATE_HZ, codec.config.sample_rate_hz, quality="HQ")
    codes = codec.encode(torch.from_numpy(wave)[None].to(next(codec.parameters()).device))
    return tuple(part[0].cpu().numpy() for part in (codes.acoustic_BKF, codes.semantic_BKF))


def report(model: TokenScores, others: dict[str, TokenScores], about: dict[str, Any], place: Store) -> dict[str, Any]:
    """Write report.json, print the table, give what was written."""
    kinds = {MODEL: model} | others
    tasks = {}
    for name in model.present():
        rows = {kind: scores for kind, scores in kinds.items() if name in scores.present()}
        tasks[name] = {
            kind: {"loss": one.loss(name), "accuracy": one.accuracy(name), "layers": one.layers(name)}
            for kind, one in rows.items()
        }
        tasks[name]["num_tokens"] = int(model.sums_3NSK[2, model.tasks.index(name)].sum())
        tasks[name]["beaten"] = sorted(kind for kind in rows if kind != MODEL and model.loss(name) < rows[kind].loss(name))
    found = about | {"loss_unit": "nats a token", "tasks": tasks}
    place.put(REPORT, encode_json(found))
    print(table(tasks, list(kinds)))
    return found


def table(tasks: dict[str, Any], kinds: list[str]) -> str:
    """A line a task: loss (nats a token) and accuracy of each kind."""
    width = max([len(kind) for kind in kinds] + [13])
    lines = [
        "held-out tokens: loss, accuracy",
        " ".join(["task".ljust(12), "tokens".rjust(8), *(kind.rjust(width) for kind in kinds)]),
    ]
    for name, row in tasks.items():
        cells = [f"{row[kind]['loss']:.3f} {row[kind]['accuracy']:6.1%}" if kind in row else "-" for kind in kinds]
        lines.append(" ".join([name.ljust(12), str(row["num_tokens"]).rjust(8), *(cell.rjust(width) for cell in cells)]))
    return "\n".join(lines)
