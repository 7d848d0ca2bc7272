"""Speed of the language model beside the Llama of transformers: `python -m tests.bench.lm`. Both in one run, taking turns.

The other side is what one writes with transformers: embeddings of all layers summed into `inputs_embeds`, a `LlamaModel` of the
same size and weights with its attention mask and cache, one linear map for all K heads, `cross_entropy` with ignored labels.
Generation is also measured against `generate` of a `LlamaForCausalLM` of these weights, which knows one symbol a position: for
as many positions as ours, with one head instead of K, and for as many symbols as ours, K positions for each of ours.
"""

import statistics
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from transformers import DynamicCache, LlamaForCausalLM

from infra.command_line import run
from lm import layout
from lm.conditions import Conditions
from lm.config import PRESETS
from lm.features import Features
from lm.flops import forward_flops, mfu, training_flops
from lm.generate import Prompt, generate
from lm.loss import head_losses, plain_head_losses
from lm.model import Batch, UnifiedLM
from lm.sampling import Sampling
from tests.lm.test_decoder import llama_of


@dataclass(frozen=True)
class Bench:
    """What to measure."""

    preset: str = "tiny"
    parts: tuple[str, ...] = ("training", "generation")
    batch_size: int = 4
    seconds: tuple[float, ...] = (5.0, 4.0, 3.0, 4.5)
    """Of the clips of a training batch, in turn."""
    repeats: int = 5
    generate_s: float = 2.0
    threads: int = 1
    device: str = "cpu"
    precision: str = "float32"
    compiled: bool = True
    """Measure our compiled step too."""
    peak_tflops: float = 0.0
    """Of the device, for MFU; 0 measures a large matrix product."""
    profile: bool = True


class Straightforward(nn.Module):
    """The same task with transformers: prefix features and K-layer tokens to a loss, or to the next symbols."""

    def __init__(self, lm: UnifiedLM):
        super().__init__()
        self.lm, tokens = lm, lm.config.tokens
        self.num_layers = tokens.num_layers
        width = lm.config.decoder.width
        self.llama = llama_of(lm.decoder)
        self.embeddings = nn.ModuleList(nn.Embedding(tokens.start + 1, width) for _ in range(tokens.num_layers))
        self.heads = nn.Linear(width, tokens.num_layers * (tokens.end + 1), bias=False)

    def embed(self, symbols_BPK: Tensor) -> Tensor:
        return sum(table(symbols_BPK[:, :, k]) for k, table in enumerate(self.embeddings))

    def rows(self, x_BLD: Tensor, symbols_BPK: Tensor) -> Tensor:
        return torch.cat([x_BLD, self.embed(symbols_BPK)], dim=1)

    def loss(self, prefix_BLD: Tensor, mask_BL: Tensor, inputs_BPK: Tensor, labels_BPK: Tensor) -> Tensor:
        x_BLD = self.rows(prefix_BLD, inputs_BPK)
        mask_BL = torch.cat([mask_BL, torch.ones_like(inputs_BPK[:, :, 0])], dim=1)
        position_BL = (mask_BL.cumsum(1) - 1).clamp(min=0)
        hidden_BLD = self.llama(
            inputs_embeds=x_BLD, attention_mask=mask_BL, position_ids=position_BL, use_cache=False
        ).last_hidden_state
        logits = self.heads(hidden_BLD[:, prefix_BLD.shape[1] :]).unflatten(-1, (self.num_layers, -1))
        return F.cross_entropy(logits.flatten(0, 2), labels_BPK.flatten(), ignore_index=layout.IGNORED)

    @torch.no_grad()
    def generate(self, prefix_BLD: Tensor, num_slots: int) -> list[Tensor]:
        """Greedy, one clip, with the cache of transformers."""
        cache = DynamicCache(config=self.llama.config)
        tokens = self.lm.config.tokens
        x_BLD = self.rows(prefix_BLD, torch.full((1, 1, self.num_layers), tokens.start, device=prefix_BLD.device))
        slots = []
        for _ in range(num_slots):
            out = self.llama(inputs_embeds=x_BLD, past_key_values=cache, use_cache=True)
            logits = self.heads(out.last_hidden_state[:, -1]).unflatten(-1, (self.num_layers, -1))
            slots.append(logits[..., : tokens.end].argmax(-1))
            x_BLD = self.embed(slots[-1][:, None])
        return slots


