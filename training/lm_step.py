"""One step of language model training: frozen encoders, then the model in a DeepSpeed engine, then averaged weights.

The loss is the mean over all target tokens of the joined step: each rank and micro-batch counts by its tokens, so that a step
on any number of ranks, cut into any micro-batches, is the same step.

Shapes: B clips, S streams, K layers.
"""

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lm.conditions import Encoders
from lm.flops import mfu, training_flops
from lm.model import Batch, UnifiedLM
from training import state_dicts
from training.collective import mean_over_ranks, world_size
from training.data.token_stream import TokenBatch
from training.ema import WeightAverage
from training.engine import Engine, make_engine
from training.lm_batches import encoded, row_lengths
from training.lm_config import LMTraining
from training.peak_flops import peak_flops_per_s
from training.token_scores import TokenScores, sum_over_ranks


class Learner(nn.Module):
    """The model as its engine runs it: tuples out, because DeepSpeed finds the tensors of tuples only."""

    def __init__(self, lm: UnifiedLM):
        super().__init__()
        self.lm = lm

    def forward(self, batch: Batch, label_smoothing: float) -> tuple[Tensor, Tensor, int, int]:
        """The sum to train on, (3, B, S, K) sums of nll, correct and targets, padding and all positions of the rows."""
        losses = self.lm(batch, label_smoothing)
        sums_3BSK = torch.stack([losses.nll_BSK, losses.correct_BSK, losses.num_targets_BSK])
        return losses.total, sums_3BSK, losses.num_padding, losses.num_positions


@dataclass
class Sums:
    """What the micro-batches of a step add up to, on this rank."""

    scores: TokenScores
    counts_3: Tensor  # what is trained on, padding, positions
    others: Counter = field(default_factory=Counter)  # name -> scalar Tensor

    def add(self, task_B: Tensor, total: Tensor, sums_3BSK: Tensor, num_padding: int, num_positions: int) -> Tensor:
        """What a Learner gives; its total again."""
        self.scores.add(task_B, sums_3BSK)
        more_2 = self.counts_3.new_tensor([num_padding, num_positions])
        self.counts_3 += torch.cat([total.detach().double()[None], more_2])
        return total

    def add_others(self, found: Mapping[str, Tensor]) -> None:
        """Of each the mean over micro-batches and ranks is reported."""
        for name, value in found.items():
            self.others[name] += value.detach().double()


