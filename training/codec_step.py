"""One step of codec training: generator against discriminators, in two DeepSpeed engines, then codebooks and averaged weights.

The order of the calls is the one that equals plain torch at ZeRO 0-3: the generator's loss sees the discriminators frozen,
through their raw module, once, on fake and real clips together; the discriminators' own loss is one forward pass of their
engine. Both gradients are of the same weights, and both engines step together at the end, or not at all.

Shapes: B clips, T samples, F frames, D width, K quantiser layers, N draws.
"""

import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from codec import losses
from codec.config import CodecConfig
from codec.discriminators.ensemble import Discriminators
from codec.model import Codec
from codec.quantise import ResidualQuantiser, Statistics, usage
from codec.weights import filled
from training import state_dicts
from training.codebooks import CollapseAlarm, assert_same_buffers, initialise_codebooks, reduce_statistics
from training.collective import mean_over_ranks, rank
from training.config import CodecTraining
from training.ema import WeightAverage
from training.engine import Engine, make_engine
from training.keys import key

ALL_LAYERS_SHARE = 0.5  # of clips that use every quantiser layer, where quantiser dropout is on (arXiv 2306.06546, section 3.2)
THRESHOLDS = (0.5, 1.0)  # range of the grouping threshold in training, for dynamic frame rates

logger = logging.getLogger(__name__)


class Clips(Protocol):
    """A micro-batch of the data stream (training/data/stream.py)."""

    wave_BT: Tensor
    num_samples_B: Tensor
    draws_BN: Tensor  # keyed uniforms in [0, 1): column 0 for quantiser dropout, 1 for the grouping threshold


class Reconstruction(nn.Module):
    """The codec as the generator's engine runs it: tuples out, because DeepSpeed finds the tensors of tuples only."""

    def __init__(self, codec: Codec):
        super().__init__()
        self.codec = codec

    def forward(self, inputs: "Inputs") -> tuple[Tensor, Tensor, Tensor, tuple[Statistics, Statistics]]:
        output = self.codec(
            inputs.wave_BT,
            inputs.feature_BDF,
            inputs.num_samples_B,
            num_layers_B=inputs.num_layers_B,
            threshold_B=inputs.threshold_B,
        )
        statistics = (output.acoustic.statistics, output.semantic.statistics)
        return output.reconstruction_BT.float(), output.feature_BDF.float(), output.commitment, statistics


@dataclass
class Inputs:
    """A micro-batch as the generator takes it."""

    wave_BT: Tensor
    feature_BDF: Tensor
    num_samples_B: Tensor | None  # None: all clips fill the batch
    num_layers_B: Tensor | None
    threshold_B: Tensor | None


@dataclass
class Sums:
    """What the micro-batches of a step add up to."""

    losses: Counter = field(default_factory=Counter)  # name -> scalar Tensor
    statistics: list[Statistics] = field(default_factory=list)  # acoustic, semantic

    def add(self, found: Mapping[str, Tensor], statistics: Sequence[Statistics] = ()) -> None:
        for name, loss in found.items():
            self.losses[name] += loss.detach().double()
        if statistics:
            pairs = zip(self.statistics, statistics)
            self.statistics = [total + one for total, one in pairs] if self.statistics else list(statistics)