class OneSymbol:
    """`generate` of transformers: greedy, one clip, a symbol a position."""

    def __init__(self, other: Straightforward):
        tokens, config = other.lm.config.tokens, deepcopy(other.llama.config)
        config.vocab_size, config.bos_token_id, config.eos_token_id, config.pad_token_id = tokens.end, None, None, 0
        self.network = LlamaForCausalLM(config).to(other.heads.weight).eval()
        self.network.model.layers, self.network.model.norm = other.llama.layers, other.llama.norm
        self.network.model.embed_tokens.weight.data = other.embeddings[0].weight.data[: tokens.end]
        self.network.lm_head.weight.data = other.heads.weight.data[: tokens.end]

    @torch.no_grad()
    def __call__(self, prefix_BLD: Tensor, num_positions: int) -> Tensor:
        mask_BL = torch.ones_like(prefix_BLD[:, :, 0], dtype=torch.int64)
        lengths = {"min_new_tokens": num_positions, "max_new_tokens": num_positions}
        return self.network.generate(inputs_embeds=prefix_BLD, attention_mask=mask_BL, do_sample=False, **lengths)


def alternately(works: dict[str, Callable[[], object]], repeats: int, device: str) -> dict[str, list[float]]:
    """Seconds of each work, in turn, after one round to warm up; on a CPU its own seconds, whoever else uses the machine."""
    found = {name: [] for name in works}
    clock = time.process_time if device == "cpu" else time.perf_counter
    for repeat in range(repeats + 1):
        for name, work in works.items():
            started = clock()
            work()
            if device == "cuda":
                torch.cuda.synchronize()
            if repeat:
                found[name].append(clock() - started)
    return found


def made_batch(config: Bench, lm: UnifiedLM) -> Batch:
    """Restoration of clips of unequal lengths."""
    seconds = [config.seconds[row % len(config.seconds)] for row in range(config.batch_size)]
    tokens, conditions = lm.config.tokens, lm.config.conditions
    rows = [torch.randn(round(s * conditions.audio_rate_hz), conditions.audio_width) for s in seconds]
    lengths_B = torch.tensor([round(s * tokens.frame_rate_hz) for s in seconds])
    codes = torch.randint(tokens.codebook_size, (2, len(seconds), tokens.num_layers, int(lengths_B.max())))
    return Batch.of(lm.config, ["sr"] * len(seconds), Conditions(input=Features.of(rows)), (*codes, lengths_B))