class LMTrainee:
    """A language model in training. Every method is collective: all ranks call it, in the same order."""

    learner = Learner

    def __init__(self, lm: UnifiedLM, encoders: Encoders, config: LMTraining, device: torch.device | str = "cpu"):
        self.lm, self.config, self.device = lm.train(), config, torch.device(device)
        self.lm.decoder.activation_checkpointing = config.activation_checkpointing
        self.encoders = encoders.to(self.device)
        self.engine = make_engine(self.learner(lm), config.engine, config.training, device)
        decay = config.training.ema_decay
        self.average = WeightAverage(self.engine, decay) if decay else None
        stated = config.peak_tflops and 1e12 * config.peak_tflops
        self._peak_flops_per_s = stated or peak_flops_per_s(self.device, config.training.precision)

    def step(self, batches: list[TokenBatch], step: int) -> dict[str, float]:
        """One optimizer step on this rank's micro-batches; steps count from 1. The same numbers on all ranks.

        Where a loss or a gradient is not finite on any rank, nothing changes on any, and "skipped" is 1.
        """
        began_s = time.perf_counter()
        inputs = [self._input(batch) for batch in batches]
        num_targets = float(sum_over_ranks(sum(self._num_targets(one) for one in inputs)))
        found = self._gradients(inputs, batches, num_targets, step)
        scores = found.scores.over_ranks()
        assert scores.num_targets == num_targets, (scores.num_targets, num_targets)
        objective, num_padding, num_positions = sum_over_ranks(found.counts_3).tolist()
        metrics = scores.metrics() | {"objective": objective / num_targets} | self._means(found, len(inputs))
        share = self.config.training.schedule.factor(step)
        held = not all(math.isfinite(value) for value in metrics.values())
        for engine in self.engines().values():
            engine.step(share, held=held)
        if held:
            return {name: value for name, value in metrics.items() if math.isfinite(value)} | {"skipped": 1.0}
        if self.average:
            self.average.update(step)
        metrics |= {"skipped": 0.0, "learning_rate_share": share, "padding_share": num_padding / num_positions}
        return metrics | self._speed(inputs, num_targets, time.perf_counter() - began_s)

    def engines(self) -> dict[str, Engine]:
        """All that is trained, the model first."""
        return {"model": self.engine}

    def learn(self, one: Batch, source: TokenBatch, sums: Sums, *, weight: float, is_last: bool, step: int) -> None:
        """Adds the gradients of a micro-batch."""
        found = self.engine(one, self.config.label_smoothing)
        self.engine.backward(sums.add(one.task_B, *found) * weight, is_last=is_last)

    def state(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """File names and tensors for any number of ranks, to be loaded by `load`; the tensors on rank 0 only."""
        for name, engine in self.engines().items():
            yield name, state_dicts.weights(engine)
            yield f"{name}_optimiser", state_dicts.optimiser(engine)
        if self.average:
            with self.average.swapped():
                yield "ema", state_dicts.weights(self.engine)

    def load(self, files: Mapping[str, dict[str, Tensor]]) -> None:
        """Go on from a state; ValueError unless every weight and moment of this configuration is in it."""
        if self.average:
            with self.average.swapped():
                state_dicts.load_weights(self.engine, files["ema"], "ema")
        for name, engine in self.engines().items():
            state_dicts.load_weights(engine, files[name], name)
            state_dicts.load_optimiser(engine, files[f"{name}_optimiser"], f"{name}_optimiser")

    def publish(self) -> UnifiedLM:
        """The model with averaged weights, in eval mode on this rank's device; the same on every rank, and a copy."""
        if self.average:
            with self.average.swapped():
                tensors = state_dicts.weights(self.engine, everywhere=True)
        else:
            tensors = state_dicts.weights(self.engine, everywhere=True)
        with torch.device("meta"):
            published = UnifiedLM(self.lm.config)
        published.load_state_dict({name.removeprefix("lm."): tensor for name, tensor in tensors.items()}, assign=True)
        return published.requires_grad_(False).eval().to(self.device)

    def _input(self, batch: TokenBatch) -> Batch:
        return encoded(self.lm.config, self.encoders, batch, device=self.device, dropout=self.config.condition_dropout)

    def _num_targets(self, batch: Batch) -> Tensor:
        """Tokens with a label."""
        tokens = self.lm.config.tokens
        return batch.num_frames_B.sum() * (tokens.num_acoustic + tokens.num_semantic) + batch.free_B.sum()

    def _gradients(self, inputs: list[Batch], sources: list[TokenBatch], num_targets: float, step: int) -> Sums:
        """Those of all micro-batches, left in the engines; each counts by its share of all targets."""
        scores = TokenScores(self.lm.config.tasks, self.lm.config.tokens.num_layers, self.device)
        sums = Sums(scores, torch.zeros(3, dtype=torch.float64, device=self.device))
        weight = len(inputs) * world_size() / num_targets  # the engine takes means over micro-batches and ranks
        for index, (one, source) in enumerate(zip(inputs, sources)):
            self.learn(one, source, sums, weight=weight, is_last=index == len(inputs) - 1, step=step)
        return sums

    def _means(self, found: Sums, num_micro_batches: int) -> dict[str, float]:
        """Over micro-batches and ranks; gradient norms among them."""
        values = {"gradient_norm": self.engine.gradient_norm()}
        values |= {
            f"gradient_norm/{name}": one.gradient_norm() for name, one in self.engines().items() if one is not self.engine
        }
        values |= {name: value / num_micro_batches for name, value in found.others.items()}
        return dict(zip(values, mean_over_ranks(torch.stack(list(values.values()))).tolist()))

    def _speed(self, inputs: list[Batch], num_targets: float, seconds: float) -> dict[str, float]:
        """Target tokens a second of all ranks, and of a device's peak the share that was of use, the mean over ranks."""
        num_layers, num_slots = self.lm.config.tokens.num_layers, 0
        lengths: list[int] = []
        for one in inputs:
            lengths += row_lengths(one, num_layers).tolist()
            num_slots += int((2 * one.num_frames_B + max(num_layers - 1, 1)).sum())
        flops = training_flops(self.lm.config, lengths, num_slots)
        seconds, flops = mean_over_ranks(torch.tensor([seconds, flops], dtype=torch.float64, device=self.device)).tolist()
        used = {"mfu": mfu(flops, seconds, self._peak_flops_per_s)} if self._peak_flops_per_s else {}
        return {"tokens_per_s": num_targets / seconds} | used
