"""A minuscule codec in adversarial training, for tests: what real ranks do with it, and the same in plain torch.

Shapes: B clips, T samples.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from codec import losses
from codec.config import CodecConfig
from codec.discriminators.ensemble import DiscriminatorConfig
from codec.model import Codec
from tests.codec import samples
from training import codec_step
from training.codebooks import initialise_codebooks
from training.codec_step import CodecTrainee
from training.collective import rank, world_size
from training.config import CodecTraining, EngineConfig, ScheduleConfig, TrainingConfig
from training.keys import key

BATCH, MICRO_BATCH, NUM_SAMPLES = 4, 1, 2560
DISCRIMINATORS = DiscriminatorConfig((2,), (4, 8), (128,), (128,), spectral_width=4)
FIXED = replace(
    samples.FIXED,
    quantiser=replace(samples.FIXED.quantiser, num_acoustic=2, codebook_size=8),
    decoder=replace(samples.DECODER, dropout=0.0),  # drawn from each rank's global generator
)


@dataclass(frozen=True)
class Batch:
    """What the data stream gives."""

    keys: tuple[str, ...]
    wave_BT: Tensor
    num_samples_B: Tensor
    draws_BN: Tensor


def batches(step: int, rank: int = 0, world_size: int = 1, config: CodecConfig = FIXED) -> list[Batch]:
    """A rank's micro-batches of a step; every other step has a short clip. Joined, they are the same for all world sizes."""
    num_samples = NUM_SAMPLES * config.sample_rate_hz // 16000
    wave_BT = samples.noises(BATCH, num_samples, seed=step)
    num_samples_B = torch.full((BATCH,), num_samples)
    num_samples_B[1] -= step % 2 * (num_samples // 2 + step)
    wave_BT *= torch.arange(num_samples) < num_samples_B[:, None]
    draws_BN = torch.rand(BATCH, 2, generator=torch.Generator().manual_seed(step))
    share = BATCH // world_size
    starts = range(rank * share, (rank + 1) * share, MICRO_BATCH)
    cuts = [slice(start, start + MICRO_BATCH) for start in starts]
    return [Batch(("key",) * MICRO_BATCH, wave_BT[cut], num_samples_B[cut], draws_BN[cut]) for cut in cuts]


def training(stage: int = 0, precision: str = "fp32", learning_rate: float = 1e-3) -> CodecTraining:
    # Adam divides a gradient by its size: with the usual epsilon it makes as much of one that is nothing but rounding (of a
    # bias in front of a softmax) as of any other, and no two orders of summation would agree. These are of the size of the
    # networks' gradients, so that a step is as exact as they are.
    generator, discriminator = (
        EngineConfig(learning_rate=learning_rate, epsilon=epsilon, zero_stage=stage, persistence_threshold=50)
        for epsilon in (1e-2, 1e-4)
    )
    schedule = ScheduleConfig(warmup_steps=2, decay=0.9)
    general = TrainingConfig(
        batch_size=BATCH, micro_batch_size=MICRO_BATCH, precision=precision, ema_decay=0.5, schedule=schedule
    )
    return CodecTraining(general, generator, discriminator, DISCRIMINATORS, adversarial_start=2, adversarial_ramp=2)


def trainee(settings: CodecTraining, config: CodecConfig = FIXED, device: str = "cpu") -> CodecTrainee:
    """With other weights on each rank, which the start must make those of rank 0."""
    torch.manual_seed(rank())
    return CodecTrainee(Codec(config), settings, device)


def run(trained: CodecTrainee, steps: range) -> list[dict[str, float]]:
    results = []
    for step in steps:
        torch.manual_seed(key("dropout", step, rank()))
        results.append(trained.step(batches(step, rank(), world_size(), trained.codec.config), step))
    return results


def state(trained: CodecTrainee) -> dict[str, dict[str, Tensor]]:
    return dict(trained.state())


@dataclass
class Trained:
    """What one rank has in the end."""

    results: list[dict[str, float]]
    files: dict[str, dict[str, Tensor]]  # on rank 0
    buffers: dict[str, Tensor]
    published: dict[str, Tensor] | None  # on rank 0


def train(settings: CodecTraining, steps: int, config: CodecConfig = FIXED) -> Trained:
    trained = trainee(settings, config)
    results = run(trained, range(1, steps + 1))
    return finished(trained, results)


def finished(trained: CodecTrainee, results: list[dict[str, float]]) -> Trained:
    buffers = {name: buffer.clone() for name, buffer in trained.codec.named_buffers()}
    published = trained.publish()
    return Trained(results, state(trained), buffers, published and published.state_dict())


def every(variants: list[tuple[Any, ...]]) -> list[Trained]:
    """`train` with each of several sets of arguments, in one process."""
    return [train(*variant) for variant in variants]


class PlainTorch:
    """The same training without DeepSpeed and ranks: the joined batch, two AdamWs, both steps at the end."""

    def __init__(self, settings: CodecTraining, config: CodecConfig = FIXED):
        torch.manual_seed(0)
        self.codec, self.settings = Codec(config).train(), settings
        torch.manual_seed(key(settings.training.seed, "discriminators"))
        self.discriminators = codec_step.Discriminators(settings.discriminators)
        self.adams = [
            torch.optim.AdamW(
                module.parameters(), engine.learning_rate, engine.betas, engine.epsilon, weight_decay=engine.weight_decay
            )
            for module, engine in ((self.codec, settings.generator), (self.discriminators, settings.discriminator))
        ]

    def step(self, step: int) -> None:
        seed, inputs = self.settings.training.seed, self._inputs(batches(step))
        initialise_codebooks(self.codec, lambda: [self._output(one) for one in inputs], key(seed, "k-means", step))
        outputs = [self._output(one) for one in inputs]
        self._gradient(self.codec, [self._generator_loss(one, output, step) for one, output in zip(inputs, outputs)])
        is_adversarial = step >= self.settings.adversarial_start
        if is_adversarial:
            self._gradient(self.discriminators, [self._discriminator_loss(one, output) for one, output in zip(inputs, outputs)])
        for module, adam in list(zip((self.codec, self.discriminators), self.adams))[: 1 + is_adversarial]:
            nn.utils.clip_grad_norm_(module.parameters(), self.settings.generator.clip_norm)
            adam.param_groups[0]["lr"] = self.settings.generator.learning_rate * self.settings.training.schedule.factor(step)
            adam.step()
            adam.zero_grad()
        for stream in ("acoustic", "semantic"):
            first, *rest = [getattr(output, stream).statistics for output in outputs]
            quantiser = getattr(self.codec, f"{stream}_quantiser")
            quantiser.update(sum(rest, first), key(seed, "codebooks", stream, step))

    def _inputs(self, joined: list[Batch]) -> list[codec_step.Inputs]:
        """Masks for all micro-batches of a step if any clip is padded, so that no rounding differs."""
        is_full = all(bool((batch.num_samples_B == batch.wave_BT.shape[1]).all()) for batch in joined)
        inputs = []
        for batch in joined:
            num_samples_B = None if is_full else batch.num_samples_B
            drawn_B = codec_step.drawn(batch.draws_BN, self.codec.config)
            feature_BDF = self.codec.feature(batch.wave_BT, num_samples_B)
            inputs.append(codec_step.Inputs(batch.wave_BT, feature_BDF, num_samples_B, *drawn_B))
        return inputs

    def _output(self, one: codec_step.Inputs) -> Any:
        layers_B, threshold_B = one.num_layers_B, one.threshold_B
        return self.codec(one.wave_BT, one.feature_BDF, one.num_samples_B, num_layers_B=layers_B, threshold_B=threshold_B)

    def _generator_loss(self, one: codec_step.Inputs, output: Any, step: int) -> Tensor:
        weights, config, num_B = self.settings.losses, self.codec.config, one.num_samples_B
        fake_BT, num_frames_B = output.reconstruction_BT, codec_step.feature_frames(num_B, config)
        total = weights.mel * losses.mel_distance(one.wave_BT, fake_BT, config.sample_rate_hz, num_B)
        total += weights.semantic * losses.semantic_distance(one.feature_BDF, output.feature_BDF, num_frames_B)
        total += weights.commitment * output.commitment
        share = min(1.0, max(0, step - self.settings.adversarial_start) / self.settings.adversarial_ramp)
        if share:
            judgements = self.discriminators(torch.cat([fake_BT, one.wave_BT]), _twice(num_B), self.settings.segments)
            fake, real = losses.halves(judgements)
            total += share * weights.adversarial * losses.adversarial_loss(fake)
            total += share * weights.feature_matching * losses.feature_matching(real, fake)
        return total

    def _discriminator_loss(self, one: codec_step.Inputs, output: Any) -> Tensor:
        joined_BT = torch.cat([one.wave_BT, output.reconstruction_BT.detach()])
        judgements = self.discriminators(joined_BT, _twice(one.num_samples_B), self.settings.segments)
        return losses.discriminator_loss(*losses.halves(judgements))

    def _gradient(self, module: nn.Module, micro_losses: list[Tensor]) -> None:
        module.zero_grad()
        for loss in micro_losses:
            (loss / len(micro_losses)).backward()


def _twice(num_samples_B: Tensor | None) -> Tensor | None:
    return None if num_samples_B is None else num_samples_B.repeat(2)
