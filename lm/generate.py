"""Generation: prefill the conditions, then one slot a step with K heads, from a cache of keys and values.

Shapes: B clips, K layers, F frames, P slots, V symbols, D width.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lm import layout
from lm.cached import Cache, Stepper, prefill, turned, turns
from lm.conditions import Conditions
from lm.model import NEVER, Segment, UnifiedLM
from lm.offers import trusted
from lm.sampling import Sampling, choose, guided
from lm.slot_rules import slot_rules
from lm.tasks import CONDITIONS, task

CAPACITY_STEP = 256  # of a cache for compiled steps, so that few capacities are compiled


@dataclass(frozen=True)
class Prompt:
    """What is to be generated, a clip a row."""

    tasks: Sequence[str]
    conditions: Conditions
    limits: Sequence[int]  # frames of each target: exactly so many if the task is aligned, at most so many if it is free
    seeds: Sequence[int] = ()  # of each clip's draws; not needed where nothing is drawn


@dataclass(frozen=True)
class Frames:
    """Successive frames (or groups of frames) of a batch."""

    acoustic_BKF: Tensor
    semantic_BKF: Tensor
    num_frames_B: Tensor  # of each clip; what comes after them means nothing
    ended_B: Tensor  # bool: the model has said E; otherwise the limit was reached, or the clip goes on


@torch.no_grad()
def generate(model: UnifiedLM, prompt: Prompt, sampling: Sampling, *, compiled: bool = False) -> Frames:
    """Whole targets. A clip's codes depend on its row of the prompt and its seed, not on the rest of the batch.

    `compiled` compiles a step and, on a GPU, replays it as a CUDA graph: worth its start only for many or long clips.
    ValueError for a prompt that a task, or the model, cannot take.
    """
    chunks = list(stream(model, prompt, sampling, compiled=compiled))
    acoustic, semantic = (torch.cat([getattr(c, name) for c in chunks], dim=-1) for name in ("acoustic_BKF", "semantic_BKF"))
    return Frames(acoustic, semantic, torch.stack([chunk.num_frames_B for chunk in chunks]).sum(0), chunks[-1].ended_B)


def stream(
    model: UnifiedLM, prompt: Prompt, sampling: Sampling, *, chunk_frames: int = 25, compiled: bool = False
) -> Iterator[Frames]:
    """The same targets in chunks, each as soon as all layers of its frames are there. ValueError as `generate`."""
    if chunk_frames < 1:
        raise ValueError(f"chunk_frames is {chunk_frames}: give 1 or more")
    return _chunks(_Run(model, prompt, sampling, compiled), chunk_frames)


@torch.no_grad()
def _chunks(run: "_Run", chunk_frames: int) -> Iterator[Frames]:
    rules, tokens = run.rules, run.model.config.tokens
    slots, first = [], 0  # of the frames that have not been given
    for symbols_BK in run:
        slots.append(symbols_BK)
        done = rules.is_done(2 * first + len(slots) - 1)
        num_frames = (len(slots) - tokens.num_layers + 1) // 2  # of which all layers are there
        if done:
            num_frames = int(rules.num_groups_B.max()) - first
        if num_frames >= chunk_frames or done:
            codes = layout.codes_of(torch.stack(slots, dim=1), num_frames, tokens)
            yield Frames(*codes, (rules.num_groups_B - first).clamp(0, num_frames), rules.chosen_B.clone())
            slots, first = slots[2 * num_frames :], first + num_frames
        if done:
            return


class _Run:
    """Iterates over the slots (B, K) of a prompt."""

    @torch.no_grad()
    def __init__(self, model: UnifiedLM, prompt: Prompt, sampling: Sampling, compiled: bool):
        self.model, self.prompt, self.sampling = model, prompt, sampling
        device = model.heads.even.device
        _check(prompt, sampling)
        self.task_B = torch.tensor([model.config.task_index(name) for name in prompt.tasks], device=device)
        tasks = [task(name) for name in prompt.tasks]
        self.guided_BC = torch.tensor([[t.guided == c for c in CONDITIONS] for t in tasks], device=device)
        limits_B = torch.tensor(prompt.limits, device=device)
        num_targets_B = torch.tensor([t.num_targets for t in tasks], device=device)
        self.period_B = (limits_B // num_targets_B).where(num_targets_B > 1, NEVER)
        self.num_targets_B, self.offers = num_targets_B, None
        self.rules = slot_rules(model.config.tokens, limits_B, torch.tensor([t.length == "free" for t in tasks], device=device))
        self.uniform_PBK = None if sampling.temperature == 0 else self._draws(device)
        with torch.inference_mode():
            self.hidden_BD, self.cache = self._prefill(CAPACITY_STEP if compiled else 1)
            self.slots, self.rotation = SlotMaps(model), self._all_turns()
            stepper = Stepper(model.decoder)
            self.step = compiled_step(stepper, self.cache, model.config.decoder.width) if compiled else stepper

    def _draws(self, device: torch.device) -> Tensor:
        shape = (self.rules.num_slots, self.model.config.tokens.num_layers)
        draws = [
            torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in self.prompt.seeds
        ]
        return torch.stack(draws, dim=1).to(device)

    def _prefill(self, capacity_step: int) -> tuple[Tensor, Cache]:
        model, conditions, task_B = self.model, self.prompt.conditions.to(self.task_B.device), self.task_B
        if self.sampling.guidance != 1:  # every clip once more, without what guides it
            conditions, task_B = conditions.joined(conditions.kept(~self.guided_BC)), task_B.repeat(2)
        start_B1K = task_B.new_full((len(task_B), 1, model.config.tokens.num_layers), model.config.tokens.start)
        segments, clocks = model.prefix(task_B, conditions)
        num_targets_B = self.num_targets_B.repeat(len(task_B) // len(self.task_B))
        offers_BPK = model.offers(conditions, self.rules.num_slots, num_targets_B)
        first_B1K = None
        if offers_BPK is not None:
            self.offers, first_B1K = Offers(model, offers_BPK), offers_BPK[:, :1]
        target = Segment(model.embed_slots(start_B1K, -1, first_B1K), torch.ones_like(task_B))
        x_BLD, clock_BL, lengths_B = model.pack([*segments, target], [*clocks, torch.full_like(start_B1K[:, :, 0], -1)])
        capacity = x_BLD.shape[1] + self.rules.num_slots
        if capacity > model.config.max_positions:
            raise ValueError(
                f"rows of {capacity} positions; the model takes {model.config.max_positions}: cut audio into chunks"
            )
        cache = Cache(model.config.decoder, len(task_B), capacity + -capacity % capacity_step, x_BLD)
        return prefill(model.decoder, x_BLD, clock_BL, lengths_B, cache), cache

    def __iter__(self) -> Iterator[Tensor]:
        for slot in range(self.rules.num_slots):
            with torch.inference_mode():
                symbols_BK = self._choose(slot)
            yield symbols_BK
            with torch.inference_mode():
                self._advance(symbols_BK, slot)

    def _choose(self, slot: int) -> Tensor:
        rules, sampling = self.rules, self.sampling
        logits_BKV = self.slots.logits(self.hidden_BD, slot)
        if self.offers:
            logits_BKV = self.offers.trusted(logits_BKV, self.hidden_BD, slot)
        if sampling.guidance != 1:
            logits_BKV = guided(logits_BKV, sampling.guidance)
        draws_BK = None if self.uniform_PBK is None else self.uniform_PBK[slot]
        return rules.settle(choose(rules.restrict(logits_BKV, slot), draws_BK, sampling), slot)

    def _advance(self, symbols_BK: Tensor, slot: int) -> None:
        x_BD, clock_B = self.slots.embedded(symbols_BK, slot), self.rules.clock(slot, self.period_B)
        if self.sampling.guidance != 1:
            x_BD = x_BD.repeat(2, 1)
        if self.offers and slot + 1 < self.rules.num_slots:
            x_BD = x_BD + self.offers.x_BPD[:, slot + 1]
        rotation = self._turns(clock_B[:, None]) if self.rotation is None else self.rotation[:, :, :, slot : slot + 1]
        self.hidden_BD = self.step(x_BD, rotation, self.cache)

    def _all_turns(self) -> Tensor | None:
        """Rotations of all slots, where they are known beforehand."""
        slots_P, rules = torch.arange(self.rules.num_slots, device=self.task_B.device), self.rules
        if self.model.config.clock == "running":
            return turns(self.cache.lengths_B[:, None] + slots_P, self.model.config.decoder, self.hidden_BD.dtype)
        if self.model.config.tokens.max_duration_frames > 1:
            return None
        return self._turns(torch.stack([rules.clock(slot, self.period_B) for slot in range(rules.num_slots)], dim=1))

    def _turns(self, clock_BP: Tensor) -> Tensor:
        clock_BP = clock_BP if self.sampling.guidance == 1 else clock_BP.repeat(2, 1)
        return turns(clock_BP, self.model.config.decoder, self.hidden_BD.dtype)


class SlotMaps:
    """A model's embeddings and heads, laid out for one slot at a time."""

    def __init__(self, model: UnifiedLM):
        tokens, table = model.config.tokens, model.slots
        layers_K = torch.arange(tokens.num_layers, device=table.tables.weight.device)
        self.heads = [turned(weight_KVD.flatten(0, 1)) for weight_KVD in (model.heads.even, model.heads.odd)]
        self.first = [table.rows(torch.zeros_like(layers_K)[None], parity)[0] for parity in (0, 1)]
        self.tables, self.segment_D = table.tables.weight, model.target_segment
        self.num_layers = tokens.num_layers

    def logits(self, hidden_BD: Tensor, slot: int) -> Tensor:
        """(B, K, V)."""
        return torch.mm(hidden_BD, self.heads[slot % 2]).view(len(hidden_BD), self.num_layers, -1)

    def embedded(self, symbols_BK: Tensor, slot: int) -> Tensor:
        """(B, D), as `UnifiedLM.embed_slots`."""
        return F.embedding(symbols_BK + self.first[slot % 2], self.tables).sum(1).add_(self.segment_D)


