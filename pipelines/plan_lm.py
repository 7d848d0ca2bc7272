"""What a language model will cost: `python -m pipelines.plan_lm --preset 1b --hours 100000 --gpus 64`. Nothing is trained.

Parameters are counted on the model itself, FLOPs by lm/flops.py, checkpoint bytes from what a checkpoint holds; the share of
the peak that training reaches (--mfu), the speed of the codec and the prices are parameters, and printed.
"""

from dataclasses import dataclass
from typing import Any

import torch
import tyro

from infra.command_line import run
from lm.config import PRESETS, LMConfig
from lm.flops import training_flops
from lm.layout import num_slots
from lm.model import UnifiedLM
from pipelines import bounds
from pipelines.bounds import Bound
from pipelines.plan import PRICES, read_prices, with_changes
from training.peak_flops import PEAK_TFLOPS, named_peak

CHECKPOINT_BYTES = 16  # a parameter: weights, two moments of Adam and the averaged weights, all fp32
MEMORY_BYTES = 4 + 4  # a parameter on every GPU at ZeRO 2: bf16 weight and gradient, and as much for buckets and activations
SHARED_BYTES = 16  # a parameter, shared out over the GPUs: master, two moments, averaged weight


@dataclass(frozen=True)
class PlanLM:
    """How much is trained on what."""

    preset: str = "1b"
    """Of the language model."""
    hours: float = 100_000.0
    """Of examples."""
    epochs: float = 1.0
    """Times that each is seen."""
    example_s: float = 5.0
    """Of one example: input and target."""
    gpus: int = 64
    gpus_per_node: int = 8
    gpu: str = "H100"
    """Whose peak counts: training/peak_flops.py lists them."""
    mfu: float = 0.4
    """Share of the peak that training reaches: an assumption, `make train-lm` prints the real one."""
    batch_size: int = 192
    """Examples of a step, over all GPUs."""
    codec_times_real_time: float = 10.8
    """Of encoding on one core (tests/bench/RESULTS.md: hcodec-1.0)."""
    token_bytes: float = 91_000.0
    """Of an example in a token shard, its input audio included (tests/bench/RESULTS.md: sr)."""
    checkpoint_minutes: float = 30.0
    prices: str = str(PRICES)
    """A TOML file like infra/prices.toml."""
    price: tuple[str, ...] = ()
    """Single prices instead of the file's: gpu_hour=4 gpu_gigabits_per_s=200 ..."""

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ValueError(f"no preset {self.preset!r}: there are {', '.join(PRESETS)}")
        if named_peak(self.gpu) is None:
            raise ValueError(f"--gpu {self.gpu}: there are {', '.join(PEAK_TFLOPS)}")
        for name in ("hours", "epochs", "example_s", "gpus", "gpus_per_node", "batch_size", "codec_times_real_time"):
            if getattr(self, name) <= 0:
                raise ValueError(f"--{name.replace('_', '-')} must be more than 0")
        if not 0 < self.mfu <= 1:
            raise ValueError(f"--mfu is {self.mfu}: give a share of the peak, above 0 and at most 1")


def num_parameters(model: LMConfig) -> int:
    """Of the model itself, made without memory."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in UnifiedLM(model).parameters())


def example_flops(model: LMConfig, example_s: float) -> float:
    """Forward and backward of a row: task, input at the rate of its encoder, target of so many seconds."""
    slots = num_slots(round(example_s * model.tokens.frame_rate_hz), model.tokens.num_layers)
    return training_flops(model, [2 + round(example_s * model.conditions.audio_rate_hz) + slots], slots)


def estimate(config: PlanLM, prices: dict[str, Any]) -> dict[str, float]:
    """Totals of encoding and training."""
    model = PRESETS[config.preset]
    parameters, examples = num_parameters(model), config.hours * 3600 / config.example_s
    flops = examples * config.epochs * example_flops(model, config.example_s)
    gpu_hours = flops / (named_peak(config.gpu) * config.mfu) / 3600
    wall_hours = gpu_hours / config.gpus
    encode_core_hours = config.hours / config.codec_times_real_time
    gigabytes = examples * config.token_bytes / 1e9
    slots = num_slots(round(config.example_s * model.tokens.frame_rate_hz), model.tokens.num_layers)
    shards = examples / 64
    return {
        "parameters_millions": parameters / 1e6,
        "examples": examples,
        "codes_billions": examples * config.epochs * slots * model.tokens.num_layers / 1e9,
        "exaflops": flops / 1e18,
        "gpu_hours": gpu_hours,
        "nodes": config.gpus / config.gpus_per_node,
        "wall_hours": wall_hours,
        "steps": examples * config.epochs / config.batch_size,
        "encode_core_hours": encode_core_hours,
        "token_gigabytes": gigabytes,
        "get_requests": shards * max(1.0, config.epochs),
        "checkpoint_gigabytes": CHECKPOINT_BYTES * parameters / 1e9,
        "gpu_memory_gigabytes": (MEMORY_BYTES + SHARED_BYTES / config.gpus) * parameters / 1e9,
        "cost_encode": encode_core_hours * prices["cpu_core_hour"],
        "cost_training": gpu_hours * prices["gpu_hour"],
        "cost_storage_month": gigabytes * prices["storage_gb_month"],
    }


def training_bounds(config: PlanLM, totals: dict[str, float], prices: dict[str, Any]) -> list[Bound]:
    """What a training waits for, the limit that binds first."""
    gigabits = prices["node_gigabits_per_s"]
    saves = totals["wall_hours"] * 60 / config.checkpoint_minutes
    reduced_gigabits = 2 * 2 * totals["parameters_millions"] / 1e3 * 8 * (1 - 1 / config.gpus)  # bf16, there and back
    found = [
        Bound("matrix products of the GPUs", totals["wall_hours"], "more GPUs (--gpus) with larger batches; a higher MFU"),
        Bound(
            "gradients between the GPUs",
            totals["steps"] * reduced_gigabits / prices["gpu_gigabits_per_s"] / 3600,
            "larger batches (--batch-size): fewer steps for the same examples",
        ),
        Bound(
            "checkpoints from the first rank",
            saves * totals["checkpoint_gigabytes"] * 8 / gigabits / 3600,
            "fewer of them (--loop.checkpoint-minutes)",
        ),
        Bound(
            "tokens into the nodes",
            totals["token_gigabytes"] * config.epochs * 8 / (totals["nodes"] * gigabits) / 3600,
            "the cache of the nodes (QUARKLINE_CACHE) after the first epoch; more nodes",
        ),
        Bound(
            f"encoding on {prices['cores_per_node']} cores a node of as many nodes",
            totals["encode_core_hours"] / (totals["nodes"] * prices["cores_per_node"]),
            "more nodes, or GPUs (make encode ARGS='--gpus-per-worker 1')",
        ),
    ]
    return sorted(found, key=lambda bound: -bound.hours)


def main(argv: list[str]) -> int:
    config = tyro.cli(PlanLM, args=argv, prog="pipelines.plan_lm")
    prices = with_changes(read_prices(config.prices), config.price)
    totals = estimate(config, prices)
    print(f"{config.preset} on {config.hours:,.0f} hours x {config.epochs:g}, {config.gpus} {config.gpu}, MFU {config.mfu}:")
    for name, value in totals.items():
        unit = f" {prices['currency']}" if name.startswith("cost") else ""
        print(f"  {name.replace('_', ' '):>24}  {value:>16,.2f}{unit}")
    bounds.show(training_bounds(config, totals, prices))
    return 0


if __name__ == "__main__":
    run(main)
