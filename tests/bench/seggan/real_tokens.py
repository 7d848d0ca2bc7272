"""Real tokens: a trained language model goes on with likelihood alone, or against a discriminator too, for equal CPU seconds.

`python -m tests.bench.seggan.real_tokens --model lm/model --data tokens/train/sr-... --held-out tokens/test/sr-...
--audio sim/test/sr-... --codec codec/model`; `--audio` is the dataset that the held-out tokens were made of. Restoration only.
An arm's result is kept; a rerun makes what is missing.
"""

import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import tyro

from infra.command_line import run
from infra.config import fingerprint, to_json
from infra.shards import encode_json
from infra.storage import FolderStore
from lm.audio_encoder import RATE_HZ
from lm.conditions import Encoders
from lm.model import UnifiedLM
from pipelines.lm_validation import scores_of
from tests.bench.seggan.token_measures import HeldOut, Words, measured, real_words
from training.adversarial_config import AdversarialConfig
from training.adversarial_step import trainee_of
from training.config import EngineConfig, ScheduleConfig, TrainingConfig
from training.data.token_config import TokenData
from training.data.token_examples import Cutting
from training.data.token_held_out import batched, first_examples
from training.data.token_source import TokenSource, Wanted, open_token_sources
from training.data.token_stream import Batching, TokenStream
from training.keys import key
from training.lm_config import LMTraining

ARMS = ("start", "likelihood", "relgan, whole", "relgan, segments", "seqgan, segments", "leakgan, segments")


@dataclass(frozen=True)
class Bench:
    """What to compare."""

    model: str
    data: str
    held_out: str
    audio: str
    codec: str
    arms: tuple[str, ...] = ARMS
    cpu_minutes: float = 10.0
    """Of training, for each arm."""
    learning_rate: float = 1e-4
    batch_size: int = 8
    crop_s: float = 3.0
    num_clips: int = 48
    """Held-out examples that are written and judged."""
    num_scored: int = 24
    """Of them, those whose audio is judged."""
    adversarial: AdversarialConfig = field(default_factory=lambda: AdversarialConfig("relgan", head_start=30))
    seed: int = 0
    out: str = "data/bench-real-tokens"


def recipe(config: Bench, arm: str) -> LMTraining:
    schedule = ScheduleConfig(warmup_steps=10, decay=1.0)
    training = TrainingConfig(config.seed, config.batch_size, config.batch_size, ema_decay=0.99, schedule=schedule)
    engine = EngineConfig(config.learning_rate, betas=(0.9, 0.98), zero_stage=0)
    if arm in ("start", "likelihood"):
        return LMTraining(training, engine)
    form, judged = arm.split(", ")
    adversarial = replace(config.adversarial, form=form)
    if judged == "whole":
        adversarial = replace(adversarial, discriminator=replace(adversarial.discriminator, segments=1))
    return LMTraining(training, engine, adversarial=adversarial)


def trained(config: Bench, arm: str, sources: list[TokenSource], encoders: Encoders) -> tuple[UnifiedLM, dict[str, float]]:
    """The model once the CPU seconds are spent, and how far it came."""
    settings, lm = recipe(config, arm), UnifiedLM.from_pretrained(config.model)
    torch.manual_seed(key(config.seed, "discriminator"))
    trainee = trainee_of(lm, encoders, settings)
    if arm == "start":
        return trainee.publish(), {"updates": 0, "cpu_s": 0.0}
    data = TokenData(datasets=(config.data,), crop_s=config.crop_s, logical_workers=1)
    batching = Batching(config.seed, RATE_HZ, config.batch_size, config.batch_size)
    began_s, step, metrics = time.process_time(), 0, {}
    with TokenStream(sources, data, batching, lm.config.max_positions) as stream:
        while time.process_time() - began_s < 60 * config.cpu_minutes:
            step += 1
            batches, _ = next(stream)
            torch.manual_seed(key(config.seed, "step", step, 0))
            metrics = trainee.step(batches, step)
    kept = {name: value for name, value in metrics.items() if name == "loss" or name.startswith("adversarial/")}
    return trainee.publish(), {"updates": step, "cpu_s": time.process_time() - began_s} | kept


def opened(config: Bench, encoders: Encoders, lm: UnifiedLM) -> tuple[list[TokenSource], HeldOut, Words]:
    """What is trained on, what is judged with, and what real tokens look like elsewhere."""

    def sources(place: str, *splits: str) -> list[TokenSource]:
        wanted = Wanted(lm.config.max_positions, splits, lm.config.tokens, getattr(encoders.text, "check", None))
        return open_token_sources(TokenData(datasets=(place,), crop_s=config.crop_s), wanted)

    cutting = Cutting(lm.config.tokens, lm.config.max_positions, 60.0, 5.0)
    training = sources(config.data, "train")
    examples, others = (
        first_examples(found, cutting, config.num_clips) for found in (sources(config.held_out, "test", "valid"), training)
    )
    held_out = HeldOut.of(examples, config.audio, config.crop_s, lm.config.tokens.frame_rate_hz)
    return training, held_out, real_words(HeldOut.cut(others, config.crop_s, lm.config.tokens.frame_rate_hz))


def bench(config: Bench) -> list[dict[str, Any]]:
    lm = UnifiedLM.from_pretrained(config.model)
    encoders = Encoders.open(lm.config.conditions)
    training, held_out, elsewhere = opened(config, encoders, lm)
    named = {name: value for name, value in to_json(config).items() if name not in ("arms", "out")}
    place, rows = FolderStore(config.out), held_out.floors(elsewhere, config.codec, config.num_scored)
    for arm in config.arms:
        name = f"{fingerprint(named)}-{arm.replace(', ', '-')}.json"
        if not place.exists(name):
            model, progress = trained(config, arm, training, encoders)
            scores = scores_of(model, encoders, batched(held_out.examples, config.batch_size), torch.device("cpu"))
            found = measured(model, encoders, held_out, config.codec, config.num_scored)
            place.put(name, encode_json({"arm": arm, "held_out": scores.loss()} | progress | found))
            print(f"{arm}: {progress}", flush=True)
        rows.append(json.loads(place.get(name)))
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """A line an arm."""
    names = list(dict.fromkeys(name for row in rows for name in row if name != "arm"))
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for row in rows:
        cells = [f"{row[name]:.4g}" if name in row else "" for name in names]
        lines.append(f"| {row['arm']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    config = tyro.cli(Bench, args=argv, prog="tests.bench.seggan.real_tokens")
    torch.set_num_threads(1)
    print(json.dumps(asdict(config.adversarial)))
    print(table(bench(replace(config, model=str(Path(config.model))))))
    return 0


if __name__ == "__main__":
    run(main)
