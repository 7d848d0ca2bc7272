"""What two real ranks are made to do with the minuscule codec, each at one ZeRO stage."""

import math
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from codec import losses
from codec.discriminators.segments import SegmentConfig
from codec.seanet import SeanetEncoder
from tests.codec import samples
from tests.training import gan
from training.codec_step import CodecTrainee, Sums
from training.collective import rank

NUM_STEPS = 3


def trained(stage: int) -> gan.Trained:
    return gan.train(gan.training(stage), NUM_STEPS)


def in_segments(stage: int) -> gan.Trained:
    return gan.train(gan.replace(gan.training(stage), segments=SegmentConfig(3, "parts")), NUM_STEPS)


def first_step(stage: int) -> gan.Trained:
    return gan.train(gan.training(stage), 1)


def in_bf16(stage: int) -> tuple[gan.Trained, gan.Trained]:
    """Eight steps on the same clips in bf16, and the first two of them in fp32."""
    inputs = gan.batches(2, rank(), gan.world_size())
    trainees = [gan.trainee(gan.training(stage, precision, learning_rate=3e-3)) for precision in ("bf16", "fp32")]
    return tuple(
        gan.finished(one, [one.step(inputs, step) for step in range(1, last + 1)]) for one, last in zip(trainees, (8, 2))
    )


def on_a_gpu(stage: int) -> tuple[gan.Trained, dict, dict]:
    """Two steps in bf16; their state, and that of a fresh trainee that has loaded it."""
    settings = gan.training(stage, "bf16")
    one, other = (gan.trainee(settings, device="cuda") for _ in range(2))
    results = gan.run(one, range(1, 3))
    saved = gan.state(one)
    other.load(saved)
    return gan.finished(one, results), saved, gan.state(other)


def gone_on(stage: int, every_files: list[dict[str, dict[str, Tensor]]]) -> dict[str, Tensor]:
    """The generator's weights two steps after the checkpoint of another stage."""
    one = gan.trainee(gan.training(stage))
    one.load(every_files[stage - 1])
    gan.run(one, range(NUM_STEPS + 1, NUM_STEPS + 3))
    return gan.state(one)["generator"]


def dynamic(stage: int) -> gan.Trained:
    return gan.train(gan.training(stage), 2, samples.DYNAMIC)


def spectral(stage: int) -> gan.Trained:
    return gan.train(gan.training(stage), 2, samples.SPECTRAL)


def generator_step(stage: int) -> list[dict[str, Tensor]]:
    """The discriminators' weights, moments and gradients before and after a whole step of the generator with their opinion."""
    one = gan.trainee(gan.training(stage))
    gan.run(one, range(1, 4))
    found = [_discriminators(one)]
    inputs = one._inputs(gan.batches(4, rank(), gan.world_size()))
    for index, micro_batch in enumerate(inputs):
        one._generator_gradient(micro_batch, Sums(), is_last=index == len(inputs) - 1, step=4)
    assert all(weight.grad is None for weight in one.discriminator.module.parameters())
    one.generator.step()
    return [*found, _discriminators(one)]


def poisoned(stage: int) -> list[tuple[str, bool, dict[str, float], list[dict]]]:
    """For each way to spoil a step on rank 1 alone: whether it was the first, its result, the states before and after."""
    found = []
    for is_first in (True, False):
        one = gan.trainee(gan.training(stage))
        step = 1 if is_first else 4
        gan.run(one, range(1, step))
        for name, spoilt in SPOILT.items():
            if is_first and name == "discriminator":  # not yet at work
                continue
            before = gan.state(one)
            with spoilt() if rank() == 1 else _sound():
                inputs = gan.batches(step, rank(), gan.world_size())
                if name == "wave" and rank() == 1:
                    inputs[0].wave_BT[0, 100] = math.nan
                result = one.step(inputs, step)
            found.append((name, is_first, result, [before, gan.state(one)]))
    return found


def skipped(stage: int) -> list[dict[str, dict[str, Tensor]]]:
    """States after steps 1, 2, 4: without and with a spoilt step in between."""
    states = []
    for spoil in (False, True):
        one = gan.trainee(gan.training(stage))
        gan.run(one, range(1, 3))
        if spoil:
            with _not_finite("feature_matching") if rank() == 1 else _sound():
                gan.run(one, range(3, 4))
        gan.run(one, range(4, 5))
        states.append(gan.state(one))
    return states


def resumed(stage: int) -> list[dict[str, dict[str, Tensor]]]:
    """After four steps: undisturbed, and with a checkpoint after two that a fresh trainee loads. Then the checkpoint."""
    one = gan.trainee(gan.training(stage), DROPPING)
    gan.run(one, range(1, 3))
    saved = gan.state(one)
    gan.run(one, range(3, 5))
    files = _everywhere(saved)
    return [gan.state(one), gan.state(continued(stage, files, 3)), saved]


def continued(stage: int, files: dict[str, dict[str, Tensor]], step: int) -> CodecTrainee:
    """A fresh trainee, on as many ranks as there are, that takes two steps from a checkpoint."""
    one = gan.trainee(gan.training(stage), DROPPING)
    one.load(files)
    gan.run(one, range(step, step + 2))
    return one


def loaded(stage: int, every_files: list[dict[str, dict[str, Tensor]]]) -> dict[str, dict[str, Tensor]]:
    """What a fresh trainee has once it has loaded the checkpoint of another stage."""
    one = gan.trainee(gan.training(stage), DROPPING)
    one.load(every_files[stage - 1])
    return gan.state(one)


def every_stage(
    scenarios: list[Callable[..., Any]], stages: tuple[int, ...] = (0, 1, 2, 3), *arguments: Any
) -> dict[str, list[Any]]:
    """By the scenario's name: what each stage gives."""
    return {scenario.__name__: [scenario(stage, *arguments) for stage in stages] for scenario in scenarios}


DROPPING = gan.replace(gan.FIXED, decoder=gan.replace(gan.FIXED.decoder, dropout=0.1))


@contextmanager
def _not_finite(loss: str):
    """The loss of this name keeps its value, but its gradient is NaN: that of a square root at zero, times zero."""
    sound = getattr(losses, loss)

    def spoilt(*inputs: Any) -> Tensor:
        value = sound(*inputs)
        return value + ((value - value.detach()) ** 2).sqrt()

    setattr(losses, loss, spoilt)
    try:
        yield
    finally:
        setattr(losses, loss, sound)


@contextmanager
def _not_finite_latent():
    """The encoder gives NaN."""
    sound = SeanetEncoder.forward
    SeanetEncoder.forward = lambda encoder, *inputs: sound(encoder, *inputs) * math.nan
    try:
        yield
    finally:
        SeanetEncoder.forward = sound


@contextmanager
def _sound():
    yield


SPOILT = {
    "wave": _sound,
    "latent": _not_finite_latent,
    "generator": lambda: _not_finite("mel_distance"),
    "discriminator": lambda: _not_finite("discriminator_loss"),
}


def _discriminators(one: CodecTrainee) -> dict[str, Tensor]:
    files = gan.state(one)
    return files["discriminator"] | files["discriminator_optimiser"]


def _everywhere(files: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """Rank 0's files, on all ranks: they are read from a checkpoint there."""
    if gan.world_size() == 1:
        return files
    box = [files]
    torch.distributed.broadcast_object_list(box, src=0)
    return box[0]
