"""One step of language model training: frozen encoders, then the model in a DeepSpeed engine, then averaged weights.

The loss is the mean over all target tokens of the joined step: each rank and micro-batch counts by its tokens, so that a step
on any number of ranks, cut into any micro-batches, is the same step.

Shapes: B clips, S streams, K layers.
"""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lm.conditions import Encoders
from lm.flops import mfu, training_flops
from lm.model import Batch, UnifiedLM
from training import state_dicts
from training.collective import mean_over_ranks, world_size
from training.data.token_stream import TokenBatch
from training.ema import WeightAverage
from training.engine import make_engine
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


@dataclass(frozen=True)
class Sums:
    """What the micro-batches of a step add up to, on this rank."""

    scores: TokenScores
    counts: Tensor  # (3,): what is trained on, padding, positions


class LMTrainee:
    """A language model in training. Every method is collective: all ranks call it, in the same order."""

    def __init__(self, lm: UnifiedLM, encoders: Encoders, config: LMTraining, device: torch.device | str = "cpu"):
        self.lm, self.config, self.device = lm.train(), config, torch.device(device)
        self.lm.decoder.activation_checkpointing = config.activation_checkpointing
        self.encoders = encoders.to(self.device)
        self.engine = make_engine(Learner(lm), config.engine, config.training, device)
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
        found = self._gradients(inputs, num_targets)
        scores = found.scores.over_ranks()
        assert scores.num_targets == num_targets, (scores.num_targets, num_targets)
        objective, num_padding, num_positions = sum_over_ranks(found.counts).tolist()
        norm = float(mean_over_ranks(self.engine.gradient_norm()))
        metrics = scores.metrics() | {"objective": objective / num_targets, "gradient_norm": norm}
        share = self.config.training.schedule.factor(step)
        held = not all(math.isfinite(value) for value in metrics.values())
        self.engine.step(share, held=held)
        if held:
            return {name: value for name, value in metrics.items() if math.isfinite(value)} | {"skipped": 1.0}
        if self.average:
            self.average.update(step)
        metrics |= {"skipped": 0.0, "learning_rate_share": share, "padding_share": num_padding / num_positions}
        return metrics | self._speed(inputs, num_targets, time.perf_counter() - began_s)

    def state(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """File names and tensors for any number of ranks, to be loaded by `load`; the tensors on rank 0 only."""
        yield "model", state_dicts.weights(self.engine)
        yield "model_optimiser", state_dicts.optimiser(self.engine)
        if self.average:
            with self.average.swapped():
                yield "ema", state_dicts.weights(self.engine)

    def load(self, files: Mapping[str, dict[str, Tensor]]) -> None:
        """Go on from a state; ValueError unless every weight and moment of this configuration is in it."""
        if self.average:
            with self.average.swapped():
                state_dicts.load_weights(self.engine, files["ema"], "ema")
        state_dicts.load_weights(self.engine, files["model"], "model")
        state_dicts.load_optimiser(self.engine, files["model_optimiser"], "model_optimiser")

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

    def _gradients(self, inputs: list[Batch], num_targets: float) -> "Sums":
        """Those of all micro-batches; each counts by its share of all targets."""
        scores = TokenScores(self.lm.config.tasks, self.lm.config.tokens.num_layers, self.device)
        counts_3 = torch.zeros(3, dtype=torch.float64, device=self.device)
        weight = len(inputs) * world_size() / num_targets  # the engine takes means over micro-batches and ranks
        for index, one in enumerate(inputs):
            total, sums_3BSK, num_padding, num_positions = self.engine(one, self.config.label_smoothing)
            self.engine.backward(total * weight, is_last=index == len(inputs) - 1)
            scores.add(one.task_B, sums_3BSK)
            counts_3 += torch.cat([total.detach().double()[None], counts_3.new_tensor([num_padding, num_positions])])
        return Sums(scores, counts_3)

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
