"""One step of adversarial fine-tuning: teacher forcing as ever, and windows that the model writes, judged by segments.

Two DeepSpeed engines, in the order that equals plain torch: one forward pass of the model's engine gives the cross-entropy and
the windows' logits; the generator's loss sees the discriminator frozen, through its raw module, once, on written and real
windows together; the discriminator's own loss is one forward pass of its engine. Both gradients are of the same weights, and
both engines step together, or not at all.

Shapes: B clips, C codebooks, F frames, W slots of the window, K layers, V codes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lm.conditions import Encoders
from lm.config import TokenConfig
from lm.model import Batch, UnifiedLM
from lm.segments import straight_through
from lm.window import Window, free_run, window_logits, written
from lm.window_discriminator import Judged, WindowDiscriminator
from training.adversarial import Opinions, Policy, discriminator_loss, generator_loss
from training.adversarial_config import AdversarialConfig, check_tokens
from training.data.token_stream import TokenBatch
from training.engine import Engine, make_engine
from training.keys import generator, key
from training.lm_config import LMTraining
from training.lm_step import Learner, LMTrainee, Sums

LEAST = 1e-20  # of a uniform whose logarithm is taken


class Writer(Learner):
    """The model as its engine runs it, windows included."""

    def forward(
        self, batch: Batch, label_smoothing: float, window: Window | None = None, symbols_BWK: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """As Learner; with symbols, the logits of a window's slots too. With a window alone, nothing but its symbols."""
        if window is None:
            return super().forward(batch, label_smoothing)
        if symbols_BWK is None:
            return (free_run(self.lm, batch, window),)
        return (*super().forward(batch, label_smoothing), window_logits(self.lm, batch, window, symbols_BWK))


@dataclass(frozen=True)
class Attempt:
    """What a micro-batch's model has written."""

    window: Window
    symbols_BWK: Tensor
    judged: Judged


class AdversarialTrainee(LMTrainee):
    """A language model and its discriminator in training; otherwise as LMTrainee."""

    learner = Writer

    def __init__(self, lm: UnifiedLM, encoders: Encoders, config: LMTraining, device: torch.device | str = "cpu"):
        self.adversarial: AdversarialConfig = config.adversarial
        check_tokens(lm, self.adversarial)
        super().__init__(lm, encoders, config, device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key(config.training.seed, "discriminator"))
            judge = WindowDiscriminator(self.adversarial.discriminator, lm.config, self.adversarial.form == "leakgan")
        self.discriminator = make_engine(judge, self.adversarial.engine, config.training, device)

    def engines(self) -> dict[str, Engine]:
        return super().engines() | {"discriminator": self.discriminator}

    def learn(self, one: Batch, source: TokenBatch, sums: Sums, *, weight: float, is_last: bool, step: int) -> None:
        """Adds both networks' gradients of a micro-batch."""
        with torch.no_grad():
            attempt = self._attempt(one, source, step)
        tokens_BCFV = self._generator_gradient(one, attempt, sums, weight=weight, is_last=is_last, step=step)
        found = self.discriminator(torch.cat([attempt.judged.real_BCFV, tokens_BCFV]), attempt.judged.view)
        real, fake = Opinions.halves(found)
        loss = discriminator_loss(self.adversarial.form, real, fake)
        self.discriminator.backward(loss, is_last=is_last)
        told_apart = (real.logits_SBN > fake.logits_SBN).float().mean()
        sums.add_others({"adversarial/discriminator": loss, "adversarial/told_apart": told_apart})

    def _attempt(self, one: Batch, source: TokenBatch, step: int) -> Attempt:
        tokens, seed = self.lm.config.tokens, self.config.training.seed
        window = drawn_window(source.keys, one, self.adversarial.window_frames, tokens, seed, "window", step)
        (symbols_BWK,) = self.engine.raw(one, self.config.label_smoothing, window)
        return Attempt(window, symbols_BWK, Judged.of(one, window, self.adversarial.context_frames, tokens.vocab_size))

    def _generator_gradient(
        self, one: Batch, attempt: Attempt, sums: Sums, *, weight: float, is_last: bool, step: int
    ) -> Tensor:
        """The written tokens in their context, (B, C, F, V) one-hots, detached."""
        codes_BWK = attempt.symbols_BWK.clamp(max=self.lm.config.tokens.vocab_size - 1)
        if step <= self.adversarial.head_start:
            found = self.engine(one, self.config.label_smoothing)
            self.engine.backward(sums.add(one.task_B, *found) * weight, is_last=is_last)
            hard_BWKV = functional.one_hot(codes_BWK, self.lm.config.tokens.vocab_size).float()
            return attempt.judged.with_written(written(hard_BWKV, attempt.window, self.lm))
        *found, logits_BWKV = self.engine(one, self.config.label_smoothing, attempt.window, attempt.symbols_BWK)
        total = sums.add(one.task_B, *found) * weight
        drawn_BWKV = straight_through(logits_BWKV, attempt.window.noise_BWKV, codes_BWK, self.adversarial.temperature)
        tokens_BCFV = attempt.judged.with_written(written(drawn_BWKV, attempt.window, self.lm))
        with self.discriminator.frozen():
            opinions = self.discriminator.raw(torch.cat([tokens_BCFV, attempt.judged.real_BCFV]), attempt.judged.view)
            policy = self._policy(logits_BWKV, codes_BWK, attempt.window)
            loss = generator_loss(self.adversarial.form, *Opinions.halves(opinions), policy)
            self.engine.backward(total + self.adversarial.weight * loss, is_last=is_last)
        sums.add_others({"adversarial/generator": loss})
        return tokens_BCFV.detach()

    def _policy(self, logits_BWKV: Tensor, codes_BWK: Tensor, window: Window) -> Policy | None:
        if self.adversarial.form != "seqgan":
            return None
        log_likely_BWK = logits_BWKV.log_softmax(-1).gather(-1, codes_BWK[..., None])[..., 0]
        return Policy(written(log_likely_BWK, window, self.lm), window.num_frames_B)


def trainee_of(lm: UnifiedLM, encoders: Encoders, config: LMTraining, device: torch.device | str = "cpu") -> LMTrainee:
    """With a discriminator if the configuration has one."""
    return (AdversarialTrainee if config.adversarial.is_on else LMTrainee)(lm, encoders, config, device)


def drawn_window(keys: Sequence[str], batch: Batch, window_frames: int, tokens: TokenConfig, *parts: int | str) -> Window:
    """A stretch of each clip and its noise, keyed by the example: the same in whatever batch it is, on whatever rank."""
    longest = min(window_frames, batch.acoustic_BKF.shape[-1])
    lag = max(tokens.num_layers - 1, 1)
    firsts, noises = [], []
    for name, num_frames in zip(keys, batch.num_frames_B.tolist()):
        firsts.append(int(generator(*parts, "first", name).integers(0, max(num_frames - window_frames, 0) + 1)))
        draws = torch.Generator().manual_seed(key(*parts, "noise", name))
        uniform_WKV = torch.rand(2 * window_frames + lag, tokens.num_layers, tokens.vocab_size, generator=draws)
        noises.append(-(-uniform_WKV[: 2 * longest + lag].clamp(min=LEAST).log()).clamp(min=LEAST).log())
    first_B = torch.tensor(firsts, device=batch.task_B.device)
    return Window(first_B, batch.num_frames_B.clamp(max=window_frames), torch.stack(noises).to(first_B.device))