class Offers:
    """What the input offers for all slots, as a model hears and trusts it."""

    def __init__(self, model: UnifiedLM, symbols_BPK: Tensor):
        self.symbols_BPK, self.trust = symbols_BPK, model.trust
        self.x_BPD = model.offered(model.slots(symbols_BPK, 0))

    def trusted(self, logits_BKV: Tensor, hidden_BD: Tensor, slot: int) -> Tensor:
        return trusted(logits_BKV, self.symbols_BPK[:, slot], self.trust(hidden_BD, slot % 2))


def compiled_step(stepper: Stepper, cache: Cache, width: int) -> Callable[[Tensor, Tensor, Cache], Tensor]:
    """The stepper's step of static shapes, compiled; on a GPU a CUDA graph of it."""
    on_gpu = cache.rows_B.is_cuda
    options = None if on_gpu else {"cpp_wrapper": True}  # a step in one call of C++: Python between the kernels costs a third
    masked = torch.compile(stepper.masked, dynamic=False, fullgraph=True, options=options)

    def step(x_BD: Tensor, rotation: Tensor, cache: Cache) -> Tensor:
        hidden_BD = masked(x_BD, rotation, cache)
        cache.advance()
        return hidden_BD

    return _graph(step, cache, width) if on_gpu else step


def _graph(step: Callable, cache: Cache, width: int) -> Callable[[Tensor, Tensor, Cache], Tensor]:
    """The step captured once and replayed: no launches from Python, which is what a small step costs on a GPU."""
    num_rows, head_width, like = len(cache.rows_B), cache.keys[0].shape[3], cache.keys[0]
    x_BD, rotation = like.new_zeros(num_rows, width), like.new_zeros(2, num_rows, 1, 1, head_width)
    lengths_B = cache.lengths_B.clone()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):  # compiles and warms up, as capture demands
            step(x_BD, rotation, cache)
            cache.lengths_B.copy_(lengths_B)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        hidden_BD = step(x_BD, rotation, cache)

    def replay(x: Tensor, turn: Tensor, _: Cache) -> Tensor:
        x_BD.copy_(x)
        rotation.copy_(turn)
        graph.replay()
        return hidden_BD

    return replay


def _check(prompt: Prompt, sampling: Sampling) -> None:
    counts = {"tasks": len(prompt.tasks), "limits": len(prompt.limits)}
    if sampling.temperature > 0:
        counts["seeds"] = len(prompt.seeds)
    if not prompt.tasks or len(set(counts.values())) > 1:
        raise ValueError(
            f"a prompt of {', '.join(f'{count} {name}' for name, count in counts.items())}: give one of each for each clip"
        )
    if min(prompt.limits) < 1:
        raise ValueError(f"limits {list(prompt.limits)}: every target has at least one frame")
    prompt.conditions.check(prompt.tasks)