class CodecTrainee:
    """A codec and its discriminators in training. Every method is collective: all ranks call it, in the same order."""

    def __init__(self, codec: Codec, config: CodecTraining, device: torch.device | str = "cpu"):
        self.codec, self.config, self.device = codec.train(), config, torch.device(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key(config.training.seed, "discriminators"))
            discriminators = Discriminators(config.discriminators)
        self.generator = make_engine(Reconstruction(codec), config.generator, config.training, device)
        self.discriminator = make_engine(discriminators, config.discriminator, config.training, device)
        self.average = WeightAverage(self.generator, config.training.ema_decay)
        self._alarm = CollapseAlarm()

    def step(self, batches: list[Clips], step: int) -> dict[str, float]:
        """One optimizer step on this rank's micro-batches; steps count from 1. The same numbers on all ranks.

        Where an input, a latent that a codebook would start from, a loss or a gradient is not finite on any rank, nothing
        changes on any, and "skipped" is 1.
        """
        inputs = self._inputs(batches)
        if not inputs:
            return {"skipped": 1.0}
        buffers = [(buffer, buffer.clone()) for buffer in self._uninitialised()]
        if not self._initialise(inputs, step):
            return {"skipped": 1.0}
        sums = self._gradients(inputs, step)
        result = self._result(sums, len(inputs), step)
        held = not all(math.isfinite(value) for value in result.values())
        share = self.config.training.schedule.factor(step)
        for engine in self._engines(step):
            engine.step(share, held=held)
        if held:
            for buffer, before in buffers:
                buffer.copy_(before)
            return {name: value for name, value in result.items() if math.isfinite(value)} | {"skipped": 1.0}
        self.average.update(step)
        return result | {"skipped": 0.0, "learning_rate_share": share} | self._update_codebooks(sums.statistics, step)

    def state(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """File names and tensors for any number of ranks, to be loaded by `load`; the tensors on rank 0 only."""
        assert_same_buffers(self.codec)
        for name, engine in self._named_engines().items():
            yield name, state_dicts.weights(engine)
            yield f"{name}_optimiser", state_dicts.optimiser(engine)
        with self.average.swapped():
            averaged = state_dicts.weights(self.generator)
        yield "ema", averaged  # once the weights are back: who reads this may fail

    def load(self, files: Mapping[str, dict[str, Tensor]]) -> None:
        """Go on from a state; ValueError unless every weight, moment and buffer of this configuration is in it."""
        with self.average.swapped():
            state_dicts.load_weights(self.generator, files["ema"], "ema")
        for name, engine in self._named_engines().items():
            state_dicts.load_weights(engine, files[name], name)
            state_dicts.load_optimiser(engine, files[f"{name}_optimiser"], f"{name}_optimiser")
        assert_same_buffers(self.codec)

    def publish(self) -> Codec | None:
        """A copy of the codec with averaged weights, in eval mode on rank 0's device; None on the other ranks."""
        with self.average.swapped():
            tensors = state_dicts.weights(self.generator)
        if rank() != 0:
            return None
        tensors = {name.removeprefix("codec."): tensor for name, tensor in tensors.items()}
        published = filled(Codec, self.codec.config, tensors, "averaged weights")
        published._held = self.codec._held  # the same teacher, not a second one in memory
        return published.to(self.device)

    def _named_engines(self) -> dict[str, Engine]:
        return {"generator": self.generator, "discriminator": self.discriminator}

    def _engines(self, step: int) -> list[Engine]:
        """Those that take part in a step."""
        return [self.generator, self.discriminator] if self.config.discriminates(step) else [self.generator]

    def _inputs(self, batches: list[Clips]) -> list[Inputs]:
        """The micro-batches on the device; none where anything is not finite on any rank.

        Where any clip of the step is padded, on any rank, all micro-batches take masks: ZeRO-2 sums gradients in the order in
        which backward reaches the weights, so the graph must be the same on all ranks (or it silently sums those of others).
        """
        waves = [batch.wave_BT.to(self.device, non_blocking=True) for batch in batches]
        is_full = all(bool((batch.num_samples_B == batch.wave_BT.shape[-1]).all()) for batch in batches)
        is_finite = torch.stack([wave_BT.isfinite().all() for wave_BT in waves]).all()
        flags = torch.stack([is_finite, torch.tensor(is_full, device=self.device)])
        is_finite, is_full = (mean == 1 for mean in mean_over_ranks(flags.double()).tolist())
        return [self._input(batch, wave_BT, is_full) for batch, wave_BT in zip(batches, waves)] if is_finite else []

    def _input(self, batch: Clips, wave_BT: Tensor, is_full: bool) -> Inputs:
        num_samples_B = None if is_full else batch.num_samples_B.to(self.device, non_blocking=True)
        drawn_B = drawn(batch.draws_BN, self.codec.config)
        num_layers_B, threshold_B = (None if one is None else one.to(self.device, non_blocking=True) for one in drawn_B)
        return Inputs(wave_BT, self.codec.feature(wave_BT, num_samples_B), num_samples_B, num_layers_B, threshold_B)

    def _uninitialised(self) -> list[Tensor]:
        """Buffers of the quantisers that have not had their k-means start."""
        quantisers = [module for module in self.codec.modules() if isinstance(module, ResidualQuantiser)]
        return [buffer for one in quantisers if not bool(one.initialised.all()) for buffer in one.buffers()]

    def _initialise(self, inputs: list[Inputs], step: int) -> bool:
        """The k-means start from the clips of this step, where it has not been; `raw`, because nothing is trained by it.

        False, on all ranks, where it cannot be.
        """
        start = key(self.config.training.seed, "k-means", step)
        return initialise_codebooks(self.codec, lambda: [self.generator.raw(one) for one in inputs], start)

    def _gradients(self, inputs: list[Inputs], step: int) -> Sums:
        """Both networks' gradients of all micro-batches, left in the engines."""
        sums = Sums()
        for index, one in enumerate(inputs):
            is_last = index == len(inputs) - 1
            fake_BT = self._generator_gradient(one, sums, is_last=is_last, step=step)
            if self.config.discriminates(step):
                judgements = self.discriminator(
                    torch.cat([one.wave_BT, fake_BT]), _twice(one.num_samples_B), self.config.segments
                )
                loss = losses.discriminator_loss(*losses.halves(judgements))
                self.discriminator.backward(loss, is_last=is_last)
                sums.add({"discriminator": loss})
        return sums

    def _generator_gradient(self, one: Inputs, sums: Sums, *, is_last: bool, step: int) -> Tensor:
        """Adds the generator's gradient of a micro-batch; its reconstruction, detached."""
        fake_BT, feature_BDF, commitment, statistics = self.generator(one)
        rate_hz, weights = self.codec.config.sample_rate_hz, self.config.losses
        found = {
            "mel": losses.mel_distance(one.wave_BT, fake_BT, rate_hz, one.num_samples_B),
            "semantic": losses.semantic_distance(
                one.feature_BDF, feature_BDF, feature_frames(one.num_samples_B, self.codec.config)
            ),
            "commitment": commitment,
        }
        share = self.config.adversarial_share(step)
        with self.discriminator.frozen():
            if share:
                both_BT = torch.cat([fake_BT, one.wave_BT])
                judgements = self.discriminator.raw(both_BT, _twice(one.num_samples_B), self.config.segments)
                fake, real = losses.halves(judgements)
                found |= {"adversarial": losses.adversarial_loss(fake), "feature_matching": losses.feature_matching(real, fake)}
            shares = {"adversarial": share, "feature_matching": share}
            total = sum(loss * getattr(weights, name) * shares.get(name, 1.0) for name, loss in found.items())
            self.generator.backward(total, is_last=is_last)
        sums.add(found | {"generator": total}, statistics)
        return fake_BT.detach()

    def _result(self, sums: Sums, num_micro_batches: int, step: int) -> dict[str, float]:
        """Losses, as means over micro-batches and ranks, and gradient norms; not finite where any was on any rank."""
        values = {f"loss/{name}": loss / num_micro_batches for name, loss in sums.losses.items()}
        for name, engine in zip(self._named_engines(), self._engines(step)):
            values[f"gradient_norm/{name}"] = engine.gradient_norm()
        return dict(zip(values, mean_over_ranks(torch.stack(list(values.values()))).tolist()))

    def _update_codebooks(self, statistics: list[Statistics], step: int) -> dict[str, float]:
        """One update of both quantisers from the whole batch; how their codes are used."""
        found = {}
        quantisers = {"acoustic": self.codec.acoustic_quantiser, "semantic": self.codec.semantic_quantiser}
        for (stream, quantiser), mine in zip(quantisers.items(), statistics):
            quantiser.update(reduce_statistics(mine), key(self.config.training.seed, "codebooks", stream, step))
            used = usage(quantiser.counts)
            for layer, (share, perplexity) in enumerate(zip(used.share_K.tolist(), used.perplexity_K.tolist())):
                found |= {f"codebook/{stream}/{layer}/usage": share, f"codebook/{stream}/{layer}/perplexity": perplexity}
            for message in self._alarm(stream, quantiser.counts):
                if rank() == 0:
                    logger.warning(message)
        return found


def drawn(draws_BN: Tensor, config: CodecConfig) -> tuple[Tensor | None, Tensor | None]:
    """From keyed draws: quantiser layers to use (B,), all for half of the clips; grouping threshold (B,). None: not wanted."""
    num_layers_B = threshold_B = None
    if config.quantiser.dropout:
        most = max(config.quantiser.num_acoustic, config.quantiser.num_semantic)
        rest_B = (draws_BN[:, 0].double() - ALL_LAYERS_SHARE) / (1 - ALL_LAYERS_SHARE)
        num_layers_B = torch.where(rest_B < 0, most, 1 + (rest_B * most).long()).clamp(max=most)
    if config.grouping:
        low, high = THRESHOLDS
        threshold_B = low + (high - low) * draws_BN[:, 1].float()
    return num_layers_B, threshold_B


def feature_frames(num_samples_B: Tensor | None, config: CodecConfig) -> Tensor | None:
    """Frames of the teacher's feature of clips of these lengths, each continued to whole frames of the codec."""
    if num_samples_B is None:
        return None
    return (num_samples_B + config.samples_per_frame - 1) // config.samples_per_frame * config.teacher_frames_per_frame


def _twice(num_samples_B: Tensor | None) -> Tensor | None:
    return None if num_samples_B is None else num_samples_B.repeat(2)
