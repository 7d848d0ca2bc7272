"""A minuscule language model in adversarial fine-tuning, for tests: what real ranks do with it, and the same in plain torch.

Shapes: B clips.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from lm.model import UnifiedLM
from lm.segment_discriminator import SegmentDiscriminatorConfig
from lm.segments import straight_through
from lm.window import free_run, window_logits, written
from lm.window_discriminator import Judged, WindowDiscriminator
from tests.training import lm_ranks
from tests.training.lm_ranks import SMALL, TASKS, Trained, encoders, finished
from training.adversarial import Opinions, Policy, discriminator_loss, generator_loss
from training.adversarial_config import AdversarialConfig
from training.adversarial_step import AdversarialTrainee, drawn_window
from training.collective import rank
from training.config import EngineConfig
from training.keys import key
from training.lm_batches import encoded
from training.lm_config import LMTraining

JUDGE = SegmentDiscriminatorConfig(segments=2, embedding_width=6, kernels=(2, 3), channels=5, features=7)
# Adam makes as much of a gradient that is nothing but rounding as of any other: see tests/training/gan.py.
ENGINE = EngineConfig(learning_rate=1e-3, epsilon=1e-4, clip_norm=0.5)


def training(stage: int = 0, form: str = "relgan", **changes) -> LMTraining:
    """The second step is the first that the discriminator has a say in."""
    engine = replace(ENGINE, zero_stage=stage)
    options = {"weight": 0.5, "window_frames": 6, "context_frames": 2, "head_start": 1, "discriminator": JUDGE}
    return replace(
        lm_ranks.training(stage, micro_batch_size=2),
        engine=engine,
        adversarial=AdversarialConfig(form, engine=engine, **(options | changes)),
    )


def trainee(settings: LMTraining) -> AdversarialTrainee:
    """With other weights on each rank, which the start must make those of rank 0."""
    torch.manual_seed(rank())
    return AdversarialTrainee(UnifiedLM(SMALL), encoders(), settings)


def train(settings: LMTraining, steps: int = 3) -> Trained:
    trained = trainee(settings)
    return finished(trained, lm_ranks.run(trained, range(1, steps + 1)))


def every(variants: list[LMTraining]) -> list[Trained]:
    return [train(settings) for settings in variants]


def resumed(settings: LMTraining, files: dict[str, dict[str, Tensor]], steps: list[int]) -> Trained:
    trained = trainee(settings)
    trained.load(files)
    return finished(trained, lm_ranks.run(trained, steps))


class PlainTorch:
    """The same training without DeepSpeed, ranks and micro-batches: two AdamWs on the joined batch."""

    def __init__(self, settings: LMTraining):
        torch.manual_seed(0)
        self.lm, self.settings, self.options = UnifiedLM(SMALL).train(), settings, settings.adversarial
        torch.manual_seed(key(settings.training.seed, "discriminator"))
        self.judge = WindowDiscriminator(self.options.discriminator, SMALL, self.options.form == "leakgan")
        engine = settings.engine
        options = {"betas": engine.betas, "eps": engine.epsilon, "weight_decay": engine.weight_decay}
        self.adams = [torch.optim.AdamW(one.parameters(), engine.learning_rate, **options) for one in (self.lm, self.judge)]

    def step(self, step: int) -> None:
        source = lm_ranks.made(TASKS, 100 * step)
        one = encoded(SMALL, encoders(), source, device=torch.device("cpu"), dropout=self.settings.condition_dropout)
        seed, options = self.settings.training.seed, self.options
        window = drawn_window(source.keys, one, options.window_frames, SMALL.tokens, seed, "window", step)
        symbols_BWK = free_run(self.lm, one, window)
        judged = Judged.of(one, window, options.context_frames, SMALL.tokens.vocab_size)
        logits_BWKV = window_logits(self.lm, one, window, symbols_BWK)
        codes_BWK = symbols_BWK.clamp(max=SMALL.tokens.vocab_size - 1)
        drawn = written(straight_through(logits_BWKV, window.noise_BWKV, codes_BWK, options.temperature), window, self.lm)
        tokens_BCFV = judged.with_written(drawn)
        loss = self.lm(one, self.settings.label_smoothing).mean
        if step > options.head_start:
            log_likely_BWK = logits_BWKV.log_softmax(-1).gather(-1, codes_BWK[..., None])[..., 0]
            policy = Policy(written(log_likely_BWK, window, self.lm), window.num_frames_B)
            fake, real = Opinions.halves(self.judge(torch.cat([tokens_BCFV, judged.real_BCFV]), judged.view))
            loss = loss + options.weight * generator_loss(options.form, fake, real, policy)
        lm_gradients = torch.autograd.grad(loss, list(self.lm.parameters()), allow_unused=True)
        both = torch.cat([judged.real_BCFV, tokens_BCFV.detach()])
        own_loss = discriminator_loss(options.form, *Opinions.halves(self.judge(both, judged.view)))
        gradients = torch.autograd.grad(own_loss, list(self.judge.parameters()))
        for module, found, adam in zip((self.lm, self.judge), (lm_gradients, gradients), self.adams):
            self._update(module, found, adam, step)

    def _update(self, module: nn.Module, gradients: tuple[Tensor | None, ...], adam: torch.optim.AdamW, step: int) -> None:
        for weight, gradient in zip(module.parameters(), gradients):
            weight.grad = torch.zeros_like(weight) if gradient is None else gradient
        nn.utils.clip_grad_norm_(module.parameters(), self.settings.engine.clip_norm)
        adam.param_groups[0]["lr"] = self.settings.engine.learning_rate * self.settings.training.schedule.factor(step)
        adam.step()
