"""Learn a few clips of every task by heart: `python -m tests.bench.overfit`, or with `--tokens` those of `make encode`.

Real audio through simulation, codec, shards and frozen encoders, then a small model for each task (or `--together` one for all)
until the most probable token is right everywhere; greedy generation must then give back every token and every length.
"""

import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
import tyro

from codec.model import Codec
from codec.presets import PRESETS as CODECS
from infra.command_line import run
from lm.conditions import Encoders
from lm.config import PRESETS, DecoderConfig
from lm.generate import Prompt, generate
from lm.model import Batch, UnifiedLM
from lm.sampling import Sampling
from lm.tasks import TASKS, task
from pipelines.encode import Encode, encode_all
from pipelines.mixture import Mixture, mix
from training.data.token_config import TokenData
from training.data.token_examples import Cutting
from training.data.token_held_out import first_examples
from training.data.token_source import Wanted, open_token_sources
from training.data.token_stream import token_batch
from training.lm_batches import encoded

GREEDY = Sampling(temperature=0)
CHECK_FAILED = 6  # exit code, as of verify
MORE_FRAMES = 25  # that a target of free length might go on: it must say E itself


@dataclass(frozen=True)
class Overfit:
    """What to learn by heart."""

    tokens: str = ""
    """Token datasets; if not given, some are simulated and encoded in --out."""
    codec: str = ""
    """Folder of the codec to encode with; one of random weights if not given."""
    out: str = "data/overfit"
    """Where what is made goes."""
    tasks: tuple[str, ...] = tuple(TASKS)
    clips: int = 8
    """Of each task."""
    crop_s: float = 2.0
    """Of tasks whose target is as long as the input; the others are learnt whole."""
    together: bool = False
    """One model for all tasks."""
    decoder: DecoderConfig = field(default_factory=lambda: DecoderConfig(128, 3, num_heads=4, feed_forward_width=384))
    learning_rate: float = 3e-3
    steps: int = 600
    """At most."""
    every: int = 20
    """Steps between two looks whether it is done."""
    seed: int = 0


@dataclass(frozen=True)
class Learnt:
    """How well a batch is known."""

    name: str
    accuracy: float  # teacher-forced, of all target tokens
    num_tokens: int
    num_given_back: int  # clips whose every token and length greedy generation reproduces
    num_clips: int
    steps: int
    seconds: float  # of CPU time

    @property
    def is_done(self) -> bool:
        return self.accuracy > 0.99 and self.num_given_back == self.num_clips

    def __str__(self) -> str:
        return (
            f"{self.name:12} {self.num_tokens:7} tokens  teacher-forced {self.accuracy:8.3%}  given back {self.num_given_back} "
            f"of {self.num_clips} clips  {self.steps:4} steps  {self.seconds:5.0f} s"
        )


def datasets(config: Overfit) -> str:
    """Where the tokens are."""
    if config.tokens:
        return config.tokens
    codec, place = config.codec, Path(config.out)
    if not codec:
        torch.manual_seed(config.seed)
        codec = str(place / "codec")
        Codec(CODECS["tiny"]).save_pretrained(codec)
    if code := mix(Mixture(out=str(place / "audio"), count=2 * config.clips * len(TASKS), stems=False)):
        raise ValueError(f"the simulated data do not verify ({code})")
    encode_all(Encode(data=str(place / "audio"), codec=codec, out=str(place / "tokens")))
    return str(place / "tokens")


def batches_of(config: Overfit, place: str) -> tuple[UnifiedLM, dict[str, Batch]]:
    """A fresh model, and what it is to learn of each task, conditions encoded."""
    data = TokenData(datasets=(place,), crop_s=config.crop_s)
    preset = PRESETS["tiny"]
    sources = [one for one in open_token_sources(data, Wanted(preset.max_positions)) if one.domain in config.tasks]
    model = dataclasses.replace(preset, tokens=sources[0].tokens, decoder=config.decoder)
    cutting = Cutting(model.tokens, model.max_positions, data.crop_s, data.reference_s)
    encoders, found = Encoders.open(model.conditions), {}
    for example in first_examples(sources, cutting, config.clips):
        found.setdefault(example.task, []).append(example)
    torch.manual_seed(config.seed)
    made = {name: encoded(model, encoders, token_batch(one), device=torch.device("cpu")) for name, one in found.items()}
    return UnifiedLM(model), made


def learn(lm: UnifiedLM, batches: dict[str, Batch], config: Overfit) -> list[Learnt]:
    """Train until all is known, or to the last step; every batch is a micro-batch of each step."""
    started = time.process_time()
    optimiser = torch.optim.AdamW(lm.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1, (step + 1) / 20) * (1 - 0.9 * step / config.steps)
    )
    for step in range(1, config.steps + 1):
        optimiser.zero_grad()
        right = []
        for batch in batches.values():
            losses = lm(batch)
            (losses.mean / len(batches)).backward()
            right.append(float(losses.correct_BSK.sum() / losses.num_targets_BSK.sum()))
        torch.nn.utils.clip_grad_norm_(lm.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step == config.steps or (step % config.every == 0 and min(right) > 0.995):
            found = [judge(lm, name, batch, (step, time.process_time() - started)) for name, batch in batches.items()]
            if all(one.is_done for one in found):
                break
    return found


@torch.no_grad()
def judge(lm: UnifiedLM, name: str, batch: Batch, spent: tuple[int, float]) -> Learnt:
    losses = lm(batch)
    limits = (batch.num_frames_B + MORE_FRAMES * batch.free_B).tolist()
    found = generate(lm, Prompt([name] * len(limits), batch.conditions, limits), GREEDY)
    given_back = 0
    for row, length in enumerate(batch.num_frames_B.tolist()):
        same = [
            torch.equal(mine[row, :, :length], wanted[row, :, :length])
            for mine, wanted in ((found.acoustic_BKF, batch.acoustic_BKF), (found.semantic_BKF, batch.semantic_BKF))
            if int(found.num_frames_B[row]) == length
        ]
        ended = bool(found.ended_B[row]) == (task(name).length == "free")
        given_back += len(same) == 2 and all(same) and ended
    num_tokens = int(losses.num_targets_BSK.sum())
    return Learnt(name, float(losses.correct_BSK.sum()) / num_tokens, num_tokens, given_back, len(limits), *spent)


def main(argv: list[str]) -> int:
    config = tyro.cli(Overfit, args=argv, prog="tests.bench.overfit")
    torch.set_num_threads(1)
    lm, batches = batches_of(config, datasets(config))
    count = sum(parameter.numel() for parameter in lm.parameters()) / 1e6
    print(f"{len(batches)} tasks, {config.clips} clips each, a model of {count:.1f} M parameters", flush=True)
    found = learn(lm, batches, config) if config.together else []
    for name, batch in batches.items() if not config.together else ():
        lm.reset_parameters()
        found += learn(lm, {name: batch}, config)
        print(found[-1], flush=True)
    if config.together:
        print("\n".join(map(str, found)))
    if missing := [one.name for one in found if not one.is_done]:
        print(f"not learnt by heart: {', '.join(missing)}")
    return CHECK_FAILED if missing else 0


if __name__ == "__main__":
    run(main)