def bench_training(config: Bench, lm: UnifiedLM, other: Straightforward) -> None:
    batch = made_batch(config, lm).to(config.device)
    slots = layout.slots_of(batch.acoustic_BKF, batch.semantic_BKF, batch.num_frames_B, lm.config.tokens, batch.free_B)
    features = batch.conditions.input

    def ours():
        lm.zero_grad()
        lm(batch).mean.backward()

    def theirs():
        other.zero_grad()
        prefix_BLD = lm.audio_adapter(features.values_BMD)
        mask_BL = (torch.arange(prefix_BLD.shape[1], device=config.device) < features.lengths_B[:, None]).long()
        other.loss(prefix_BLD, mask_BL, slots.inputs_BPK, slots.labels_BPK).backward()

    seconds = alternately({"ours": ours, "transformers": theirs}, config.repeats, config.device)
    rows = [2 + int(n) + int(s) for n, s in zip(features.lengths_B, slots.num_slots_B)]
    flops = training_flops(lm.config, rows, int(slots.num_slots_B.sum()))
    peak = config.peak_tflops * 1e12 or measured_peak(config)
    print(f"\ntraining, {config.batch_size} clips, {sum(rows)} positions, {int(slots.num_slots_B.sum())} of them target slots")
    for name, times in seconds.items():
        best, middle = min(times), statistics.median(times)
        print(
            f"  {name:13} median {middle:7.3f} s  best {best:7.3f} s  {sum(rows) / middle:8.0f} positions/s"
            f"  MFU {mfu(flops, middle, peak):6.1%}"
        )
    ratios = [theirs / ours for ours, theirs in zip(*seconds.values())]
    spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
    print(f"  ratio: median of pairs {statistics.median(ratios):.2f} {spread}; peak {peak / 1e9:.0f} GFLOP/s")
    if config.profile:
        where_the_time_goes("ours", ours)
        where_the_time_goes("transformers", theirs)
    bench_heads(config, lm, int(slots.num_slots_B.sum()))


def bench_heads(config: Bench, lm: UnifiedLM, num_slots: int) -> None:
    """The fused loss alone, against all logits at once."""
    weight_KVD = lm.heads.even.detach().requires_grad_()
    x_ND = torch.randn(num_slots, weight_KVD.shape[2], device=config.device, dtype=weight_KVD.dtype).requires_grad_()
    labels_NK = torch.randint(weight_KVD.shape[1], (num_slots, weight_KVD.shape[0]), device=config.device)
    works = {
        "fused": lambda: head_losses(x_ND, weight_KVD, labels_NK).total.backward(),
        "all logits": lambda: plain_head_losses(x_ND, weight_KVD, labels_NK).backward(),
    }
    seconds = alternately(works, config.repeats, config.device)
    heads = f"{weight_KVD.shape[0]} heads of {weight_KVD.shape[1]} symbols"
    print(f"\nheads and loss, {num_slots} slots, {heads}, forward and backward")
    for name, work in works.items():
        print(
            f"  {name:13} {statistics.median(seconds[name]) * 1e3:7.1f} ms  largest tensors {peak_bytes(work) / 2**20:7.1f} MiB"
        )


def peak_bytes(work: Callable[[], object]) -> int:
    """The most memory that was allocated at once on the CPU during `work`, above what there was."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, record_shapes=False) as found:
        work()
    held, most = 0, 0
    for event in sorted(found.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


def bench_generation(config: Bench, lm: UnifiedLM, other: Straightforward) -> None:
    tokens, conditions = lm.config.tokens, lm.config.conditions
    num_frames = round(config.generate_s * tokens.frame_rate_hz)
    num_slots = layout.num_slots(num_frames, tokens.num_layers)
    values = torch.randn(1, round(config.generate_s * conditions.audio_rate_hz), conditions.audio_width).to(config.device)
    given = Conditions(input=Features(values, torch.tensor([values.shape[1]], device=config.device)))
    prompt, greedy = Prompt(["sr"], given, [num_frames]), Sampling(temperature=0)
    eight = Prompt(
        ["sr"] * 8, Conditions(input=Features(values.expand(8, -1, -1), given.input.lengths_B.expand(8))), [num_frames] * 8
    )
    one_symbol, prefix = OneSymbol(other), lm.audio_adapter(values).detach()
    works = {
        "ours": lambda: generate(lm, prompt, greedy),
        "generate, 1 head": lambda: one_symbol(prefix, num_slots),
        "generate, all symbols": lambda: one_symbol(prefix, num_slots * tokens.num_layers),
        "own loop, K heads": lambda: other.generate(prefix, num_slots),
        "ours, batch 8": lambda: generate(lm, eight, greedy),
    }
    if config.compiled:
        works["ours, compiled"] = lambda: generate(lm, prompt, greedy, compiled=True)
    seconds = alternately(works, config.repeats, config.device)
    weights = sum(parameter.nbytes for parameter in (*lm.decoder.parameters(), lm.heads.even))
    print(f"\ngeneration, {num_slots} slots of {tokens.num_layers} symbols after {values.shape[1] + 3} positions, greedy")
    for name, times in seconds.items():
        middle, clips = statistics.median(times), 8 if "8" in name else 1
        print(
            f"  {name:21} {middle / num_slots * 1e3:7.2f} ms a slot  {clips * num_slots * tokens.num_layers / middle:7.0f} "
            f"symbols/s  reads weights at {weights * num_slots / middle / 1e9:5.1f} GB/s"
        )
    for mine in sorted({"ours", "ours, compiled"} & set(works)):
        for name in ("generate, 1 head", "generate, all symbols", "own loop, K heads"):
            ratios = [theirs / ours for ours, theirs in zip(seconds[mine], seconds[name])]
            print(f"  {mine}: {statistics.median(ratios):.2f} x {name} ({min(ratios):.2f} to {max(ratios):.2f})")
    flops = forward_flops(lm.config, [values.shape[1] + 3 + num_slots], num_slots)
    print(
        f"  {flops / 1e9:.1f} GFLOP for the clip; the weights alone, read by products of one row: {floor_ms(lm):.2f} ms a slot"
    )
    if config.profile:
        where_the_time_goes("ours", works["ours"])
        where_the_time_goes("generate, 1 head", works["generate, 1 head"])


@torch.no_grad()
def floor_ms(lm: UnifiedLM) -> float:
    """Of a slot: every matrix of the decoder and the heads of a slot times one row, and nothing else."""
    weights = [parameter for parameter in lm.decoder.parameters() if parameter.ndim == 2] + [lm.heads.even.flatten(0, 1)]
    turned = [weight.t().contiguous() for weight in weights]
    rows = [torch.randn_like(weight[:, :1]).t().contiguous() for weight in turned]
    work = {"products": lambda: [row @ weight for row, weight in zip(rows, turned)]}
    return 1e3 * statistics.median(alternately(work, 30, str(weights[0].device))["products"])


def where_the_time_goes(name: str, work: Callable[[], object], rows: int = 8) -> None:
    with profile(activities=[ProfilerActivity.CPU]) as found:
        work()
    events = sorted(found.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    parts = ", ".join(f"{e.key.removeprefix('aten::')} {e.self_cpu_time_total / total:.0%} ({e.count})" for e in events[:rows])
    calls = sum(event.count for event in events)
    print(f"  {name}: {total / 1e3:.0f} ms CPU, {calls} calls: {parts}")


def measured_peak(config: Bench) -> float:
    """FLOP/s of a large matrix product, the best of some."""
    x = torch.randn(1024, 1024, device=config.device, dtype=getattr(torch, config.precision))
    best = min(alternately({"product": lambda: x @ x}, 10, config.device)["product"])
    return 2 * 1024**3 / best


def main(argv: list[str]) -> None:
    config = tyro.cli(Bench, args=argv, prog="tests.bench.lm")
    torch.set_num_threads(config.threads)
    torch.manual_seed(0)
    # positions as transformers counts them, so that both sides do the same
    lm = UnifiedLM(replace(PRESETS[config.preset], clock="running")).to(config.device, getattr(torch, config.precision))
    other = Straightforward(lm).to(config.device, getattr(torch, config.precision))
    counts = [sum(parameter.numel() for parameter in parameters) / 1e6 for parameters in (lm.parameters(), other.parameters())]
    setting = f"{config.threads} threads, {config.device}, {config.precision}, torch {torch.__version__}"
    print(f"preset {config.preset}: {counts[0]:.1f} M parameters; {setting}")
    if "training" in config.parts:
        bench_training(config, lm, other)
    if "generation" in config.parts:
        bench_generation(config, lm.eval(), other)


if __name__ == "__main__":
    run(main)
